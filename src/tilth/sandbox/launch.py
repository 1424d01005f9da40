"""Start bubblewrap as nobody where root calls; run as a program of its own, never imported.

Arguments: one JSON object with `argv`, the command line, and `places`, host paths that occur in
it. A place that nobody cannot reach (an interpreter below root's home) is bound, in a mount
namespace of this process alone, below /mnt first. Then all groups and the user are given up for
good, and the command line is executed. Imports the standard library only.
"""

import ctypes
import json
import os
import stat
import sys

NOBODY = 65534
NEW_MOUNTS = 0x20000
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000
ELSEWHERE = "/mnt"


def main() -> None:
    arguments = json.loads(sys.argv[1])
    argv, places = arguments["argv"], arguments["places"]
    for place in places:
        if not readable(place):
            sys.exit(f"the user nobody cannot read {place}: chmod -R o+rX {place}")
    hidden = [place for place in places if not reachable(place)]
    if hidden:
        moved = dict(zip(hidden, bind_elsewhere(hidden)))
        # Each place follows its option: `--ro-bind PLACE TARGET`.
        for number, word in enumerate(argv):
            if word in moved and argv[number - 1] == "--ro-bind":
                argv[number] = moved[word]
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if os.getresuid() != (NOBODY,) * 3 or os.getresgid() != (NOBODY,) * 3 or os.getgroups():
        sys.exit("root's privileges could not be given up")
    os.execv(argv[0], argv)


def readable(place: str) -> bool:
    """Whether others may read a file, or list a folder and enter it."""
    mode = os.stat(place).st_mode
    return bool(mode & stat.S_IROTH) and bool(mode & stat.S_IXOTH or not stat.S_ISDIR(mode))


def reachable(place: str) -> bool:
    """Whether others may enter every folder above a path."""
    above = os.path.realpath(place)
    while above != "/":
        above = os.path.dirname(above)
        if not os.stat(above).st_mode & stat.S_IXOTH:
            return False
    return True


def bind_elsewhere(places: list[str]) -> list[str]:
    """Bind paths below /mnt, seen by this process and what it executes only."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result:
            sys.exit(
                f"the user nobody cannot read the Python installation at {', '.join(places)}, and "
                f"root may not {what} here: {os.strerror(ctypes.get_errno())}"
            )

    def mount(
        source: str, target: str, kind: str | None, flags: int, options: bytes | None = None
    ) -> None:
        texts = [text and text.encode() for text in (source, target, kind)]
        check(libc.mount(*texts, ctypes.c_ulong(flags), options), "mount it elsewhere")

    check(libc.unshare(NEW_MOUNTS), "make a mount namespace")
    mount("none", "/", None, RECURSIVE | PRIVATE)
    mount("tmpfs", ELSEWHERE, "tmpfs", 0, b"mode=755")
    targets = []
    for number, place in enumerate(places):
        target = f"{ELSEWHERE}/{number}"
        if os.path.isdir(place):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        mount(place, target, None, BIND | RECURSIVE)
        targets.append(target)
    return targets


if __name__ == "__main__":
    main()
