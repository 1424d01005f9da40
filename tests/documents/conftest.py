"""Files in, documents and problems out."""

from types import SimpleNamespace

import pytest

from tilth.documents.document import Document, from_batch, to_batch
from tilth.documents.inputs import plan
from tilth.documents.read import read_unit


def read_everything(units, problems=()):
    """Documents and problems of the units; every document survives its Arrow row."""
    found = [entry for unit in units for entry in read_unit(unit)]
    documents = [entry for entry in found if isinstance(entry, Document)]
    assert [d.id for d in from_batch(to_batch(documents))] == [d.id for d in documents]
    assert len({d.id for d in documents}) == len(documents)
    assert not any(d.source[0] == "/" for d in documents)
    rest = [entry for entry in found if not isinstance(entry, Document)]
    return SimpleNamespace(documents=documents, problems=[*problems, *rest], units=list(units))


@pytest.fixture(name="read_everything")
def _read_everything():
    return read_everything


@pytest.fixture
def read(tmp_path):
    """`read({"name": bytes}, **options of plan)` below a folder `in`."""

    def call(files, **options):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return read_everything(*plan([folder], **options))

    return call


@pytest.fixture
def read_one(read):
    """The only document of one file."""

    def call(name, data, **options):
        result = read({name: data}, **options)
        assert result.problems == []
        (document,) = result.documents
        return document

    return call


@pytest.fixture
def refuse_one(read):
    """The only problem of one file without any document."""

    def call(name, data, **options):
        result = read({name: data}, **options)
        assert result.documents == []
        (problem,) = result.problems
        assert problem.source == f"in/{name}"
        return problem

    return call
