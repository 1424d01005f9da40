"""An encoder's folder: tilth's own, one of `sentence-transformers`, or any Hugging Face model.

What is done to a text is read from the folder (`modules.json`, the pooling's configuration,
prompts, length); a plain model folder says none of this: mean pooling and unit length are taken
then, unless the caller says otherwise. Modules other than those below are refused by name, pickles
are never read, and no code of a folder runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tilth.errors import DamagedError, DataError, UsageError, nearest
from tilth.retrieval.encoders import ENCODERS, base, hashed
from tilth.retrieval.encoders.transformer import POOLINGS
from tilth.store.write import read_json

OPTIONS = ("pooling", "normalize", "prompts", "longest")
COVERED = ("Transformer", "Pooling", "Normalize", "StaticEmbedding")
# Where neither the folder nor the model says how long a text may be.
LONGEST = 512
# Where the package states it since its version 6, among the tokenizer's settings.
STATED, ENORMOUS = "model_max_length", 10**9
MODES = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "lasttoken"}


def open_folder(folder: Path, options: dict[str, Any]) -> Any:
    """See `tilth.retrieval.encoders.load_encoder`."""
    for name in options:
        if name not in OPTIONS:
            raise UsageError(f"an encoder has no option {name!r}", hint=nearest(name, OPTIONS))
    if not folder.is_dir():
        raise DataError("there is no such folder", where=str(folder))
    if (folder / hashed.FILE).is_file():
        from tilth.lookup import construct

        stored = _object(folder / hashed.FILE)
        if stored.get("name") == "latent":
            from tilth.retrieval.encoders.latent import Latent

            return Latent.load(folder)
        return construct("encoder", ENCODERS, stored["name"], stored["parameters"])
    if not (folder / base.MODULES).is_file():
        if not (folder / "config.json").is_file():
            raise DataError(
                "holds no encoder: neither modules.json nor config.json", where=str(folder)
            )
        return _transformer(folder, folder, {}, {"pooling": "mean", "normalize": True}, options)
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    settings = _object(folder / base.SETTINGS)
    normalize = "Normalize" in kinds or settings.get("similarity_fn_name") == "cosine"
    found: dict[str, Any] = {"normalize": normalize, "prompts": _prompts(folder, settings)}
    if kinds[0] == "StaticEmbedding":
        if len(set(kinds) - {"Normalize"}) > 1:
            raise _not_covered(folder, kinds[1])
        return _static(folder / modules[0][1], found, options)
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise DataError(
            f"is made of {', '.join(kinds)}, not of Transformer, Pooling and Normalize",
            where=str(folder),
        )
    found["pooling"] = _pooling(folder / modules[1][1] / "config.json", found["prompts"])
    inner = folder / modules[0][1]
    lengths = _object(inner / "sentence_bert_config.json")
    lengths[STATED] = _stated_length(inner)
    return _transformer(folder, inner, lengths, found, options)


def _modules(folder: Path) -> list[tuple[str, str]]:
    """(kind, path) of each module. The paths stay inside the folder."""
    stored = read_json(folder / base.MODULES)
    found = []
    for entry in stored if isinstance(stored, list) else []:
        kind = str(entry.get("type", "")).rpartition(".")[2] if isinstance(entry, dict) else ""
        if kind not in COVERED:
            raise _not_covered(folder, kind)
        path = Path(str(entry.get("path", "")))
        if path.is_absolute() or ".." in path.parts:
            raise DamagedError(f"names {str(path)!r}, outside of it", where=str(folder))
        found.append((kind, str(path)))
    if not found:
        raise DamagedError("names no module", where=str(folder / base.MODULES))
    return found


def _not_covered(folder: Path, kind: str) -> DataError:
    return DataError(
        f"has a module {kind or '?'!r}, which is not covered; {', '.join(COVERED)} are",
        where=str(folder),
    )


def _object(path: Path) -> dict[str, Any]:
    stored = read_json(path) if path.is_file() else {}
    if not isinstance(stored, dict):
        raise DamagedError("is no JSON object", where=str(path))
    return stored


def _prompts(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(p, str) for p in prompts.values()):
        raise DamagedError("its prompts are no texts", where=str(folder / base.SETTINGS))
    default = settings.get("default_prompt_name")
    if default in prompts and not {*base.QUERY, *base.DOCUMENT} & set(prompts):
        return {"query": prompts[default], "document": prompts[default]}
    return {name: text for name, text in prompts.items() if name in (*base.QUERY, *base.DOCUMENT)}


def _pooling(path: Path, prompts: dict[str, str]) -> str:
    stored = _object(path)
    if stored.get("include_prompt") is False and any(prompts.values()):
        raise DataError("pools without its prompt, which is not covered", where=str(path))
    named = stored.get("pooling_mode")
    if isinstance(named, str) and named in POOLINGS:
        return named
    prefix = "pooling_mode_"
    modes = [key[len(prefix) :] for key, on in stored.items() if key.startswith(prefix) and on]
    if len(modes) == 1 and modes[0] in MODES:
        return MODES[modes[0]]
    what = " and ".join(modes) or named or "nothing"
    raise DataError(f"pools by {what}; one of {', '.join(POOLINGS)} is covered", where=str(path))


def _transformer(
    folder: Path, inner: Path, lengths: dict[str, Any], found: dict[str, Any],
    options: dict[str, Any],
) -> Any:  # fmt: skip
    from tilth.models.folder import load_model
    from tilth.retrieval.encoders.transformer import Transformer

    model = load_model(inner, "encoder", dtype="float32")
    tokenizer, files = _tokenizer(inner)
    longest = lengths.get("max_seq_length")
    longest = longest or min(lengths.get(STATED) or LONGEST, _context(model))
    settings = {
        "longest": int(longest), "lower": bool(lengths.get("do_lower_case")), "files": files,
        **found, **options,
    }  # fmt: skip
    if settings["longest"] > _context(model):
        raise UsageError(
            f"texts of {settings['longest']:,} tokens, but the model's context is "
            f"{_context(model):,}",
            where=str(folder),
        )
    return Transformer(model, tokenizer, **settings)


def _stated_length(folder: Path) -> int | None:
    """How many tokens the tokenizer's settings allow; None where they say nothing: a tokenizer
    that knows no limit states an enormous one."""
    stated = _object(folder / "tokenizer_config.json").get(STATED)
    return int(stated) if isinstance(stated, (int, float)) and 0 < stated < ENORMOUS else None


def _context(model: Any) -> int:
    from tilth.models.packed import SHIFTED

    context = getattr(model.config, "max_position_embeddings", None) or LONGEST
    if model.config.model_type in SHIFTED:
        context -= model.get_input_embeddings().padding_idx + 1
    return int(context)


def _static(folder: Path, found: dict[str, Any], options: dict[str, Any]) -> Any:
    from safetensors.numpy import load_file

    from tilth.models.safetensors_header import check_header
    from tilth.retrieval.encoders.static import WEIGHTS, Static

    if "pooling" in options:
        raise UsageError("a static encoder has no pooling to choose", where=str(folder))
    if not (folder / WEIGHTS).is_file():
        raise DataError(f"holds no {WEIGHTS}", where=str(folder))
    names = list(check_header(folder / WEIGHTS))
    name = next((n for n in ("embedding.weight", "embeddings") if n in names), None)
    if name is None or len(names) > 1:
        raise DataError(
            "weights of a static encoder are one tensor 'embedding.weight'", where=str(folder)
        )
    weights = load_file(str(folder / WEIGHTS))[name]
    tokenizer, files = _tokenizer(folder)
    if weights.ndim != 2 or len(weights) < tokenizer.get_vocab_size():
        raise DamagedError("has fewer vectors than its tokenizer has tokens", where=str(folder))
    return Static(weights, tokenizer, files=files, **{**found, **options})


def _tokenizer(folder: Path) -> tuple[Any, dict[str, bytes]]:
    from tilth.models.folder import TOKENIZER, TOKENIZER_EXTRAS, load_tokenizer

    tokenizer = load_tokenizer(folder)
    names = [name for name in (TOKENIZER, *TOKENIZER_EXTRAS) if (folder / name).is_file()]
    return tokenizer, {name: (folder / name).read_bytes() for name in names}
