"""Proof by attempts, before anything else is run, that generated code cannot get out.

Code inside tries what it must not be able to do, against things that are really there: a listening
socket, a file that anybody may read, this process. Run once in each process; what fails is named.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import tempfile
from pathlib import Path

from tilth.sandbox.bubblewrap import SandboxError, places
from tilth.sandbox.generated import Call, Sandbox, _Cell

HINT = "generated code is not run without it; see docs/sandbox.md"

# Each attempt returns normally where it got through, which is what must not happen.
ATTEMPTS = """
import ctypes, json, os, socket, sys
given = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)

def refused(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(1)
        one.connect(address)

def interfaces():
    if [name for _, name in socket.if_nameindex()] == ["lo"]:
        raise OSError("only its own loopback")

def write(path):
    with open(path, "x") as file:
        file.write("x")

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

attempts = {
    "reach a port of this machine": lambda: connect(socket.AF_INET, ("127.0.0.1", given["port"])),
    "reach an abstract socket": lambda: connect(socket.AF_UNIX, chr(0) + given["name"]),
    "see a network interface": interfaces,
    "signal this process": lambda: os.kill(given["process"], 0),
    "become root": lambda: os.setuid(0),
    "mount": lambda: refused(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "make a user namespace": lambda: refused(libc.unshare(0x10000000)),
    "trace its supervisor": lambda: refused(libc.ptrace(16, os.getppid(), 0, 0)),
    "start a process": fork,
    "take more memory": lambda: bytearray(1 << 30),
}
for path in given["hidden"]:
    attempts["read " + path] = lambda path=path: os.stat(path)
for folder in given["folders"]:
    attempts["write to " + folder] = lambda folder=folder: write(folder + "/tilth-attempt")
through = []
for name, attempt in attempts.items():
    try:
        attempt()
        through.append(name)
    except (OSError, MemoryError):
        pass
write("/tmp/private")
print(json.dumps({"tried": len(attempts), "through": through}))
"""


def require_sandbox() -> None:
    """Raises SandboxError, with the reason and what to do, unless generated code can be run."""
    problem = _tested(os.getpid())
    if problem is not None:
        raise problem


def sandbox_works() -> bool:
    """Whether generated code can be run on this machine."""
    return _tested(os.getpid()) is None


@functools.lru_cache(maxsize=2)
def _tested(process: int) -> SandboxError | None:
    try:
        through = attempt_all()
    except SandboxError as error:
        return error
    if through:
        return SandboxError(f"the sandbox leaks: code inside can {'; '.join(through)}", hint=HINT)
    return None


def attempt_all() -> list[str]:
    """Try everything; what got through. Raises SandboxError where nothing can be started."""
    name = f"tilth-{os.getpid()}-{os.urandom(4).hex()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
        tempfile.NamedTemporaryFile() as secret,
    ):
        local.bind("\0" + name)
        local.listen()
        given = {
            "port": server.getsockname()[1],
            "name": name,
            "process": os.getpid(),
            "hidden": [secret.name, __file__, "/etc/passwd", "/etc/shadow", "/proc/self", "/sys",
                       *_files_of_user()],
            "folders": ["/", "/dev", "/dev/shm", "/usr/lib", os.path.dirname(os.__file__)],
        }  # fmt: skip
        cell = _Cell(Sandbox(seconds=20.0, memory=512 << 20))
        try:
            outcome = cell.run(Call(ATTEMPTS, json.dumps(given)))
            through = _owned_by_root(cell.host_process)
        finally:
            cell.close()
        if outcome.status != "ok":
            detail = f"{outcome.status} {outcome.error} {outcome.stderr[-200:]}".strip()
            raise SandboxError(f"the self-test of the sandbox ended: {detail}", hint=HINT)
        through += json.loads(outcome.stdout)["through"]
        if Path("/tmp/private").exists():
            through.append("write to /tmp of the host")
        return through


def _files_of_user() -> list[str]:
    """Some of what lies at home and where the user stands, the Python installation left out."""
    seen, found = places(), []
    for folder in (Path.home(), Path.cwd()):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        paths = [str(folder / name) for name in names]
        found += [path for path in paths if not any(f"{place}/".startswith(f"{path}/")
                  or f"{path}/".startswith(f"{place}/") for place in seen)][:20]  # fmt: skip
    # What lies below the root or in /tmp under a name that exists inside would prove nothing.
    inside = ("/dev", "/tmp", "/lib", "/lib64", "/usr")
    return [path for path in found if path not in inside]


def _owned_by_root(process: int) -> list[str]:
    """Whether what was started runs as root, seen from outside."""
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    users = next(line.split()[1:] for line in lines if line.startswith("Uid:"))
    return ["run as root"] if "0" in users else []
