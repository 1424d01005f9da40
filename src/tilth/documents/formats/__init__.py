"""Formats: how a file, or a record, becomes text.

`FORMATS` maps a name to its reader, `EXTENSIONS` a file name's ending to a format. A reader is a
function `read(unit, stream) -> Iterator[Piece | Problem]`: it gets the unit and its bytes as a
binary stream (already decompressed) and yields what it finds; see `common.py`. A package outside
tilth adds a format by an entry point in the group `tilth.format` that is named by the extension
without its dot.
"""

FORMATS = {
    "text": "tilth.documents.formats.text:read",
    "markdown": "tilth.documents.formats.text:read_markdown",
    "rst": "tilth.documents.formats.text:read_rst",
    "html": "tilth.documents.formats.html:read",
    "code": "tilth.documents.formats.code:read",
    "jsonl": "tilth.documents.formats.records:read_lines",
    "json": "tilth.documents.formats.records:read_json",
    "parquet": "tilth.documents.formats.parquet:read",
    # Only asked for by `plan_installation`: a module, then the docstrings of its public objects.
    "python": "tilth.documents.formats.python:read",
}

EXTENSIONS = {
    ".txt": "text",
    ".text": "text",
    ".log": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".rst": "rst",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
}

# Formats whose documents are records: each is a group of its own unless an option says otherwise.
RECORDS = frozenset({"jsonl", "json", "parquet"})

# Known, and not read yet: better said than read as if they were plain text.
UNREAD = {
    ".csv": "a CSV table",
    ".tsv": "a TSV table",
    ".ipynb": "a notebook",
    ".rtf": "a rich text file",
    ".ps": "a PostScript file",
    ".eml": "a mail",
    ".mbox": "a mailbox",
    ".warc": "a web archive",
    ".svg": "an image",
}
