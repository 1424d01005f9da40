"""Where tilth keeps things between runs, and where it looks for named data sets."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$TILTH_HOME`, else `$XDG_CACHE_HOME/tilth`, else `~/.cache/tilth`. Safe to delete."""
    if home := os.environ.get("TILTH_HOME"):
        return Path(home)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tilth"


def data_folders() -> list[Path]:
    """Folders that may hold named data sets: `$TILTH_DATA`, a checkout's neighbour, the cache."""
    folders = []
    if given := os.environ.get("TILTH_DATA"):
        folders.append(Path(given))
    folders.append(Path.cwd().parent / "shared" / "data")
    folders.append(cache_folder() / "data")
    return [folder for folder in folders if folder.is_dir()]
