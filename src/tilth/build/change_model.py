"""Model folder in, model folder out: merge, put an adapter into its base, truncate, make sparse.

The changes are those of `models.merge`, `models.lora` and `models.surgery`; each says what it
promises and is checked on random tokens. Nothing is written where the check fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build.output import also_listed, fresh
from tilth.errors import DataError, UsageError, nearest
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "adapter_config.json"
# An adapter in its base gives the logits that it gives beside it, up to the rounding of weights.
TOLERANCE = 1e-3


def kind_of(folder: str | Path) -> str:
    """The kind (`models.configuration.KINDS`) of the head that a folder's config.json names."""
    from tilth.models.checkpoint import KINDS
    from tilth.store.write import read_json

    path = Path(folder) / "config.json"
    if not path.is_file():
        raise DataError("holds no model: there is no config.json", where=str(folder))
    stated = read_json(path)
    names = (stated.get("architectures") if isinstance(stated, dict) else None) or [""]
    kind = next((kind for end, kind in KINDS.items() if str(names[0]).endswith(end)), None)
    if kind is None:
        raise DataError(f"states no known architecture, but {names[0]!r}", where=str(folder))
    return kind


def merge(
    models: Sequence[str], out: str, *, base: str = "", method: str = "", weights: str = "",
    density: float = 0.0, scale: float = 1.0, seed: int = 0, tokenizer: str = "",
    progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Merge folders into one; of one adapter folder and its base a whole model.

    `method` "" is `task-arithmetic` with a base, else `linear` with weights, else `soup`;
    `weights` is `0.7,0.3`.
    """
    from tilth.models.merge import merge_folders
    from tilth.models.surgery.combine import METHODS

    known = (*METHODS, "soup")
    if method and method not in known:
        raise UsageError(f"there is no way {method!r} to merge", hint=nearest(method, known))
    if any((Path(model) / ADAPTER).is_file() for model in models):
        if len(models) != 1 or not base or method or weights:
            raise UsageError(
                "an adapter goes alone into its base",
                hint="tilth merge ADAPTER --base BASE -o OUT",
            )
        _no_effect("with an adapter", tokenizer=tokenizer, density=density, scale=scale != 1,
                   seed=seed)  # fmt: skip
        return into_base(models[0], base, out)
    method = method or ("task-arithmetic" if base else "linear" if weights else "soup")
    _no_effect(
        f"in {method}", density=density and method not in ("ties", "dare"),
        scale=scale != 1 and method != "ties", seed=seed and method != "dare",
    )  # fmt: skip
    if method == "soup":
        if base or weights:
            raise UsageError("a soup is the plain average of models: no base, no weights",
                             hint="--method linear for weights")  # fmt: skip
        method = "linear"
    try:
        given = [float(part) for part in weights.split(",")] if weights else None
    except ValueError:
        raise UsageError(
            f"--weights {weights!r} are no numbers", hint="--weights 0.7,0.3"
        ) from None
    if len(models) == 1 and (not base or (method == "task-arithmetic" and given is None)):
        raise UsageError(
            "one model alone gives itself: there is nothing to merge",
            hint="a second model" if not base else "a second model, or --weights 0.5 for half way",
        )
    _refuse_lost([*models, *([base] if base else [])], progress)
    fresh(out)
    made = merge_folders(
        out, models, base=base or None, weights=given, method=method, density=density or None,
        scale=scale, seed=seed, tokenizer=tokenizer or None, progress=progress,
    )  # fmt: skip
    return {"method": method, **vars(made)}


def _refuse_lost(folders: Sequence[str], progress: Progress) -> None:
    """Refuse models that hold a number that is none, tensor by tensor, before anything is made."""
    from tilth.models.merge import TensorFiles
    from tilth.models.weight_files import refuse_lost

    for number, folder in enumerate(folders):
        progress("check", number, len(folders))
        files = TensorFiles(folder)
        with files.reader() as read:
            for name in files.header:
                refuse_lost({name: read(name)}, folder)


def _no_effect(where: str, **given: Any) -> None:
    """Refuse what was set and would be ignored."""
    for name, one in given.items():
        if one:
            raise UsageError(f"{name} has no effect {where}")


def into_base(adapter: str, base: str, out: str) -> dict[str, Any]:
    """A LoRA folder (tilth's or PEFT's) added to the weights of its base, and saved whole."""
    from tilth.evaluation.tasks import HEADS, TASK_FILE
    from tilth.models.folder import TOKENIZER, load_model, save_model
    from tilth.models.lora import load_lora, merge_lora
    from tilth.models.weight_files import refuse_lost
    from tilth.store.write import read_json

    task = Path(adapter) / TASK_FILE
    made_for = read_json(task) if task.is_file() else None
    if made_for is None:
        model = load_model(base, kind_of(base))
    else:
        # The base lacks the head; the adapter holds all of it.
        labels = made_for["objective"].get("labels") or ["value"]
        head = HEADS[made_for["kind"]]
        named: dict[str, Any] = {} if head == "choose" else {
            "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)},
        }  # fmt: skip
        # A head that looks at the last real token must know what padding is.
        pad = read_json(Path(base) / "config.json").get("pad_token_id")
        named["pad_token_id"] = made_for["objective"].get("pad") if pad is None else pad
        model = load_model(base, head, new_head=True, **named)
    wrapped = load_lora(model, adapter)
    refuse_lost(dict(model.named_parameters()), adapter)
    before = _logits(model)
    difference = float((_logits(merge_lora(model)) - before).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(before.abs().max())):
        raise DataError(
            f"in the base it gives other logits than beside it, by {difference:.2g}",
            where=adapter, hint="weights of this precision cannot hold it",
        )  # fmt: skip
    fresh(out)
    source = next((f for f in (adapter, base) if (Path(f) / TOKENIZER).is_file()), None)
    save_model(model, out, source)
    if made_for is not None:
        also_listed(Path(out), TASK_FILE, made_for)
    return {"method": "lora", "modules": len(wrapped.modules), "logit_difference": difference}


def change(surgery: str, model: str, out: str, **parameters: Any) -> dict[str, Any]:
    """One of `models.surgery.SURGERIES` on a folder, its promise checked before anything is
    written."""
    from tilth.models.checkpoint import Checkpoint
    from tilth.models.folder import TOKENIZER
    from tilth.models.surgery.run import operate

    before = Checkpoint.load(model)
    done = operate(surgery, before, **parameters)
    fresh(out)
    done.checkpoint.save(out, model if (Path(model) / TOKENIZER).is_file() else None)
    counts = [sum(t.numel() for t in c.tensors.values()) for c in (before, done.checkpoint)]
    live = sum(int((t != 0).sum()) for t in done.checkpoint.tensors.values())
    return {
        "surgery": surgery, "parameters": {"before": counts[0], "after": counts[1]},
        "not_zero": live, "bit_equal_tensors": len(done.promise.bit_equal),
        "function_kept": done.promise.function, "because": done.promise.because,
        "logit_difference": done.kept.logit_difference,
    }  # fmt: skip


def _logits(model: PreTrainedModel) -> Any:
    """Logits of a few random tokens, float32."""
    import torch

    size = model.config.vocab_size
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(min(5, size - 1), size, (2, 8), generator=generator)
    with torch.inference_mode():
        out = model(input_ids=ids)
    return (out["logits"] if "logits" in out else out[0]).float()
