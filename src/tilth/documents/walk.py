"""Which files there are: folders, files and globs to (path, source), in an order of their own.

A folder's files are called FOLDER/path/below, a file given by itself has its name, what a glob
finds is called after the glob's first part without wildcards. Where two inputs would have the same
name, both get as many of their parent folders in front as it takes; the order in which they are
given does not matter. A file that two inputs reach is read once.

Hidden files and folders (a dot in front) below an input are skipped and counted, one Problem an
input; to read one, name it. Symbolic links below an input are never followed, so that no loop and
no way out of the input exists: each is listed.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tilth.documents.document import Problem
from tilth.errors import UsageError, nearest

SHOWN_HIDDEN = 3


# A folder with this file is the result of a build; it may lie among the documents.
RUN_FOLDER = "plan.resolved.toml"


@dataclass(frozen=True)
class Found:
    """A regular file, and what it is called."""

    path: str
    source: str


@dataclass
class _Root:
    path: str
    patterns: list[str] | None = field(default_factory=list)  # None: everything
    name: str = ""


def find(
    paths: Sequence[str | Path], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[list[Found], list[Problem]]:
    """All files below `paths`, by source. Raises UsageError where one of the paths does not exist.

    `include` and `exclude` are globs below each input: `*.txt` at any depth, `letters/*.txt` from
    the input on, `**/` any folders, `drafts/` a whole folder.
    """
    roots = _name(_roots(paths))
    found: dict[str, Found] = {}
    problems: dict[str, Problem] = {}
    wanted, unwanted = matcher(include), matcher(exclude)
    for root in roots:
        own = None if root.patterns is None else matcher(root.patterns)

        def takes(relative: str, own: Callable[[str], bool] | None = own) -> bool:
            return (own is None or own(relative)) and (not include or wanted(relative))

        before = len(found)
        for path, source, problem in _walk(root, takes, unwanted):
            if problem is not None:
                problems.setdefault(path, problem)
            else:
                found.setdefault(path, Found(path, source))
        if root.patterns is not None and len(found) == before:
            fits = ", ".join(pattern.lstrip("/") for pattern in root.patterns)
            raise UsageError(f"no file fits {fits}", where=root.name)
    return (
        sorted(found.values(), key=lambda entry: entry.source),
        sorted(problems.values(), key=lambda problem: problem.source),
    )


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a relative path, or a folder around it, fits one of the globs."""
    expressions = [re.compile(_expression(pattern), re.DOTALL) for pattern in patterns]

    def matches(relative: str) -> bool:
        return any(expression.fullmatch(relative) for expression in expressions)

    return matches


def _expression(pattern: str) -> str:
    anchored = "/" in pattern.rstrip("/")
    result = "" if anchored else "(?:.*/)?"
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^]]+\]|.", pattern.strip("/"), re.DOTALL):
        if token == "**/":
            result += "(?:.*/)?"
        elif token == "**":
            result += ".*"
        elif token in "*?":
            result += "[^/]*" if token == "*" else "[^/]"
        elif len(token) > 1:
            result += token.replace("\\", "\\\\").replace("[!", "[^")
        else:
            result += re.escape(token)
    # What lies below a folder that fits, fits.
    return result + ("/.*" if pattern.endswith("/") else "(?:/.*)?")


def check(paths: Sequence[str | Path]) -> None:
    """Raise UsageError where one of the paths does not exist; nothing is read yet."""
    _roots(paths)


def _roots(paths: Sequence[str | Path]) -> list[_Root]:
    roots: dict[str, _Root] = {}
    for given in paths:
        path, pattern = os.path.abspath(given), None
        if not os.path.lexists(path):
            path, pattern = _split(path, str(given))
        root = roots.setdefault(path, _Root(path))
        if pattern is None:
            root.patterns = None
        elif root.patterns is not None:
            root.patterns.append(pattern)
    return [roots[path] for path in sorted(roots)]


