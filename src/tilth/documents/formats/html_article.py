"""HTML to the text of its article, by trafilatura. Runs in a child process; see `html.py`.

trafilatura (Barbaresi 2021) keeps the part of a page that reads like running text and leaves out
menus, related links, footers and notices. Where it finds nothing, all visible text stays, and the
page says so: a page without an article is not lost.
"""

from __future__ import annotations

import logging
from typing import Any

from tilth.documents.formats.child_limits import cpu_limited
from tilth.documents.formats.decode import decode
from tilth.documents.formats.html_text import visible_text

# What metadata say of a page without an article.
NOTHING_FOUND = "none found, all text kept"


@cpu_limited
def article_text(data: bytes, charset: str | None = None) -> dict[str, Any]:
    """The child's function: as `visible_text`, and `article`: "found" or `NOTHING_FOUND`.

    The page is read as `visible_text` reads it: the same encoding, title and limits. Raises
    LimitError beyond them; a page is never cut.
    """
    page = {**visible_text(data, charset=charset), "article": NOTHING_FOUND}
    if not page["text"].strip():
        return page
    import trafilatura

    # What it logs would only say why it found nothing.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    text = decode(data, page["encoding"])[0]
    found = trafilatura.extract(
        text.replace("\0", "\ufffd"), output_format="txt", include_comments=False
    )
    if found and found.strip():
        page["text"], page["article"] = found.strip("\n"), "found"
    return page
