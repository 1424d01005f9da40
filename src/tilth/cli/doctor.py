"""`tilth doctor`: what this installation has, what is missing, what to type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

PARTS = ("torch", "transformers", "tokenizers", "pyarrow", "duckdb", "numba", "lxml", "scipy")
PROGRAMS = {"bwrap": "apt-get install bubblewrap"}


def doctor(
    folder: Annotated[
        str, typer.Argument(help="A run or corpus folder: every file is read and verified.")
    ] = "",
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile ahead, so that no later run waits for it.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this installation and say what is missing.

    Examples:

        tilth doctor

        tilth doctor my-run

        tilth doctor --warm
    """
    import os
    import platform
    import shutil
    from importlib import metadata

    from tilth import __version__
    from tilth.cli.output import emit, info
    from tilth.cli.warm import warm as compile_ahead
    from tilth.store.cache import cache_folder, data_folders

    versions = {}
    for part in PARTS:
        try:
            versions[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            versions[part] = None
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: dict[str, Any] = {
        "tilth": __version__,
        "python": platform.python_version(),
        "cores": cores,
        "memory_bytes": memory,
        "parts": versions,
        "programs": {name: bool(shutil.which(name)) for name in PROGRAMS},
        "cache": str(cache_folder()),
        "data": [str(folder) for folder in data_folders()],
    }
    if folder:
        found["verified"] = _verify(Path(folder))
    if warm:
        found["compiled_seconds"] = dict(compile_ahead())
    if emit(found, json):
        return
    info(f"tilth {__version__}, Python {found['python']}, {cores} cores, {memory / 2**30:.0f} GiB")
    for part, version in versions.items():
        info(f"  {part} {version}" if version else f"  {part} is missing: pip install tilth")
    for name, there in found["programs"].items():
        info(f"  {name} {'is here' if there else 'is missing: ' + PROGRAMS[name]}")
    info(f"  cache {found['cache']}")
    for place in found["data"] or ["none; named data sets are looked for in $TILTH_DATA"]:
        info(f"  data {place}")
    for name, seconds in found.get("compiled_seconds", {}).items():
        info(f"  {name}: compiled in {seconds:.1f} s")
    if folder:
        info(f"  {folder}: {found['verified']:,} folders agree with their manifests")


def _verify(folder: Path) -> int:
    """Verify every manifest below a folder; how many. DamagedError at the first that fails."""
    from tilth.errors import DataError
    from tilth.store.manifest import NAME, verify

    found = sorted(folder.rglob(NAME))
    if not found:
        raise DataError("holds no finished result", where=str(folder))
    for path in found:
        verify(path.parent)
    return len(found)


command = doctor
