"""A transformer and a pooling of its last hidden states (Reimers and Gurevych, 2019, SBERT).

Pooling is `mean` over the tokens, `cls` (the first), `lasttoken` or `max`. Texts of a batch are
packed side by side without padding where the architecture allows it (`tilth.models.packed`), so a
vector is that of the text alone, up to rounding. When: other words for the same thing, many
languages, any model that someone trained for search. When not: millions of documents on two cores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError, nearest
from tilth.retrieval.encoders.base import TextEncoder
from tilth.store.write import write_bytes, write_json

if TYPE_CHECKING:
    import torch

POOLINGS = ("mean", "cls", "lasttoken", "max")
# Tokens of a batch: hidden states that fit in a processor's cache are faster.
BATCH_TOKENS = 4096


class Transformer(TextEncoder):
    """The encoder of this module, around a `transformers` base model."""

    name = "transformer"

    def __init__(
        self, model: Any, tokenizer: Any, *, pooling: str = "mean", **settings: Any
    ) -> None:
        if pooling not in POOLINGS:
            hint = nearest(pooling, POOLINGS)
            raise UsageError(f"there is no pooling {pooling!r}", hint=hint)
        self.model, self.pooling = model.eval(), pooling
        self.dimensions = int(model.config.hidden_size)
        super().__init__(tokenizer, **{"normalize": True, **settings})

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "pooling": self.pooling}

    def weights_digest(self) -> str:
        found = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            # A pooler belongs to a classifier's head and is not asked.
            if not name.startswith("pooler."):
                found.update(f"{name} {tuple(tensor.shape)}".encode())
                found.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
        return found.hexdigest()

    def vectors(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        import torch

        found = np.zeros((len(ids), self.dimensions), np.float32)
        # Equal lengths together: attention then runs over whole groups.
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        with torch.inference_mode():
            for part in _batches(order, ids):
                rows = [ids[place] for place in part]
                lengths = torch.tensor([len(row) for row in rows])
                flat = torch.tensor([token for row in rows for token in row])
                states = hidden_states(self.model, flat, lengths)
                found[part] = pooled(states, lengths, self.pooling).float().numpy()
        return found

    def save(self, folder: str | Path) -> list[str]:
        """Write the folder; the names of its files, the manifest last."""
        from tilth.models.folder import save_model
        from tilth.models.weight_files import WEIGHTS

        folder = Path(folder)
        save_model(self.model, folder)
        for name, content in self.files.items():
            write_bytes(folder / name, content)
        modes = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
        pooling = {
            "word_embedding_dimension": self.dimensions,
            f"pooling_mode_{modes.get(self.pooling, self.pooling)}": True,
        }
        if self.pooling != "mean":
            pooling["pooling_mode_mean_tokens"] = False
        write_json(folder / "1_Pooling" / "config.json", pooling)
        lengths = {"max_seq_length": self.longest, "do_lower_case": self.lower}
        write_json(folder / "sentence_bert_config.json", lengths)
        modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
        if self.normalize:
            modules.append(("Normalize", "2_Normalize"))
        names = ["config.json", WEIGHTS, "README.md", *self.files, "1_Pooling/config.json"]
        return self._save(folder, modules, [*names, "sentence_bert_config.json"])


def _batches(order: Sequence[int], ids: Sequence[Sequence[int]]) -> list[list[int]]:
    batches: list[list[int]] = []
    tokens = BATCH_TOKENS
    for place in order:
        if tokens + len(ids[place]) > BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(place)
        tokens += len(ids[place])
    return batches


def hidden_states(model: Any, flat: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Last hidden states (tokens, width) of texts one behind the other, each for itself."""
    import torch

    from tilth.models.packed import forward

    segments = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    return forward(model, flat[None], segments[None], hidden=True)[0]


def pooled(states: torch.Tensor, lengths: torch.Tensor, pooling: str = "mean") -> torch.Tensor:
    """One vector a text, (texts, width), from the states (tokens, width) of all its tokens."""
    import torch

    if pooling == "cls":
        return states[lengths.cumsum(0) - lengths]
    if pooling == "lasttoken":
        return states[lengths.cumsum(0) - 1]
    return torch.segment_reduce(states, pooling, lengths=lengths)
