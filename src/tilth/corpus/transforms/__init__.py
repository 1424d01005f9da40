"""Documents to new documents, each transform one module; a literal table names them."""

TRANSFORMS = {
    "headers": "tilth.corpus.transforms.headers:StripHeaders",
    "repair": "tilth.corpus.transforms.repair:Repair",
}
