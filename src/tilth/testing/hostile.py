"""Texts that break careless code. Deterministic; no library is needed.

Files that break careless readers are in `hostile_files`.
"""

from __future__ import annotations

from tilth.documents.document import Document, document_id

TEXTS = (
    "",
    " ",
    "\n",
    "\n\n\n",
    "\r\n",
    "\r",
    "\x00",
    "a\x00b\x00",
    "\ufeffbyte order mark",
    "\ufffd\ufffd",
    "no line end",
    "one line\n",
    "one line\r\nand another\rand more\u2028still more\u0085",
    "\u05e9\u05dc\u05d5\u05dd \u202eright to left\u202c \u0645\u0631\u062d\u0628\u0627\u061f",
    "e\u0301 decomposed, \u00e9 composed, \u1e9b\u0323",
    "Z\u0351\u036b\u0343\u036aa\u0311\u0305l\u0300g\u0301o\u0302 " + "\u0301" * 50,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "\u4e2d\u6587\u6ca1\u6709\u7a7a\u683c\u3002\u4e0b\u4e00\u53e5\uff01",
    "\u0e44\u0e17\u0e22\u0e44\u0e21\u0e48\u0e21\u0e35\u0e0a\u0e48\u0e2d\u0e07\u0e27\u0e48\u0e32\u0e07",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e\u0964",
    "voil\u00c3\u00a0 du mojibake \u00e2\u20ac\u0153quoted\u00e2\u20ac\x9d \x93C1\x94",
    "\x1b[31mterminal\x1b[0m \x07 bell",
    "&amp; &lt;tag&gt; &eacute;",
    "\u201ccurly\u201d \u2018quotes\u2019 \ufb01ligature \uff21\uff22",
    "\u0130I\u0131i \u1e9e\u00df \u03a3\u03c3\u03c2 \u212a \u017f",
    "\ud7ff\ue000\U0010ffff\U000e0001",
    "Mr. A. B. Smith vs. e.g. 3.14 ... \u2026 ?! \u00abOui.\u00bb",
    "- a\n* b\n\u2022 c ...\n#hash # \u2026\n",
    "same line\nsame line\nsame line\n\nsame line\n",
    "a a a a a a a a a a a a a a a a a a a a a a",
    "*** START OF THE PROJECT GUTENBERG EBOOK X ***\nbody\n*** END OF THE PROJECT GUTENBERG EBOOK",
    '{"json": [1, 2, {"deep": null}]}',
    "word " * 500,
    ("line\n" * 20 + "\n") * 10,
)

LONG_LINE = ("x" * 79 + "\u00e9 ") * 13_000


def documents() -> list[Document]:
    """One document for each hostile text, and one whose single line has more than 1 MB."""
    return [
        Document(
            id=document_id("hostile.txt", number, text.encode()),
            text=text,
            source="hostile.txt",
            position=number,
            group="hostile",
            metadata={"number": number},
        )
        for number, text in enumerate((*TEXTS, LONG_LINE))
    ]
