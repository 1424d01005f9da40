"""Arguments to try two functions on.

First examples, changes of examples, values of annotated types, or guesses; then changes of those
that both functions took.
"""

from __future__ import annotations

import ast
import random
import string
from collections.abc import Sequence
from typing import Any

MOST = 60
CHANGES = 8
SAMPLES = 24
# Without any hint: the types tried for each argument, first the same for all, then mixed.
GUESSES = ("int", "list[int]", "str", "list[str]", "float", "list[list[int]]",
           "list[tuple[int, int]]", "dict[str, int]")  # fmt: skip
EACH_GUESS, MIXED = 4, 150


def make_arguments(
    count: int,
    annotations: Sequence[Sequence[str]],
    examples: Sequence[tuple[Any, ...]],
    rng: random.Random,
) -> list[str]:
    """Tuples of `count` arguments as Python literals, all different.

    Examples with another number of arguments are left out. Types come from `annotations` of either
    function, else from the examples, else they are guessed.
    """
    fitting = [example for example in examples if len(example) == count]
    letters = _letters(fitting)
    made = [*fitting]
    for example in fitting[:10]:
        for _ in range(CHANGES):
            made.append(tuple(change(value, rng, letters) for value in example))
    types = [_type(position, annotations, fitting) for position in range(count)]
    if all(types):
        for _ in range(SAMPLES):
            made.append(tuple(sample(kind, rng, letters) for kind in types))
    elif not fitting:
        return _literals(_guessed(types, rng, letters))
    return _literals(made)[:MOST]


def more_arguments(taken: Sequence[str], rng: random.Random) -> list[str]:
    """Changes of literal arguments that both functions took; those themselves left out."""
    values = [ast.literal_eval(text) for text in taken]
    letters = _letters(values)
    made = [
        tuple(change(value, rng, letters) for value in rng.choice(values)) for _ in range(3 * MOST)
    ]
    return [text for text in _literals(made) if text not in set(taken)][:MOST]


def _literals(made: Sequence[tuple[Any, ...]]) -> list[str]:
    texts = dict.fromkeys(repr(arguments) for arguments in made)
    return [text for text in texts if _is_literal(text)]


def change(value: Any, rng: random.Random, letters: str) -> Any:
    """A value of the same shape, a little different or not at all."""
    if isinstance(value, bool):
        return rng.random() < 0.5
    if isinstance(value, int):
        near = (value + rng.randint(-2, 2), rng.randint(0, 2 * abs(value) + 3), value)
        return rng.choice(near) if value < 0 else abs(rng.choice(near))
    if isinstance(value, float):
        return round(value * rng.choice((1.0, 0.5, 2.0)) + rng.choice((0.0, 0.5, 1.0)), 3)
    if isinstance(value, str):
        return _changed_text(value, rng, letters)
    if isinstance(value, (list, tuple)):
        items = [change(item, rng, letters) if rng.random() < 0.5 else item for item in value]
        deed = rng.random()
        if items and deed < 0.2:
            items.pop(rng.randrange(len(items)))
        elif items and deed < 0.4:
            items.insert(rng.randrange(len(items) + 1), rng.choice(items))
        elif deed < 0.6:
            rng.shuffle(items)
        return type(value)(items)
    if isinstance(value, dict):
        kept = {key: change(item, rng, letters) for key, item in value.items()}
        if kept and rng.random() < 0.3:
            kept.pop(rng.choice(list(kept)))
        return kept
    return value


