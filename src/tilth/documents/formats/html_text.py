"""HTML to visible text, by lxml. Runs in a child process with limits; see `html.py`.

What a reader of the page would see, in the order of the page: blanks run together, block elements
begin and end lines, paragraphs and headings stand between blank lines, `pre` keeps its blanks,
table cells are parted by tabs. Scripts, styles, templates, and what is hidden by the
attribute `hidden` or by `display: none` in its own `style` are left out; style sheets are not
read, so text that they hide stays, and so do menus and footers: this is not a search for the main
text. Rules follow the `innerText` part of the HTML standard (WHATWG) where they are simple.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from tilth.documents.formats.child_limits import cpu_limited
from tilth.documents.formats.decode import decode, mark_of
from tilth.errors import LimitError

HIDDEN = frozenset(
    "audio canvas datalist frameset iframe noscript object rp script style svg template title "
    "video".split()
)
# How many line ends stand at least before and after.
BLOCKS = dict.fromkeys(
    "address article aside body caption center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form head header hgroup hr html legend li main menu nav ol option "
    "optgroup search section summary tbody tfoot thead tr ul".split(),
    1,
) | dict.fromkeys("blockquote h1 h2 h3 h4 h5 h6 listing p plaintext pre table xmp".split(), 2)
PRE = frozenset(("listing", "plaintext", "pre", "textarea", "xmp"))

# Blanks of HTML; a no-break space is a letter like others.
_BLANKS = re.compile(r"[ \t\n\r\f]+")
_NOT_SHOWN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_CHARSET = re.compile(rb"""<meta[^>]{0,400}?charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]{2,40})""", re.I)
_XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([a-zA-Z0-9_:.-]{2,40})""")
_COMMENTS = re.compile(rb"<!--.*?-->", re.DOTALL)
# Encodings of the web (WHATWG Encoding standard) by their names here; no other is believed.
_WEB = frozenset(
    "utf-8 cp866 cp874 cp932 cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 "
    "iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-10 iso8859-13 "
    "iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-roman mac-cyrillic gb18030 big5hkscs "
    "euc_jp iso2022_jp tis-620".split()
)
# Names that pages use for a larger set than the name says, or that do not fit what follows.
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    # A page whose declaration could be read in ASCII is not in UTF-16, whatever it says.
    "utf-16": "utf-8",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}


@cpu_limited
def visible_text(data: bytes, charset: str | None = None) -> dict[str, Any]:
    """The child's function: a page to {text, encoding, damage, title, language}.

    Raises LimitError beyond the parser's limits (256 levels, 10 MB in one text or attribute): a
    page is never cut. `charset` overrules what the page declares.
    """
    from lxml import etree

    text, encoding, damage = decode(data, charset or declared_charset(data))
    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=False, remove_comments=True, remove_pis=True
    )
    page = {"text": "", "encoding": encoding, "damage": damage, "title": "", "language": ""}
    if not text.strip():
        return page
    try:
        root = etree.fromstring(text.replace("\0", "\ufffd").encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError as error:
        if error.code == etree.ErrorTypes.ERR_DOCUMENT_EMPTY:  # older versions of the parser
            return page
        # This parser recovers from everything else but a lack of memory, which it does not name.
        raise MemoryError from error
    for entry in parser.error_log.filter_from_fatals():
        raise LimitError(entry.message.strip())
    if root is None:
        return page
    for title in root.iter("title"):
        if next(title.iterancestors("svg"), None) is None:
            page["title"] = _BLANKS.sub(" ", "".join(title.itertext())).strip(" ")
            break
    page["language"] = (root.get("lang") or "").strip()
    page["text"] = _render(root)
    return page


def declared_charset(data: bytes) -> str | None:
    """The encoding that the page names in its first bytes, as Python calls it; None if none."""
    if mark_of(data)[0]:
        return None
    head = data[:4096]
    match = _XML_ENCODING.match(head) or _CHARSET.search(_COMMENTS.sub(b"", head))
    if not match:
        return None
    return charset_named(match[1].decode("ascii"))


def charset_named(name: str) -> str | None:
    """The encoding that pages mean by a name, as Python calls it; None if the web knows none."""
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return None
    known = _MEANT.get(known, known)
    return known if known in _WEB else None


class _Lines:
    """Text as it is laid out: joins blanks, keeps the line ends that blocks ask for."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._breaks = 0  # line ends owed before the next text
        self._blank = False  # a blank owed before the next text
        self._at_start = True  # of a line or cell: no blank is owed here
        self._in_new_cell = False  # nothing stands in the cell yet: blocks ask for no line end

    def flow(self, text: str) -> None:
        """Text outside `pre`."""
        text = _BLANKS.sub(" ", text)
        if text[0] == " ":
            self._blank = not self._at_start
            text = text[1:]
        if text:
            self._put(text.removesuffix(" "))
            self._blank = text[-1] == " "

    def keep(self, text: str) -> None:
        """Text inside `pre`."""
        self._put(text)
        self._at_start = text[-1] == "\n"

    def _put(self, text: str) -> None:
        if self._breaks:
            self.parts.append("\n" * self._breaks)
        elif self._blank:
            self.parts.append(" ")
        self.parts.append(text)
        self._breaks = 0
        self._blank = self._at_start = self._in_new_cell = False

    def block(self, breaks: int) -> None:
        if not self._in_new_cell:
            self._breaks = max(self._breaks, breaks)
        self._blank, self._at_start = False, True

    def cell(self, first: bool) -> None:
        self._blank = False
        if not first:
            self._put("\t")
        self._at_start = self._in_new_cell = True

    def cell_end(self) -> None:
        # What blocks in the cell still ask for must not part it from the next one.
        if self._in_new_cell:
            self._in_new_cell = False
        else:
            self._breaks = 0


def _render(root: Any) -> str:
    from lxml import etree

    lines = _Lines()
    preserved = 0
    cells = [0]  # cells seen so far, one count for each row that is open
    skipped = None
    walker = etree.iterwalk(root, events=("start", "end"))
    for event, element in walker:
        tag = element.tag
        if event == "start":
            if tag in HIDDEN or _is_hidden(element):
                walker.skip_subtree()
                skipped = element
                continue
            if tag == "br":
                lines.keep("\n")
            elif tag in ("td", "th"):
                lines.cell(first=not cells[-1])
                cells[-1] += 1
            elif tag in BLOCKS:
                lines.block(BLOCKS[tag])
                if tag == "tr":
                    cells.append(0)
            text = element.text
            if tag in PRE:
                preserved += 1
                text = text.removeprefix("\n") if text else text
        else:
            text = element.tail
            if element is skipped:
                skipped = None
            elif tag in ("td", "th"):
                lines.cell_end()
            else:
                preserved -= tag in PRE
                if tag == "tr":
                    cells.pop()
                if tag in BLOCKS:
                    lines.block(BLOCKS[tag])
        if text:
            (lines.keep if preserved else lines.flow)(text)
    return "\n".join(line.rstrip(" \t") for line in "".join(lines.parts).split("\n")).strip("\n")


def _is_hidden(element: Any) -> bool:
    if element.get("hidden") is not None:
        return True
    style = element.get("style")
    return style is not None and _NOT_SHOWN.search(style) is not None
