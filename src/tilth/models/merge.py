"""Merge model folders of any size: one tensor of each at a time.

`merge_folders` reads safetensors files piece by piece and writes the result as it goes, so memory
is a few times the largest tensor. Methods are those of `surgery.combine`, arithmetic in float64.
Any architecture will do, as names and sizes must be equal. What could go wrong in silence is an
error: another size, a tensor that one model lacks, another vocabulary or order of tokens.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError
from tilth.models.folder import TOKENIZER, copy_tokenizer
from tilth.models.safetensors_header import BITS, check_header
from tilth.models.surgery.arithmetic import cosine
from tilth.models.surgery.combine import merge_tensor, merger, same_tensors
from tilth.models.weight_files import WEIGHTS, weight_files
from tilth.store.digest import digest, sha256_file
from tilth.store.manifest import NAME, read_manifest, verify, write_manifest
from tilth.store.write import atomic_write, read_json, write_json
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

LINEAGE = "merge.json"
# Settings that must be equal: the function needs them, and the tensors' sizes do not show them.
FIXED = (
    "model_type", "architectures", "tie_word_embeddings", "hidden_act", "num_attention_heads",
    "num_key_value_heads", "rope_parameters", "layer_types", "local_attention",
)  # fmt: skip


class TensorFiles:
    """The tensors of a model folder, read one at a time. Headers are checked before."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "config.json").is_file():
            raise DataError("holds no model: there is no config.json", where=str(folder))
        if read_manifest(self.folder) is not None:
            verify(self.folder)
        self.config: dict[str, Any] = read_json(self.folder / "config.json")
        self.files: dict[str, Path] = {}
        self.header: dict[str, dict[str, Any]] = {}
        for path in weight_files(self.folder):
            for name, entry in check_header(path).items():
                if name in self.header:
                    raise DataError(f"tensor {name!r} is in two files", where=str(folder))
                self.header[name], self.files[name] = entry, path

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(entry["shape"]) for name, entry in self.header.items()}

    @property
    def digest(self) -> str:
        """Of configuration and weight files."""
        files = sorted(set(self.files.values()))
        return digest(*[sha256_file(path) for path in (self.folder / "config.json", *files)])

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], Tensor]]:
        """Inside the block: name -> tensor."""
        from safetensors import safe_open

        with contextlib.ExitStack() as stack:
            opened = {
                path: stack.enter_context(safe_open(path, framework="pt"))
                for path in set(self.files.values())
            }
            yield lambda name: opened[self.files[name]].get_tensor(name)


@dataclass(frozen=True)
class Merged:
    """How many tensors and numbers were merged, and the median over tensors of the cosine of the
    first two task vectors (None without a base and two models)."""

    tensors: int
    numbers: int
    cosine: float | None


