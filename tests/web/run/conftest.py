"""One built run and one that means harm, each with a server, for all tests of a run's pages."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import run_site


@pytest.fixture(scope="session")
def pages(built, tmp_path_factory):
    """The pages of the small build all groups share, with its model served."""
    from tilth.serving.engine import Engine
    from tilth.serving.text_model import TextModel
    from tilth.web.run import RunPages

    text = TextModel("small", built.folder / "model", Engine(built.folder / "model"))
    yield RunPages(built, text=text)
    text.stop()


@pytest.fixture(scope="session")
def served(pages):
    with run_site.serving_run(pages) as address:
        yield address


@pytest.fixture(scope="session")
def harm(tmp_path_factory):
    """The pages of a run of hostile documents, without model and dense index."""
    from tilth.web.run import RunPages

    folder = tmp_path_factory.mktemp("harm")
    pages = RunPages(run_site.harmful_run(folder))
    shutil.rmtree(folder / "in")
    return pages


@pytest.fixture(scope="session")
def harmful(harm):
    with run_site.serving_run(harm) as address:
        yield address


@pytest.fixture
def unlimited(pages, harm, monkeypatch):
    """Limits so high that tests do not meet them."""
    from tilth.web.limiter import Limiter

    for name in ("asks", "generates", "moves"):
        for each in (pages, harm):
            monkeypatch.setattr(each, name, Limiter(each=(10**6, 1), everyone=(10**6, 1)))
