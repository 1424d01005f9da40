"""Which ids of a tokenizer stand for no text: end, begin, separator, mask, padding.

A tokenizer made here has `END`, and where a model needs them `PAD` and `MASK`. Others use names of
their families (Bert, Roberta, GPT-2, Llama, Qwen); a folder's `tokenizer_config.json` says which
name plays which part; where it is silent, or there is no folder, the usual names are looked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError
from tilth.tokens.bpe import ENDS, MASK, PAD

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# In the order in which they are looked for; the part's key in `tokenizer_config.json` comes first.
USUAL = {
    "end": ENDS,
    "begin": ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>"),
    "separator": ("[SEP]", "</s>"),
    "mask": (MASK, "[MASK]", "<mask>"),
    "pad": (PAD, "[PAD]", "<pad>", "<|finetune_right_pad_id|>"),
}
KEYS = {
    "end": "eos_token", "begin": "cls_token", "separator": "sep_token", "mask": "mask_token",
    "pad": "pad_token",
}  # fmt: skip


@dataclass(frozen=True)
class Specials:
    """Ids. `end` ends a document; a task's row is begin, text, separator.

    `begin` and `separator` are `end` where the tokenizer has none of its own. `pad` is `end` where
    there is none: padding must then be hidden by an attention mask. `mask` is None where there is
    none: such a tokenizer serves no masked objective.
    """

    end: int
    begin: int
    separator: int
    mask: int | None
    pad: int


def special_ids(tokenizer: Tokenizer, folder: str | Path | None = None) -> Specials:
    """The parts of a tokenizer, by its folder's settings and by the usual names.

    Raises DataError where nothing can end a document.
    """
    settings = _settings(Path(folder)) if folder is not None else {}
    found: dict[str, int | None] = {}
    for part, names in USUAL.items():
        # A chat model's `eos_token` ends a turn; the token that ends a document has a usual name.
        named = [settings[KEYS[part]]] if KEYS[part] in settings else []
        order = [*names, *named] if part == "end" else [*named, *names]
        ids = (tokenizer.token_to_id(name) for name in order)
        found[part] = next((id for id in ids if id is not None), None)
    end = found["end"]
    if end is None:
        raise DataError(
            "the tokenizer has no token that ends a document",
            where=str(folder or ""),
            hint=f"eos_token in tokenizer_config.json, or one of {', '.join(USUAL['end'])}",
        )

    def or_end(part: str) -> int:
        return end if found[part] is None else int(found[part])

    return Specials(
        int(end), or_end("begin"), or_end("separator"), found["mask"], or_end("pad")
    )  # fmt: skip


def stated(folder: str | Path, name: str = "tokenizer_config.json") -> dict[str, Any]:
    """What a file of a folder says of its tokenizer; nothing where there is none.

    Raises DataError for what is no JSON.
    """
    path = Path(folder) / name
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(f"not valid JSON: {error}", where=str(path)) from None
    return value if isinstance(value, dict) else {}


def letters(token: Any) -> str | None:
    """Those of a special token, which stand alone or in an object; None for anything else."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else None


def _settings(folder: Path) -> dict[str, str]:
    """Names of special tokens that a folder states; empty where it states none."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        value = stated(folder, name)
        named = {key: letters(value.get(key)) for key in KEYS.values()}
        found |= {key: token for key, token in named.items() if token is not None}
    return found
