"""Tasks of MBPP in two wordings: other data for `llm-decontaminator` to choose thresholds on.

The second edition of MBPP put some of its tasks into other words. Code is changed by code: other
names, another layout, no comments.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import random
from collections.abc import Iterable, Sequence
from typing import Any


def renamed(code: str, words: Sequence[str], rng: random.Random, note: str) -> str:
    """A module with other names of its own, another docstring in its last function, no comments."""
    tree = ast.parse(code)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {node.id for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}  # fmt: skip
    fresh = [word for word in words if word not in own and not hasattr(builtins, word)]
    names = dict(zip(sorted(own), rng.sample(fresh, min(len(own), len(fresh)))))
    last = None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            last = node if node in tree.body else last
            node.name = names.get(node.name, node.name)
        elif isinstance(node, ast.arg):
            node.arg = names.get(node.arg, node.arg)
        elif isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.keyword) and node.arg:
            node.arg = names.get(node.arg, node.arg)
    if last is None:
        raise ValueError("no function")
    if ast.get_docstring(last) is not None:
        last.body.pop(0)
    last.body.insert(0, ast.Expr(ast.Constant(note)))
    return ast.unparse(ast.fix_missing_locations(tree))


def renamed_pairs(tasks: list[Any], prompts: list[Any], rng: random.Random) -> tuple[Any, Any]:
    """MBPP with the wording of its second edition, and the first with other names."""
    words = sorted({word for row in tasks for word in _identifiers(row["code"])})
    tests, reworded = [], []
    for task, wording in _both(tasks, prompts):
        try:
            first, second = ast.parse(task["code"]), renamed(task["code"], words, rng, task["text"])
        except (SyntaxError, ValueError):
            continue
        (last,) = [node for node in first.body if isinstance(node, ast.FunctionDef)][-1:]
        last.body.insert(0, ast.Expr(ast.Constant(wording)))
        tests.append(ast.unparse(ast.fix_missing_locations(first)))
        reworded.append(second)
    return tests, reworded


def wording_pairs(tasks: list[Any], prompts: list[Any]) -> tuple[list[str], list[str]]:
    """Tasks of MBPP that its second edition put into other words."""
    pairs = [(wording, task["text"]) for task, wording in _both(tasks, prompts)]
    changed = [pair for pair in pairs if pair[0].strip() != pair[1].strip()]
    return [first for first, _ in changed], [second for _, second in changed]


def _both(tasks: list[Any], prompts: list[Any]) -> Iterable[tuple[Any, str]]:
    by_id = {str(task["task_id"]): task for task in tasks}
    for row in prompts:
        wording = row["prompt"].replace('"""', "'''").split("'''")[1].strip()
        if task := by_id.get(row["task_id"].rpartition("/")[2]):
            yield task, wording


def _identifiers(code: str) -> set[str]:
    found = set("".join(c if c.isalnum() or c == "_" else " " for c in code).split())
    return {one for one in found if one.isidentifier() and not keyword.iskeyword(one)}
