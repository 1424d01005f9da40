"""Nothing goes over the network: a build runs where no socket can reach anything."""

import socket

import pytest

from tilth.store.manifest import verify


def test_a_build_opens_no_connection(built):
    # `built` is made by a process that `offline` has cut off; see tests/conftest.py.
    verify(built.folder)


def test_the_guard_of_this_test_bites(offline):
    for program in (
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.getaddrinfo('example.org', 80)",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    ):
        assert "a socket was opened" in offline(program).stderr
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", 1), timeout=1)
