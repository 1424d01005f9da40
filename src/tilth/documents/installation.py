"""The Python installation as documents: what every machine has, offline.

The standard library without its tests, then the packages that tilth needs, in alphabetical order,
whole as long as they fit into `limit`; of what is left a share of files by digest, up to a tenth
of `limit` more. Documents are modules, docstrings of public objects, READMEs and other texts, the
packages' metadata and licences. All depends on the versions installed: the manifest names them.
"""

from __future__ import annotations

import os
import platform
import re
import stat
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from tilth.documents.document import Problem
from tilth.documents.inputs import Unit
from tilth.errors import DataError
from tilth.store.digest import digest, digest_value, sha256_file
from tilth.types import Progress, silent

LIMIT = 40_000_000

# Folders of the standard library: its tests, and what is not part of it.
NOT_STANDARD = frozenset(
    "test tests idle_test site-packages dist-packages __pycache__ lib-dynload".split()
)
_FORMATS = {".py": "python", ".md": "markdown", ".rst": "rst"}
# A .txt may hold numbers for a test; these names hold text, with or without an extension.
_TEXT = re.compile(r"(readme|licen[cs]e|copying|notice|authors|copyright|credits|news|history).*",
                   re.IGNORECASE)  # fmt: skip


@dataclass(frozen=True)
class _File:
    path: str
    source: str
    format: str
    group: str
    size: int


def plan_installation(
    limit: int = LIMIT, *, progress: Progress = silent
) -> tuple[list[Unit], list[Problem], dict[str, Any]]:
    """(units by source, problems, manifest). Raises DataError where tilth is not installed.

    The manifest is a JSON value: {"python": version, "packages": {name: version}, "bytes": sum,
    "files": [{"source", "bytes", "sha256"}], "digest": of the files}.
    """
    needed = needed_packages("tilth")
    if "tilth" not in needed:
        raise DataError(
            "tilth is not installed, so nothing says which packages it needs",
            hint="type: pip install -e .",
        )
    problems: list[Problem] = []
    whole: list[_File] = []
    rest: list[_File] = []
    size = 0
    for name in ["", *sorted(needed - {"tilth"})]:
        files = list(_package(name, problems) if name else _standard_library())
        bytes_of_package = sum(file.size for file in files)
        if rest or size + bytes_of_package > limit:
            rest += files
        else:
            whole += files
            size += bytes_of_package
    for file in sorted(rest, key=lambda file: digest(file.source)):
        if size + file.size > limit + limit // 10:
            break
        whole.append(file)
        size += file.size
    units = []
    files = sorted(whole, key=lambda file: file.source)
    for done, file in enumerate(files, start=1):
        try:
            sha256 = sha256_file(file.path)
        except OSError as error:
            problems.append(Problem(file.source, "unreadable", error.strerror or ""))
            continue
        units.append(
            Unit(
                file.path, file.source, file.size, sha256, file.format, 0, file.size, 0, file.group
            )
        )
        progress("list", done, len(files))
    listed = [{"source": u.source, "bytes": u.size, "sha256": u.sha256} for u in units]
    used = {unit.group for unit in units} & needed
    manifest = {
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in sorted(used)},
        "bytes": sum(unit.size for unit in units),
        "files": listed,
        "digest": digest_value(listed),
    }
    return units, sorted(problems, key=lambda problem: problem.source), manifest


def needed_packages(name: str) -> set[str]:
    """A package and all that it needs here, extras apart, by normalised name; empty if absent."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    extras: dict[str, set[str]] = {}
    waiting: list[tuple[str, set[str]]] = [(name, set())]
    while waiting:
        package, wanted = waiting.pop()
        key = str(canonicalize_name(package))
        if key in extras and wanted <= extras[key]:
            continue
        try:
            requirements = metadata.requires(key) or []
        except metadata.PackageNotFoundError:
            continue
        extras[key] = extras.get(key, set()) | wanted
        for text in requirements:
            requirement = Requirement(text)
            settings = [{"extra": extra} for extra in ("", *sorted(extras[key]))]
            marker = requirement.marker
            if marker is None or any(marker.evaluate(setting) for setting in settings):
                waiting.append((requirement.name, set(requirement.extras)))
    return set(extras)


def _standard_library() -> Iterator[_File]:
    root = sysconfig.get_path("stdlib")
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in NOT_STANDARD)
        for name in sorted(names):
            path = os.path.join(folder, name)
            below = os.path.relpath(path, root).replace(os.sep, "/")
            top = below.split("/")[0].removesuffix(".py")
            form = "text" if name.endswith(".txt") else _format(below)
            yield from _file(path, f"stdlib/{below}", form, f"stdlib/{top}")


def _package(name: str, problems: list[Problem]) -> Iterator[_File]:
    files = metadata.files(name)
    if files is None:
        problems.append(Problem(name, "unreadable", "the package keeps no list of its files"))
    for file in files or []:
        source = file.as_posix()
        outside = source.startswith("/") or ".." in source
        if not outside and (form := _format(source)) is not None:
            yield from _file(str(file.locate()), source, form, name)


def _file(path: str, source: str, form: str | None, group: str) -> Iterator[_File]:
    if form is not None:
        try:
            status = os.stat(path)
        except OSError:  # listed, and removed since
            return
        if stat.S_ISREG(status.st_mode) and status.st_size:
            yield _File(os.path.abspath(path), source, form, group, status.st_size)


def _format(source: str) -> str | None:
    name = source.rpartition("/")[2]
    if source.split("/", 1)[0].endswith((".dist-info", ".egg-info")):
        return "text" if name in ("METADATA", "PKG-INFO") or _TEXT.match(name) else None
    extension = os.path.splitext(name)[1]
    if extension in _FORMATS:
        return _FORMATS[extension]
    return "text" if extension in ("", ".txt") and _TEXT.match(name) else None
