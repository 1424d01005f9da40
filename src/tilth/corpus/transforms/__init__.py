"""Documents to new documents, each transform one module; a literal table names them."""

TRANSFORMS = {
    "boilerplate": "tilth.corpus.transforms.boilerplate:Boilerplate",
    "c4_lines": "tilth.corpus.transforms.c4_lines:C4Lines",
    "chain": "tilth.corpus.transforms.base:Chain",
    "headers": "tilth.corpus.transforms.headers:StripHeaders",
    "passages": "tilth.corpus.transforms.passages:Passages",
    "personal": "tilth.corpus.transforms.personal:Personal",
    "repair": "tilth.corpus.transforms.repair:Repair",
}
