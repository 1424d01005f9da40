"""Micro models with random weights, for smoke runs and tests: a moment, no data set, no file.

The text is what every Python has: docstrings of some modules of its standard library.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import TYPE_CHECKING

from tilth.errors import UsageError, nearest

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

VOCABULARY = 400
CONTEXT = 64
MODULES = (
    "argparse", "collections", "decimal", "doctest", "email.message", "fractions", "heapq",
    "inspect", "logging", "pathlib", "random", "statistics", "string", "textwrap", "threading",
    "typing", "unittest.mock", "urllib.parse", "zipfile",
)  # fmt: skip
SHORTEST = 40
KINDS = ("causal", "masked", "electra")


@functools.lru_cache
def tiny(kind: str = "causal") -> tuple[PreTrainedModel, Tokenizer, TokenDocuments]:
    """(model, tokenizer, documents): 400 tokens (END, PAD, MASK are 0, 1, 2), width 32, 2 layers.

    `causal` is a Llama, `masked` a ModernBert, `electra` a discriminator. Made once a process and
    shared: take a `copy.deepcopy` of what you train.
    """
    from tilth.models.decoder import HEAD
    from tilth.models.encoders import build_shape

    if kind not in KINDS:
        raise UsageError(f"there is no tiny model {kind!r}", hint=nearest(kind, KINDS))
    tokenizer, documents = _text()
    if kind == "causal":
        from tilth.models.decoder import build, parameters_of

        size = parameters_of(HEAD, 2, VOCABULARY)
        return build(size, vocabulary=VOCABULARY, context=CONTEXT), tokenizer, documents
    model = build_shape(
        HEAD, 2, vocabulary=VOCABULARY, context=CONTEXT, pad=1,
        kind="modernbert" if kind == "masked" else kind,
    )  # fmt: skip
    return model, tokenizer, documents


def docstrings() -> list[tuple[str, str]]:
    """(name, docstring) of the modules, their public classes and functions, in order of name."""
    found: dict[str, str] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        found[name] = inspect.getdoc(module) or ""
        for member, value in sorted(vars(module).items()):
            own = getattr(value, "__module__", None) == name and not member.startswith("_")
            if own and (inspect.isclass(value) or inspect.isfunction(value)):
                # Its own, not one that a class inherits.
                doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
                found[f"{name}.{member}"] = inspect.cleandoc(doc or "")
    seen: set[str] = set()
    kept = []
    for name, text in sorted(found.items()):
        if len(text) >= SHORTEST and text not in seen:
            seen.add(text)
            kept.append((name, text))
    return kept


@functools.lru_cache
def _text() -> tuple[Tokenizer, TokenDocuments]:
    from tilth.tokens import bpe
    from tilth.tokens.documents import TokenDocuments

    names, texts = zip(*docstrings())
    tokenizer = bpe.train(texts, VOCABULARY, special=(bpe.PAD, bpe.MASK))
    return tokenizer, TokenDocuments.of(names, texts, tokenizer)