def sample(kind: str, rng: random.Random, letters: str) -> Any:
    """A value of a type such as `list[int]`; `int` where the type is none that is known."""
    name, inner = _parts(kind)
    size = rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 12))
    if name in ("list", "sequence", "iterable", "collection"):
        of = inner[0] if inner else rng.choice(("int", "int", "str"))
        return [sample(of, rng, letters) for _ in range(size)]
    if name == "tuple":
        if inner and inner[-1] != "...":
            return tuple(sample(of, rng, letters) for of in inner)
        return tuple(sample(inner[0] if inner else "int", rng, letters) for _ in range(size))
    if name in ("dict", "mapping"):
        key, item = inner if len(inner) == 2 else ("str", "int")
        keys = [_hashable(sample(key, rng, letters)) for _ in range(size)]
        return {one: sample(item, rng, letters) for one in keys}
    if name == "set":
        of = inner[0] if inner else "int"
        return {_hashable(sample(of, rng, letters)) for _ in range(size)}
    if name in ("optional", "union"):
        return sample(rng.choice(inner or ["int"]), rng, letters)
    if name == "str":
        return "".join(rng.choices(letters, k=size))
    if name == "float":
        return round(rng.uniform(-10, 20), rng.choice((0, 1, 2)))
    if name == "bool":
        return rng.random() < 0.5
    if name == "none":
        return None
    return rng.choice((rng.randint(0, 5), rng.randint(0, 30), rng.randint(-10, 200)))


def _hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple, set)):
        return tuple(map(_hashable, value))
    return str(value) if isinstance(value, dict) else value


def _changed_text(value: str, rng: random.Random, letters: str) -> str:
    items = list(value)
    for _ in range(rng.randint(1, 3)):
        deed = rng.random()
        place = rng.randrange(len(items) + 1)
        if deed < 0.35 and items:
            items[min(place, len(items) - 1)] = rng.choice(letters)
        elif deed < 0.6 and items:
            items.pop(min(place, len(items) - 1))
        elif deed < 0.85:
            items.insert(place, rng.choice(items or letters))
        elif " " in value:
            words = "".join(items).split(" ")
            rng.shuffle(words)
            items = list(" ".join(words))
    return "".join(items)


def _letters(examples: Sequence[tuple[Any, ...]]) -> str:
    """The characters of the examples' texts, so that a bracket is changed into a bracket."""
    found = sorted(set("".join(text for example in examples for text in _texts(example))))
    return "".join(found) if len(found) > 2 else "".join(found) + string.ascii_lowercase + " AEZ,.1"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple, set)):
        return [text for item in value for text in _texts(item)]
    return []


def _type(
    position: int, annotations: Sequence[Sequence[str]], examples: Sequence[tuple[Any, ...]]
) -> str:
    for given in annotations:
        if position < len(given) and _parts(given[position])[0] not in ("", "any", "object"):
            return given[position]
    kinds = {_shape(example[position]) for example in examples}
    return kinds.pop() if len(kinds) == 1 else ""


def _shape(value: Any) -> str:
    if isinstance(value, (list, tuple, set)):
        inner = {_shape(item) for item in value}
        return f"{type(value).__name__}[{inner.pop()}]" if len(inner) == 1 else ""
    return type(value).__name__ if isinstance(value, (bool, int, float, str)) else ""


def _guessed(types: Sequence[str], rng: random.Random, letters: str) -> list[tuple[Any, ...]]:
    made = []
    for guess in GUESSES:
        for _ in range(EACH_GUESS):
            made.append(tuple(sample(kind or guess, rng, letters) for kind in types))
    for _ in range(MIXED if len(types) > 1 else 0):
        made.append(tuple(sample(kind or rng.choice(GUESSES), rng, letters) for kind in types))
    return made


def _parts(kind: str) -> tuple[str, list[str]]:
    """`List[Tuple[int, str]]` as ("list", ["Tuple[int, str]"])."""
    try:
        node = ast.parse(kind, mode="eval").body
    except SyntaxError:
        return "", []
    if isinstance(node, ast.BinOp):
        return "union", [ast.unparse(node.left), ast.unparse(node.right)]
    inner: list[str] = []
    if isinstance(node, ast.Subscript):
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        inner, node = [ast.unparse(item) for item in items], node.value
    if isinstance(node, ast.Constant):
        return ("none", []) if node.value is None else _parts(str(node.value))
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.lower(), inner


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True
