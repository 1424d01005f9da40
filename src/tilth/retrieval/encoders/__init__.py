"""Encoders: texts to vectors of unit length. What each needs is recorded in its folder.

`load_encoder` opens any folder that tilth, `transformers` or `sentence-transformers` wrote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

ENCODERS = {
    "hashed": "tilth.retrieval.encoders.hashed:Hashed",
    "latent": "tilth.retrieval.encoders.latent:Latent",
    "static": "tilth.retrieval.encoders.static:Static",
    "transformer": "tilth.retrieval.encoders.transformer:Transformer",
}


def load_encoder(folder: str | Path, **options: Any) -> Any:
    """The encoder in a folder; `options` (pooling, normalize, prompts, longest) win over it.

    Reads no pickle and runs no code of the folder. Raises DataError where there is no encoder, and
    in one line what of it is not covered.
    """
    from tilth.retrieval.encoders.folder import open_folder

    return open_folder(Path(folder), options)
