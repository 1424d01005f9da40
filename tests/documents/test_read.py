"""Reading never fails for what is in a file, and every format keeps its contract."""

import errno
import gzip
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilth.documents import formats
from tilth.documents.document import Document, Problem
from tilth.documents.formats import text as text_reader
from tilth.documents.formats.languages import LANGUAGES
from tilth.documents.inputs import Unit, plan
from tilth.documents.read import read_unit
from tilth.errors import DataError, UsageError
from tilth.lookup import load


def test_every_format_of_the_tables_has_a_reader():
    for name in formats.FORMATS:
        assert callable(load("format", formats.FORMATS, name))
    assert set(formats.EXTENSIONS.values()) | formats.RECORDS <= set(formats.FORMATS)
    names = [*formats.EXTENSIONS, *LANGUAGES, *formats.UNREAD]
    assert len(set(names)) == len(names) and all(name == name.lower() for name in names)


def test_an_unknown_format_is_a_mistake_of_the_caller(tmp_path):
    unit = Unit(str(tmp_path), "a", 0, "", "markdwon", 0, 0, 0, "")
    with pytest.raises(UsageError, match="did you mean 'markdown'"):
        list(read_unit(unit))


def test_a_file_that_changed_is_refused(tmp_path):
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).write_bytes(b'{"text": "before"}\n')
    units, _ = plan([tmp_path / "a.txt", tmp_path / "b.jsonl"])
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).write_bytes(b'{"text": "after!"}\n')
    found = [entry for unit in units for entry in read_unit(unit)]
    assert [(p.source, p.reason) for p in found] == [
        ("a.txt", "unreadable"),
        ("b.jsonl", "unreadable"),
    ]
    (tmp_path / "a.txt").unlink()
    (problem,) = read_unit(units[0])
    assert problem.reason == "unreadable" and str(tmp_path) not in problem.detail


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("in {path}")])
def test_a_reader_that_fails_costs_one_unit(tmp_path, monkeypatch, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"text")
    (unit,), _ = plan([path])
    error.args = tuple(str(part).replace("{path}", str(path)) for part in error.args)

    def broken(unit, stream):
        raise error
        yield

    monkeypatch.setattr(text_reader, "read", broken)
    (problem,) = read_unit(unit)
    assert problem.reason == "damaged" and str(tmp_path) not in problem.detail


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, None])
def test_a_machine_that_fails_is_no_verdict_on_a_file(tmp_path, monkeypatch, number):
    (tmp_path / "a.txt").write_bytes(b"text")
    (unit,), _ = plan([tmp_path / "a.txt"])

    def fail(unit):
        raise OSError(number, os.strerror(number)) if number else MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("tilth.documents.read.sha256_of", fail)
        with pytest.raises(DataError, match=r"a\.txt: .*run the step again"):
            list(read_unit(unit))
    (document,) = read_unit(unit)
    assert document.text == "text"


NAMES = ["a.txt", "a.md", "a.rst", "a.html", "a.json", "a.jsonl", "a.parquet", "a.py", "a", "a.gz"]
SEEDS = [
    b"", b"{", b'{"text": "x"}\n', b"[1]", b"# t", b"<p>x<table><tr>", b"PAR1", b"\x1f\x8b\x08",
    b"\xff\xfe", b"\0", b"\xef\xbb\xbf", gzip.compress(b"abc"), b"PAR1" + b"\0" * 20 + b"PAR1",
    "\u2028\U0001f40c\u202e\ufffe".encode(), b"---\ntitle: x\n", b"\r", b"&#xD800;",
]  # fmt: skip


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(NAMES),
    data=st.lists(st.one_of(st.sampled_from(SEEDS), st.binary(max_size=30)), max_size=5).map(
        b"".join
    ),
)
def test_any_bytes_under_any_name_give_documents_or_problems(tmp_path, read_everything, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    result = read_everything(*plan([path]))
    assert result.documents or result.problems or not data.strip()
    assert all(isinstance(p, Problem) and p.reason for p in result.problems)
    again = read_everything(*plan([path]))
    assert again.documents == result.documents and again.problems == result.problems


@pytest.mark.parametrize("name", ["a.parquet", "a.json.gz", "a.html", "a.jsonl"])
def test_one_flipped_byte_is_survived(tmp_path, read_everything, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table({"text": ["some text", "more text"], "n": [1, 2]}), path)
        good = path.read_bytes()
    elif name.endswith("gz"):
        good = gzip.compress(b'[{"text": "some text"}, {"text": "more"}]')
    else:
        good = b'<html><p>{"text": "&amp; text"}</p>\n' if "html" in name else b'{"text": "abc"}\n'
    chance = random.Random(0)
    for _ in range(60):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(data))
        result = read_everything(*plan([path]))
        assert result.documents or result.problems


def test_reading_is_lazy(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "x"}\n' * 1000)
    (unit,), _ = plan([path])
    entries = read_unit(unit)
    assert isinstance(next(entries), Document)
    entries.close()
