"""The same plan gives the same bytes: workers, order of files and place change nothing, nor whether
the command or the function was called."""

import shutil
import socket

from tilth.build.run import build
from tilth.testing.faults import tree


def test_workers_place_and_order_of_files_change_no_byte(
    built, mixed, small_plan, tmp_path, monkeypatch
):
    moved = tmp_path / "elsewhere" / "documents"
    moved.mkdir(parents=True)
    for path in sorted(mixed.iterdir(), reverse=True):
        shutil.copy(path, moved / path.name)

    def refuse(*_):
        raise AssertionError("a socket was opened")

    # What workers do, all in this process now, asks for no connection either.
    monkeypatch.setattr(socket.socket, "connect", refuse)
    again = build(moved, tmp_path / "again", plan=small_plan, workers=1)
    assert tree(again.folder) == tree(built.folder)
