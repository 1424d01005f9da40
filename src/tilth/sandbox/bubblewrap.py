"""The command line of bubblewrap that runs generated code, and whether this machine has it.

Inside there is a read-only Python (interpreter, its library folder, the system's libraries), a
private /tmp and a bare /dev. There is no network, no process of the host, no /proc, no home, no
environment, no capability and no way to make a further user namespace.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tilth.errors import TilthError

# What older ones lack.
OPTIONS = ("--size", "--disable-userns", "--clearenv", "--unshare-all")
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
INSTALL = "type: apt install bubblewrap (0.8 or newer)"


class SandboxError(TilthError):
    """Generated code is not run here, and why. The machine is at fault, never the code."""


@functools.cache
def find_bubblewrap() -> str:
    """The program's path. Raises SandboxError, which says what to install."""
    if sys.platform != "linux":
        raise SandboxError("generated code runs on Linux only, in bubblewrap")
    path = shutil.which("bwrap")
    if path is None:
        raise SandboxError("generated code needs bubblewrap, which is not installed", hint=INSTALL)
    told = subprocess.run([path, "--help"], capture_output=True, text=True, check=False).stdout
    missing = [option for option in OPTIONS if option not in told]
    if missing:
        raise SandboxError(f"bubblewrap is too old: it has no {missing[0]}", where=path,
                           hint=INSTALL)  # fmt: skip
    return path


def places(folders: Sequence[str] = ()) -> dict[str, str]:
    """The host's files and folders that are seen inside, and where."""
    prefix = Path(sys.base_prefix)
    own = [interpreter(), str(prefix / "lib"), str(prefix / "lib64"), *LIBRARIES]
    found = {place: place for place in own if os.path.exists(place)}
    return found | {folder: f"/folders/{number}" for number, folder in enumerate(folders)}


def interpreter() -> str:
    """The interpreter behind a virtual environment."""
    return os.path.realpath(sys.executable)


def command_line(program: str, folders: Sequence[str], files_bytes: int) -> list[str]:
    """Bubblewrap running `program` (the text of a Python program); see the module."""
    line = [find_bubblewrap(), "--unshare-all", "--unshare-user", "--disable-userns",
            "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]  # fmt: skip
    seen = places(folders)
    own = ":".join(seen[folder] for folder in folders)
    # Strings hash alike in every run, so the order of a set is no chance.
    line += ["--setenv", "PYTHONHASHSEED", "0", "--setenv", "PYTHONPATH", own]
    for place, target in seen.items():
        line += ["--ro-bind", place, target]
    line += ["--dev", "/dev", "--size", str(files_bytes), "--perms", "0700", "--tmpfs", "/tmp"]
    line += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*line, interpreter(), "-P", "-s", "-S", "-B", "-X", "utf8", "-c", program]
