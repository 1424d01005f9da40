"""The cache of a sequence as a file, and back: a prompt that many share is read once.

Safetensors, keys before rotary, so that rows may go to any position of any cache of these weights.
"""

from __future__ import annotations

from pathlib import Path

from tilth.errors import DamagedError
from tilth.serving.cache import Chain, KVCache, Rows


def save_chain(cache: KVCache, chain: Chain, path: str | Path, fingerprint: str) -> None:
    """Write the rows and tokens of a chain. `fingerprint`: that of the weights they come from."""
    import torch
    from safetensors.torch import save

    from tilth.store.write import write_bytes

    rows = cache.slice(chain)
    held = {
        "keys": rows.keys.contiguous(),
        "values": rows.values.contiguous(),
        "tokens": torch.tensor(chain.tokens, dtype=torch.long),
    }
    metadata = {"weights": fingerprint, "edited": str(chain.edited)}
    write_bytes(Path(path), save(held, metadata=metadata))


def load_chain(cache: KVCache, path: str | Path, fingerprint: str) -> Chain:
    """A new chain with the rows of a file.

    Raises DamagedError for a file that does not fit the cache or comes from other weights, and
    LimitError where blocks are short.
    """
    import torch
    from safetensors import safe_open

    from tilth.models.safetensors_header import check_header

    header = check_header(path)
    layers, (_, heads, head) = len(cache.keys), cache.keys[0].shape
    shape = header.get("keys", {}).get("shape", [])
    if set(header) != {"keys", "values", "tokens"} or len(shape) != 4 or (
        [shape[0], *shape[2:]] != [layers, heads, head]
        or header["values"]["shape"] != shape
        or len(header["tokens"]["shape"]) != 1
    ):  # fmt: skip
        raise DamagedError("holds no cache of a model of this shape", where=str(path))
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("weights") != fingerprint:
            raise DamagedError("is the cache of another model", where=str(path))
        rows = Rows(file.get_tensor("keys"), file.get_tensor("values"))
        tokens = file.get_tensor("tokens").to(torch.long).tolist()
    chain = cache.chain()
    cache.fill(chain, rows)
    # What was written by the model from the start may be found by others again.
    chain.tokens = tokens
    chain.edited = metadata.get("edited") == "True" or len(tokens) != len(rows)
    return chain
