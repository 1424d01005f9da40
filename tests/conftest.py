"""For all tests: one thread, a home of their own, and the time of each group at the end."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest

# Models of tests are so small that a second thread is waited for longer than it works.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ.setdefault("MPLBACKEND", "agg")
# No test writes to the library of papers of whoever runs it.
_data = tempfile.TemporaryDirectory(prefix="tilth-tests-")
os.environ["XDG_DATA_HOME"] = _data.name
os.environ.pop("TILTH_LIBRARY", None)

ROOT = Path(__file__).parent
OFFLINE = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("a socket was opened")
socket.socket.connect = refuse
socket.socket.sendto = refuse
socket.getaddrinfo = refuse
"""
_seconds: dict[str, float] = defaultdict(float)


@pytest.fixture(scope="session")
def small_plan():
    from tilth.build.plan import Plan
    from tilth.testing.mixed import SMALL_PLAN

    return Plan().with_settings(SMALL_PLAN)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory):
    from tilth.testing.mixed import write_mixed

    folder = tmp_path_factory.mktemp("mixed") / "documents"
    write_mixed(folder)
    return folder


@pytest.fixture(scope="session")
def offline():
    """`offline(program, *words)`: what a program did in a process that can reach nothing; options
    are those of `subprocess.run`."""
    alone = []
    if shutil.which("unshare"):
        # A network namespace of its own where the system allows it: nothing is there to reach.
        probe = subprocess.run(["unshare", "-rn", "true"], capture_output=True)
        alone = ["unshare", "-rn"] if probe.returncode == 0 else []

    def run(program, *words, **options):
        command = [*alone, sys.executable, "-c", OFFLINE + program, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, **options)

    return run


@pytest.fixture(scope="session")
def built(mixed, offline, tmp_path_factory):
    """One small build, shared by the tests that only look at it. It is made by the command, with
    two workers, where nothing can be reached."""
    from tilth.build.run import Run
    from tilth.testing.mixed import SMALL_PLAN

    folder = tmp_path_factory.mktemp("built") / "run"
    program = "from tilth.cli.main import run\nsys.exit(run(sys.argv[1:]))"
    words = ["build", mixed, "-o", folder, "-q", "--workers", 2]
    done = offline(program, *words, *(part for one in SMALL_PLAN for part in ("--set", one)))
    assert done.returncode == 0, done.stderr[-2000:]
    return Run(folder)


def pytest_configure(config):
    from hypothesis import settings

    # New examples are searched for at every desk; a submission is judged on the same ones twice.
    settings.register_profile("ci", derandomize=True)
    if os.environ.get("CI"):
        settings.load_profile("ci")
    config.addinivalue_line("markers", "soak: hours; only with `make soak`")
    # (title, lines) that tests want printed at the end; a process of several sends its own.
    config.said = []
    if hasattr(config, "workeroutput"):
        config.workeroutput["said"] = config.said


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With several processes a folder is one process's, so that what it shares is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class Folders(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return nodeid.split("::")[0].rpartition("/")[0]

    return Folders(config, log)


def pytest_collection_modifyitems(config, items):
    if config.getoption("-m") != "soak":
        skip = pytest.mark.skip(reason="soak: type make soak")
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(skip)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    node.config.said += getattr(node, "workeroutput", {}).get("said", [])


def pytest_runtest_logreport(report):
    group = Path(report.fspath).parts
    name = group[group.index("tests") + 1] if "tests" in group else group[0]
    _seconds[name] += report.duration


def pytest_terminal_summary(terminalreporter, config):
    for title, lines in config.said:
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)
    terminalreporter.section("seconds by group")
    for name, seconds in sorted(_seconds.items(), key=lambda entry: -entry[1]):
        terminalreporter.write_line(f"{seconds:8.1f}  {name}")
    terminalreporter.write_line(f"{sum(_seconds.values()):8.1f}  in all")
