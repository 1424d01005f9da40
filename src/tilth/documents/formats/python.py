"""A Python module: its source, then the docstring of each public object, found by `ast`.

The module is parsed, never imported. An object is public where its own name, and that of the class
around it, begin with no underscore; the module's name may, since packages often export from such
modules. What stands inside functions is not looked at.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from tilth.documents.formats.common import Piece, read_all
from tilth.documents.formats.text import plain

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

# A docstring shorter than this says little more than the name does.
SHORTEST = 40

_COOKIE = re.compile(rb"^(?:[^\n]*\n)?[ \t\f]*#.*?coding[:=]")
_Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def read(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """Position 0 is the module as code; from 1 on docstrings, in the order of the source."""
    data = read_all(unit, stream)
    text, metadata = plain(data, _declared_encoding(data))
    yield Piece(data, text, {**metadata, "language_of_code": "python"}, format="code")
    if '"""' not in text and "'''" not in text:
        return
    module = _module_name(unit.source)
    for position, (name, kind, signature, line, docstring) in enumerate(
        public_docstrings(text, module), start=1
    ):
        found = {"name": name, "kind": kind, "line": line}
        if signature:
            found["signature"] = signature
        raw = docstring.encode("utf-8", "surrogatepass")
        yield Piece(raw, docstring, found, position, "docstring")


def public_docstrings(source: str, module: str) -> Iterator[tuple[str, str, str, int, str]]:
    """(qualified name, kind, signature, line, docstring) of what is public; nothing if it does
    not parse."""
    with warnings.catch_warnings():
        # Odd escapes in other people's strings are not ours to report.
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
    docstring = ast.get_docstring(tree) or ""
    if len(docstring) >= SHORTEST:
        yield module, "module", "", 1, docstring
    yield from _members(tree.body, module, "function")


def _members(
    body: list[ast.stmt], parent: str, function: str
) -> Iterator[tuple[str, str, str, int, str]]:
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            branches = [*node.body, *node.orelse]
            for handler in getattr(node, "handlers", ()):
                branches += handler.body
            yield from _members(branches, parent, function)
        if not isinstance(node, _Defined) or node.name.startswith("_"):
            continue
        name = f"{parent}.{node.name}"
        docstring = ast.get_docstring(node) or ""
        is_class = isinstance(node, ast.ClassDef)
        if len(docstring) >= SHORTEST:
            kind = "class" if is_class else function
            yield name, kind, _signature(node), node.lineno, docstring
        if is_class:
            yield from _members(node.body, name, "method")


def _signature(node: _Defined) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{start} {node.name}({ast.unparse(node.args)}){returns}"


def _declared_encoding(data: bytes) -> str | None:
    """The encoding that a comment in the first two lines names (PEP 263)."""
    if not _COOKIE.match(data[:1000]):
        return None
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError:
        return None


def _module_name(source: str) -> str:
    """The dotted name of the module with this source, as it is imported."""
    parts = source.removesuffix(".py").removeprefix("stdlib/").split("/")
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)
