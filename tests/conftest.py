"""For all tests: few threads, a home of their own, and the time of each group at the end."""

import os
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ.setdefault("MPLBACKEND", "agg")
# No test writes to the library of papers of whoever runs it.
_data = tempfile.TemporaryDirectory(prefix="tilth-tests-")
os.environ["XDG_DATA_HOME"] = _data.name
os.environ.pop("TILTH_LIBRARY", None)

ROOT = Path(__file__).parent
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
def built(mixed, small_plan, tmp_path_factory):
    """One small build, shared by the tests that only look at it."""
    from tilth.build.run import build

    return build(mixed, tmp_path_factory.mktemp("built") / "run", plan=small_plan)


def pytest_configure(config):
    from hypothesis import settings

    # New examples are searched for at every desk; a submission is judged on the same ones twice.
    settings.register_profile("ci", derandomize=True)
    if os.environ.get("CI"):
        settings.load_profile("ci")
    config.addinivalue_line("markers", "soak: hours; only with `make soak`")


def pytest_collection_modifyitems(config, items):
    if config.getoption("-m") != "soak":
        skip = pytest.mark.skip(reason="soak: type make soak")
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(skip)


def pytest_runtest_logreport(report):
    group = Path(report.fspath).parts
    name = group[group.index("tests") + 1] if "tests" in group else group[0]
    _seconds[name] += report.duration


def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("seconds by group")
    for name, seconds in sorted(_seconds.items(), key=lambda entry: -entry[1]):
        terminalreporter.write_line(f"{seconds:8.1f}  {name}")
    terminalreporter.write_line(f"{sum(_seconds.values()):8.1f}  in all")
