"""PDF to text, by PDFium. Runs in a child process with limits; see `pdf.py`.

A page's text is what PDFium finds in its text layer, in the order in which the file draws it. No
page is drawn, no script run, no attached file opened, nothing is recognised in images.
"""

from __future__ import annotations

import re
from typing import Any

from tilth.documents.formats.child_limits import cpu_limited
from tilth.errors import LimitError

MAX_PAGES = 20_000
MAX_CHARACTERS = 60_000_000
# PDFium writes it where a word was parted at the end of a line.
HYPHEN = "\ufffe"
_NO_LETTERS = re.compile("[\0\ufffd\uffff\ue000-\uf8ff]")
_PASSWORD, _SECURITY = 4, 5


@cpu_limited
def page_texts(data: bytes) -> dict[str, Any]:
    """The child's function: a PDF file to {pages, title, author, hyphens, damage, broken}.

    pages: texts; broken: numbers, from 1, of pages that could not be opened. Or {encrypted: true},
    {damaged: why}. Raises LimitError for more pages or text than allowed.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (_PASSWORD, _SECURITY):
            return {"encrypted": True}
        return {"damaged": str(error)}
    if len(document) > MAX_PAGES:
        raise LimitError(f"{len(document)} pages, more than {MAX_PAGES}")
    pages: list[str] = []
    broken = []
    size = hyphens = damage = 0
    for number in range(len(document)):
        try:
            page = document[number]
            layer = page.get_textpage()
            text = layer.get_text_range()
            layer.close()
            page.close()
        except pypdfium2.PdfiumError:
            broken.append(number + 1)
            text = ""
        size += len(text)
        if size > MAX_CHARACTERS:
            raise LimitError(f"more than {MAX_CHARACTERS} characters of text")
        hyphens += text.count(HYPHEN)
        damage += len(_NO_LETTERS.findall(text))
        pages.append(text.replace(HYPHEN, "").replace("\0", "\ufffd").replace("\uffff", "\ufffd"))
    about = document.get_metadata_dict(skip_empty=True)
    return {
        "pages": pages, "title": about.get("Title", ""), "author": about.get("Author", ""),
        "hyphens": hyphens, "damage": damage, "broken": broken,
    }  # fmt: skip