def _split(path: str, given: str) -> tuple[str, str]:
    """A glob's folders that exist, and the rest, anchored there."""
    parts = path.split("/")
    first = 1
    while os.path.isdir("/".join(parts[: first + 1])):
        first += 1
    folder = "/".join(parts[:first]) or "/"
    if not glob.has_magic(parts[first]):
        hint = nearest(parts[first], os.listdir(folder)) if os.access(folder, os.R_OK) else ""
        hint = hint if hint.startswith("did you mean") else ""
        raise UsageError("no such file or folder", where=given, hint=hint)
    return folder, "/" + "/".join(parts[first:])


def _name(roots: list[_Root]) -> list[_Root]:
    """Give each root the shortest end of its path that no other input has.

    An input inside another one is called as it is called there.
    """
    given = {root.path for root in roots}
    base = {path: next((p for p in _ways_to(path) if p in given), path) for path in given}
    parts = {path: path.strip("/").split("/") for path in given if base[path] == path}
    length = dict.fromkeys(parts, 1)
    while True:
        names = {path: tuple(parts[path][-length[path] :]) for path in parts}
        owners: dict[tuple[str, ...], list[str]] = {}
        for path, name in names.items():
            owners.setdefault(name, []).append(path)
        clashing = {path for paths in owners.values() if len(paths) > 1 for path in paths}
        for path, name in names.items():
            for size in range(1, len(name)):
                if name[:size] in owners:
                    clashing.update((path, *owners[name[:size]]))
        growing = [path for path in clashing if length[path] < len(parts[path])]
        if not growing:
            break
        for path in growing:
            length[path] += 1
    for root in roots:
        outer = base[root.path]
        below = root.path[len(outer.rstrip("/")) + 1 :]
        root.name = printable("/".join([*names[outer], *([below] if below else [])])) or "files"
    # Outer inputs first: what they skip as hidden, an inner input may still name.
    return sorted(roots, key=lambda root: (root.path.count("/"), root.path))


def _ways_to(path: str) -> list[str]:
    """The folders around a path, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:size]) or "/" for size in range(1, len(parts))]


def printable(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _walk(
    root: _Root, takes: Callable[[str], bool], unwanted: Callable[[str], bool]
) -> Iterator[tuple[str, str, Problem | None]]:
    """(path, source, None or why it is not read) of all below a root, in any order."""
    hidden: list[str] = []
    waiting = [""]
    while waiting:
        relative = waiting.pop()
        path = f"{root.path.rstrip('/')}/{relative}" if relative else root.path
        source = f"{root.name}/{printable(relative)}" if relative else root.name
        name = relative or os.path.basename(path)
        try:
            # An input may itself be a link: it was named.
            mode = (os.lstat(path) if relative else os.stat(path)).st_mode
            if stat.S_ISDIR(mode):
                if relative and unwanted(relative):
                    continue
                entries = os.listdir(path)
                if RUN_FOLDER in entries:
                    detail = "what tilth build made is not read as documents"
                    yield path, source, Problem(source, "run folder", detail)
                    continue
                for entry in entries:
                    below = f"{relative}/{entry}" if relative else entry
                    (hidden if entry.startswith(".") else waiting).append(below)
                continue
        except OSError as error:
            yield path, source, Problem(source, "unreadable", error.strerror or "")
            continue
        if unwanted(name) or not takes(name):
            continue
        if stat.S_ISREG(mode):
            yield path, source, None
        elif stat.S_ISLNK(mode):
            detail = "symbolic links are not followed; give what it points to as an input"
            yield path, source, Problem(source, "link", detail)
        else:
            yield path, source, Problem(source, "special file", "neither a file nor a folder")
    if hidden:
        hidden.sort()
        detail = ", ".join(printable(name) for name in hidden[:SHOWN_HIDDEN])
        if len(hidden) > SHOWN_HIDDEN:
            detail += f" and {len(hidden) - SHOWN_HIDDEN} more"
        yield root.path, root.name, Problem(root.name, "hidden", detail)