def merge_folders(
    folder: str | Path,
    others: Sequence[str | Path],
    *,
    base: str | Path | None = None,
    weights: Sequence[float] | None = None,
    method: str = "task-arithmetic",
    density: float | None = None,
    scale: float = 1.0,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    progress: Progress = silent,
) -> Merged:
    """Write the merged model to `folder`, its manifest last, with `merge.json` for its lineage.

    `base`: what the others came from; only the method `linear` goes without. `weights`: one a
    model, 1 each by default. `tokenizer`: the folder whose tokenizer files and chat template go
    along, by default the last model's that has one. Raises UsageError for parameters that do not
    fit, DataError for models that do not; nothing is written then.
    """
    weights = [1.0] * len(others) if weights is None else [float(w) for w in weights]
    if len(weights) != len(others) or not others:
        raise UsageError(f"{len(others)} models and {len(weights)} weights do not fit")
    if base is None and method != "linear":
        raise UsageError(f"{method} needs the base that the models came from",
                         hint="--base FOLDER, or method linear")  # fmt: skip
    merge = merger(method, weights, density=density, scale=scale, seed=seed)
    models = [TensorFiles(other) for other in others]
    first = models[0] if base is None else TensorFiles(base)
    for model in models:
        _same_settings(first, model)
        same_tensors(first.sizes, model.sizes, str(model.folder))
    source = _tokenizer_folder([first, *models], tokenizer)
    folder = Path(folder)
    if folder.resolve() in {one.folder.resolve() for one in [first, *models]}:
        raise UsageError("the result would overwrite a model that it is made from",
                         where=str(folder))  # fmt: skip
    (folder / NAME).unlink(missing_ok=True)
    cosines: list[float] = []
    with contextlib.ExitStack() as stack:
        read_base = stack.enter_context(first.reader())
        readers = [stack.enter_context(model.reader()) for model in models]

        def made() -> Iterator[Tensor]:
            for number, name in enumerate(_order(first.header)):
                progress("merge", number, len(first.header))
                tensor, rest = read_base(name), [read(name) for read in readers]
                if base is not None and len(rest) > 1 and tensor.is_floating_point():
                    cosines.append(cosine(tensor, rest[0], rest[1]))
                yield merge_tensor(name, tensor, rest, merge)

        _write_stream(folder / WEIGHTS, first.header, made())
    config = {key: value for key, value in first.config.items() if key != "_name_or_path"}
    write_json(folder / "config.json", config)
    lineage = {
        "method": method, "weights": list(weights), "density": density, "scale": scale,
        "seed": seed, "base": None if base is None else _named(first),
        "models": [_named(model) for model in models],
    }  # fmt: skip
    write_json(folder / LINEAGE, lineage)
    files = ["config.json", WEIGHTS, LINEAGE]
    if source is not None:
        files += copy_tokenizer(source, folder)
    numbers = sum(math.prod(size) for size in first.sizes.values())
    write_manifest(folder, files, kind="model", parameters=numbers)
    finite = sorted(c for c in cosines if math.isfinite(c))
    return Merged(len(first.header), numbers, finite[len(finite) // 2] if finite else None)


def _named(model: TensorFiles) -> dict[str, str]:
    return {"name": model.folder.resolve().name, "digest": model.digest}


def _same_settings(first: TensorFiles, other: TensorFiles) -> None:
    for name in FIXED:
        left, right = first.config.get(name), other.config.get(name)
        if left != right:
            raise DataError(
                f"{name} is {left!r} in {first.folder.name} and {right!r} here",
                where=str(other.folder),
            )


def _tokenizer_folder(models: Sequence[TensorFiles], given: str | Path | None) -> Path | None:
    """Where the tokenizer is taken from. Raises DataError where the models' vocabularies differ."""
    from tilth.models.folder import load_tokenizer

    there = [model.folder for model in models if (model.folder / TOKENIZER).is_file()]
    there = list(dict.fromkeys([*there, *([Path(given)] if given else [])]))
    seen: dict[str, int] | None = None
    for folder in there:
        tokens = load_tokenizer(folder).get_vocab()
        if seen is not None and tokens != seen:
            odd = next(t for t in {**seen, **tokens} if seen.get(t) != tokens.get(t))
            raise DataError(
                f"its tokenizer differs from {there[0].name}'s, such as in the token {odd!r}",
                where=str(folder), hint="models with other vocabularies cannot be merged",
            )  # fmt: skip
        seen = tokens
    return Path(given) if given else (there[-1] if there else None)


def _order(header: dict[str, dict[str, Any]]) -> list[str]:
    """Wide types first, so that every tensor begins where its type may; then by name."""
    return sorted(header, key=lambda name: (-BITS[header[name]["dtype"]], name))


def _write_stream(path: Path, header: dict[str, dict[str, Any]], tensors: Iterator[Tensor]) -> None:
    """A safetensors file with the types and sizes of `header`; tensors come in `_order`."""
    import torch

    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in _order(header):
        start, stop = header[name]["data_offsets"]
        place = [position, position + stop - start]
        entries[name] = {**header[name], "data_offsets": place}
        position = place[1]
    text = json.dumps(entries, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            if tensor.numel():
                file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
