"""Formats: how a file, or a record, becomes text.

`FORMATS` maps a name to its reader, `EXTENSIONS` a file name's ending to a format. A reader is a
function `read(unit, stream) -> Iterator[Piece | Problem]`: it gets the unit and its bytes as a
binary stream (already decompressed) and yields what it finds; see `common.py`. A reader of a format
in `WALKED` gets the frames of the child that walks through the file instead; see `containers`. A
package outside tilth adds a format by an entry point in the group `tilth.format` that is named by
the extension without its dot.
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
    "pdf": "tilth.documents.formats.pdf:read",
    "csv": "tilth.documents.formats.tables:read",
    "tsv": "tilth.documents.formats.tables:read",
    "warc": "tilth.documents.formats.web_archive:read",
    "zip": "tilth.documents.containers.members:read",
    "tar": "tilth.documents.containers.members:read",
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
    ".pdf": "pdf",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".warc": "warc",
    ".wet": "warc",
    ".wat": "warc",
    ".arc": "warc",
    ".zip": "zip",
    ".tar": "tar",
}

# Formats whose documents are records: each is a group of its own unless an option says otherwise.
RECORDS = frozenset({"jsonl", "json", "parquet", "csv", "tsv", "warc"})

# Formats that a child process walks through, from the file on; their readers get its frames.
WALKED = frozenset({"csv", "tsv", "warc", "zip", "tar"})

# Known, and not read yet: better said than read as if they were plain text.
UNREAD = {
    ".docx": "an office document",
    ".xlsx": "an office document",
    ".pptx": "an office document",
    ".odt": "an office document",
    ".ods": "an office document",
    ".odp": "an office document",
    ".epub": "an electronic book",
    ".ipynb": "a notebook",
    ".rtf": "a rich text file",
    ".ps": "a PostScript file",
    ".eml": "a mail",
    ".mbox": "a mailbox",
    ".svg": "an image",
}
