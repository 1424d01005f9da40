"""Delta: what was added to a model or replaced in it, and a way back that is exact to the bit.

A delta holds the new tensors, the old ones that they replaced, and the digest of the model it
belongs to: on any other model it is refused. Use it for edits and small fine-tunings that must come
off again; after a full fine-tuning it is twice the model.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DamagedError, DataError
from tilth.models.checkpoint import PROVENANCE, Checkpoint, plain
from tilth.models.safetensors_header import check_header
from tilth.models.surgery.promise import equal_bits
from tilth.store.manifest import NAME, verify, write_manifest
from tilth.store.write import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from torch import Tensor

FILES = ("new.safetensors", "old.safetensors", "delta.json")


@dataclass(frozen=True)
class Delta:
    """`new`: added or replaced tensors. `old`: what was replaced or removed. `settings`: name ->
    (old, new) of the configuration. `base`, `result`: digests of the checkpoints before, after."""

    base: str
    result: str
    new: dict[str, Tensor]
    old: dict[str, Tensor]
    settings: dict[str, tuple[Any, Any]]

    @classmethod
    def between(cls, before: Checkpoint, after: Checkpoint) -> Delta:
        """The delta that leads from one checkpoint to another of the same architecture."""
        if before.architecture != after.architecture:
            raise DataError(f"a {before.architecture} does not become a {after.architecture}")
        changed = {
            name
            for name in before.tensors.keys() | after.tensors.keys()
            if name not in before.tensors
            or name not in after.tensors
            or not equal_bits(before.tensors[name], after.tensors[name])
        }
        new = {n: after.tensors[n].clone() for n in sorted(changed) if n in after.tensors}
        old = {n: before.tensors[n].clone() for n in sorted(changed) if n in before.tensors}
        left, right = (plain(one.config.to_dict()) for one in (before, after))
        settings = {
            name: (left.get(name), right.get(name))
            for name in sorted(left.keys() | right.keys())
            if left.get(name) != right.get(name) and name not in PROVENANCE
        }
        return cls(before.digest, after.digest, new, old, settings)

    def apply(self, checkpoint: Checkpoint) -> Checkpoint:
        """The changed checkpoint. Raises DataError where the delta belongs to another model."""
        self._expect(checkpoint, self.base, "made for another model")
        return self._swapped(checkpoint, self.old, self.new, 1)

    def undo(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint before, bit for bit. Raises DataError where it is not the result."""
        self._expect(checkpoint, self.result, "not what this model was changed by last")
        return self._swapped(checkpoint, self.new, self.old, 0)

    @staticmethod
    def _expect(checkpoint: Checkpoint, wanted: str, what: str) -> None:
        if checkpoint.digest != wanted:
            raise DataError(f"the delta is {what}: {wanted[:8]}, not {checkpoint.digest[:8]}")

    def _swapped(
        self, checkpoint: Checkpoint, out: dict[str, Tensor], into: dict[str, Tensor], side: int
    ) -> Checkpoint:
        kept = {n: t for n, t in checkpoint.tensors.items() if n not in out}
        order = {name: place for place, name in enumerate(checkpoint.tensors)}
        made = {**kept, **{n: t.clone() for n, t in into.items()}}
        made = {n: made[n] for n in sorted(made, key=lambda n: order.get(n, len(order)))}
        settings = {name: copy.deepcopy(pair[side]) for name, pair in self.settings.items()}
        return checkpoint.with_(made, **settings)

    def merge(self, later: Delta) -> Delta:
        """One delta for two that follow each other. Raises DataError where they do not."""
        if later.base != self.result:
            raise DataError(f"the second delta starts at {later.base[:8]}, the first ends at "
                            f"{self.result[:8]}")  # fmt: skip
        added = self.new.keys() - self.old.keys()
        removed_later = later.old.keys() - later.new.keys()
        new = {**{n: t for n, t in self.new.items() if n not in removed_later}, **later.new}
        old = {**{n: t for n, t in later.old.items() if n not in added}, **self.old}
        settings = dict(self.settings)
        for name, (left, right) in later.settings.items():
            settings[name] = (settings[name][0] if name in settings else left, right)
        return Delta(self.base, later.result, new, old, settings)

    def save(self, folder: str | Path) -> None:
        """A folder with both sets of tensors, its manifest last."""
        from safetensors.torch import save as to_bytes

        folder = Path(folder)
        (folder / NAME).unlink(missing_ok=True)
        for name, tensors in zip(FILES, (self.new, self.old)):
            write_bytes(folder / name, to_bytes({n: t.contiguous() for n, t in tensors.items()}))
        settings = {name: list(pair) for name, pair in self.settings.items()}
        write_json(
            folder / FILES[2], {"base": self.base, "result": self.result, "settings": settings}
        )
        write_manifest(folder, FILES, kind="delta")

    @classmethod
    def load(cls, folder: str | Path) -> Delta:
        """The delta in a folder, verified. Raises DamagedError where a file does not agree."""
        from safetensors.torch import load_file

        folder = Path(folder)
        verify(folder)
        tensors = []
        for name in FILES[:2]:
            check_header(folder / name)
            tensors.append(load_file(folder / name))
        stated = read_json(folder / FILES[2])
        try:
            settings = {name: (pair[0], pair[1]) for name, pair in stated["settings"].items()}
            return cls(stated["base"], stated["result"], *tensors, settings)
        except (KeyError, TypeError, IndexError, AttributeError):
            raise DamagedError("is no delta", where=str(folder / FILES[2])) from None
