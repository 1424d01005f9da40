"""Nothing goes over the network: a build runs where no socket can reach anything."""

import shutil
import subprocess
import sys

import pytest

from tilth.testing.mixed import SMALL_PLAN

PROGRAM = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("a socket was opened")
socket.socket.connect = refuse
socket.socket.sendto = refuse
socket.getaddrinfo = refuse
from tilth.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def test_a_build_opens_no_connection(mixed, tmp_path):
    settings = [part for setting in SMALL_PLAN for part in ("--set", setting)]
    words = ["build", str(mixed), "-o", str(tmp_path / "run"), "-q", "--workers", "1", *settings]
    command = [sys.executable, "-c", PROGRAM, *words]
    if shutil.which("unshare"):
        # A network namespace of its own where the system allows it: nothing is there to reach.
        probe = subprocess.run(["unshare", "-rn", "true"], capture_output=True)
        if probe.returncode == 0:
            command = ["unshare", "-rn", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_guard_of_this_test_bites():
    program = PROGRAM.split("from tilth")[0] + "\nsocket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "a socket was opened" in done.stderr
    with pytest.raises(OSError):
        import socket

        socket.create_connection(("127.0.0.1", 1), timeout=1)
