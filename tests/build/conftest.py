"""One small build, shared by the tests that only look at it."""

import pytest

from tilth.build.plan import Plan
from tilth.testing.mixed import SMALL_PLAN, write_mixed


@pytest.fixture(scope="session")
def small_plan():
    return Plan().with_settings(SMALL_PLAN)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed") / "documents"
    write_mixed(folder)
    return folder


@pytest.fixture(scope="session")
def built(mixed, small_plan, tmp_path_factory):
    from tilth.build.run import build

    return build(mixed, tmp_path_factory.mktemp("built") / "run", plan=small_plan)
