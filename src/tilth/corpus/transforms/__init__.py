"""Documents to new documents, each transform one module; a literal table names them."""

TRANSFORMS = {
    "chain": "tilth.corpus.transforms.base:Chain",
    "headers": "tilth.corpus.transforms.headers:StripHeaders",
    "repair": "tilth.corpus.transforms.repair:Repair",
}
