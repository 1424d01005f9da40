"""The body of a request in OpenAI's form, read field by field: what is not of its type is refused.

A field that is not known is refused with the nearest right name: nothing is ignored without a word.
Which fields a request has, and what they mean together, is `openai_forms`.
"""

from __future__ import annotations

import json
from typing import Any

from tilth.errors import nearest
from tilth.serving.refusal import Refused

# Taken and without effect: they are about the sender's account, not about the answer.
WITHOUT_EFFECT = ("user", "metadata", "store", "service_tier", "safety_identifier",
                  "prompt_cache_key", "prompt_cache_retention")  # fmt: skip
# What OpenAI has and this server does not: their values that ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "suffix": ("",), "tools": ([],), "functions": ([],), "tool_choice": ("none",),
    "function_call": ("none",), "response_format": ({"type": "text"},),
    "modalities": (["text"],), "parallel_tool_calls": (True, False),
    "reasoning_effort": ("none",), "verbosity": ("medium",), "audio": (), "prediction": (),
    "web_search_options": (),
}  # fmt: skip
WORD = 2**63
# Letters of a text that a refusal repeats, and what JSON calls what has a length.
SHOWN = 40
KINDS = {str: "a text", list: "a list", dict: "an object"}


class Fields:
    """One JSON object, read field by field; `end` refuses what nobody read."""

    def __init__(self, body: bytes) -> None:
        try:
            found = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is not valid JSON: {error}"[:300]) from None
        if not isinstance(found, dict):
            raise Refused(400, "the body is not a JSON object")
        # null says that nothing is said.
        self._left = {name: value for name, value in found.items() if value is not None}
        self._known: set[str] = set(WITHOUT_EFFECT)

    def take(self, name: str, default: Any = None) -> Any:
        """The value, whatever it is."""
        self._known.add(name)
        return self._left.pop(name, default)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        found = self.take(name, default)
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise wrong(name, "a number", found)
        if not low <= found <= high:
            raise wrong(name, f"from {low:g} to {high:g}", found)
        return float(found)

    def whole(self, name: str, default: int | None, low: int, high: int) -> int | None:
        found = self.take(name, default)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int):
            raise wrong(name, "a whole number", found)
        if not low <= found <= high:
            open = low > -WORD and high >= WORD - 1
            raise wrong(name, f"at least {low:,}" if open else f"from {low:,} to {high:,}", found)
        return found

    def flag(self, name: str, default: bool = False) -> bool:
        found = self.take(name, default)
        if not isinstance(found, bool):
            raise wrong(name, "true or false", found)
        return found

    def text(self, name: str, default: str = "") -> str:
        return valid_text(self.take(name, default), name)

    def end(self) -> None:
        """Raises Refused where something is left that has a meaning nobody took."""
        known = set(self._known)
        for name, values in NEUTRAL.items():
            found = self.take(name)
            if found is not None and found not in values:
                raise Refused(400, f"{name} is not covered by this server", param=name)
        for name in self._left:
            if name not in WITHOUT_EFFECT:
                raise Refused(400, f"there is no field {name[:80]!r} here ("
                              f"{nearest(name[:80], known)})", param=name[:80])  # fmt: skip


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def wrong(name: str, what: str, found: Any) -> Refused:
    """The refusal of a value, which is shown in JSON's words; a long one only by its length."""
    shown = found
    if isinstance(found, str) and len(found) <= SHOWN:
        shown = f"the text {found!r}"
    elif hasattr(found, "__len__"):
        shown = f"{KINDS[type(found)]} of {len(found):,}"
    elif found is None or isinstance(found, bool):
        shown = json.dumps(found)
    elif isinstance(found, int) and abs(found) > WORD:
        shown = "a larger one"
    return Refused(400, f"{name} is {what}, not {shown}", param=name)


def valid_text(found: Any, name: str) -> str:
    """A text that can be written as UTF-8."""
    if not isinstance(found, str):
        raise wrong(name, "a text", found)
    try:
        found.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused(400, f"{name} is no valid text: {error.reason}", param=name) from None
    return found
