"""Files of papers that others made, read entry by entry; a bad entry costs itself.

What is not plain JSON is parsed in a child process with limits (`sandbox.child`).
"""

FORMATS = {
    "bibtex": "tilth.papers.formats.bibtex:read",
    "atom": "tilth.papers.formats.atom:read",
    "jsonl": "tilth.papers.formats.json_lines:read",
    "huggingface": "tilth.papers.formats.hugging_face:read",
}
