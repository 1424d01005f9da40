"""JSON Lines, JSON and Parquet: a record, a document, wherever the file was cut."""

import datetime
import decimal
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilth.documents import read as read_module
from tilth.documents.formats import records
from tilth.documents.formats.records import looks_like_html
from tilth.documents.inputs import plan


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_a_line_is_a_document(read):
    data = lines(
        {"text": "first", "id": 7, "title": "T", "score": 0.5, "ok": True, "none": None},
        {"content": "second\r\nline", "metadata": {"url": "u", "n": 2, "list": [1]}},
        {"body": "third", "tags": ["a"], "nested": {"a": 1}, "long": "x" * 10_001},
    )
    one, two, three = read({"a.jsonl": data}).documents
    assert (one.text, one.position, one.format) == ("first", 0, "record")
    assert one.metadata == {"id": 7, "title": "T", "score": 0.5, "ok": True}
    assert one.group == "in/a.jsonl#0"
    assert two.text == "second\nline"
    notes = {"left_out": ["list"], "line_ends": "crlf"}
    assert two.metadata == {"url": "u", "n": 2, "reader": notes}
    assert three.metadata == {"reader": {"left_out": ["long", "nested", "tags"]}}


def test_columns_and_the_readers_notes_do_not_meet(read):
    names = {"damage": "high", "left_out": 5, "line_ends": "?", "encoding": None}
    more = {"reader": "Ann", "reader_": 2, "tags": []}
    row = json.dumps({"text": "a\r\nb ?", **names, **more}).encode().replace(b"b ?", b"b \xff")
    page = json.dumps({"html": "<title>T</title>?", "title": "mine", "damage": []}).encode()
    result = read({"a.jsonl": row + b"\n" + page + b'\n{"text": "last"}'}, group_by="reader")
    assert result.problems == []
    one, two, three = result.documents
    assert one.metadata == {
        "damage": "high", "left_out": 5, "line_ends": "?", "reader_": "Ann", "reader__": 2,
        "reader": {"left_out": ["tags"], "line_ends": "crlf", "damage": 1},
    }  # fmt: skip
    assert (one.group, two.group) == ("reader=Ann", "in/a.jsonl#1")
    assert two.metadata == {"title": "mine", "reader": {"left_out": ["damage"], "title": "T"}}
    assert three.metadata == {}


def test_columns_of_parquet_and_the_readers_notes_do_not_meet(read_everything, tmp_path):
    columns = {
        "text": [b"a\xff", b"b"],
        "left_out": [1, 2],
        "damage": ["x", "y"],
        "list": [[1], []],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    result = read_everything(*plan([tmp_path / "a.parquet"]))
    assert result.problems == []
    assert [d.metadata for d in result.documents] == [
        {"left_out": 1, "damage": "x", "reader": {"damage": 1, "left_out": ["list"]}},
        {"left_out": 2, "damage": "y", "reader": {"left_out": ["list"]}},
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
@pytest.mark.parametrize("function", ["unify_line_ends", "_storable"])
def test_an_error_that_nobody_foresaw_costs_one_record(read, monkeypatch, name, function):
    module = read_module if function == "_storable" else records
    real = getattr(module, function)

    def fail(value):
        if value == "b" or value == {"n": 1}:
            raise KeyError("oops")
        return real(value)

    monkeypatch.setattr(module, function, fail)
    rows = [{"text": text, "n": number} for number, text in enumerate("abc")]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    data = {"a.jsonl": lines(*rows), "a.json": json.dumps(rows).encode()}.get(name, sink.getvalue())
    result = read({name: data})
    assert [d.text for d in result.documents] == ["a", "c"]
    (problem,) = result.problems
    assert (problem.reason, problem.position) == ("damaged", 1) and "oops" in problem.detail


def test_bad_lines_are_listed_with_their_number(read):
    data = b"\n".join(
        [
            b'\xef\xbb\xbf{"text": "good"}', b"", b"{not json", b"[1, 2]", b'{"other": 1}',
            b'{"text": 5}', b'{"text": "  "}', b'{"text": "' + b"x" * 300 + b'"}',
            b'{"text": "\xff bad byte"}', b'{"text": "\\ud800 lone", "k\\udc00": "\\udfff"}',
            b'{"text": "not numbers", "nan": NaN, "inf": -Infinity}', b'{"text": ' + b"[" * 100,
            b'{"n": ' + b"9" * 200 + b', "text": "last, no line end"}',
        ]
    )  # fmt: skip
    result = read({"a.jsonl": data}, max_line_bytes=250)
    assert [(p.position, p.reason) for p in result.problems] == [
        (2, "damaged"), (3, "damaged"), (4, "no text column"), (5, "no text column"),
        (6, "empty"), (7, "too large"), (11, "damaged"),
    ]  # fmt: skip
    assert result.problems[0].detail.startswith("line 3: ")
    assert "columns: other" in result.problems[2].detail
    assert [d.text for d in result.documents] == [
        "good", "\ufffd bad byte", "\ufffd lone", "not numbers", "last, no line end",
    ]  # fmt: skip
    assert [d.metadata.get("reader") for d in result.documents] == [
        None, {"damage": 1}, {"damage": 1}, None, None,
    ]  # fmt: skip
    assert result.documents[2].metadata["k\ufffd"] == "\ufffd"
    assert set(result.documents[3].metadata) == set()


def test_deep_json_is_refused(read):
    (problem,) = read({"a.jsonl": b'{"text":' + b"[" * 100_000 + b"\n"}).problems
    assert problem.reason == "damaged"
    deep = b'{"text": "t", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (problem,) = read({"a.jsonl": deep}).problems
    assert "nested too deeply" in problem.detail


def test_the_text_column_can_be_named(read):
    data = lines({"text": "no", "abstract": "yes"}, {"text": "no"})
    result = read({"a.jsonl": data}, text_column="abstract")
    assert [d.text for d in result.documents] == ["yes"]
    assert dict(result.documents[0].metadata) == {"text": "no"}
    assert "'abstract'" in result.problems[0].detail


def test_groups_can_come_from_a_column(read):
    data = lines({"text": "a", "author": "X"}, {"text": "b", "author": 3}, {"text": "c"})
    found = read({"a.jsonl": data, "b.txt": b"alone"}, group_by="author").documents
    assert [d.group for d in found] == ["author=X", "author=3", "in/a.jsonl#2", "in/b.txt"]


def test_html_in_a_record_goes_through_the_html_reader(read):
    page = "<!-- c -->\n<html><title>T</title><p>seen<script>no</script>"
    data = lines({"html": "<p>by its name", "id": 1}, {"text": page}, {"text": "a <b>fragment</b>"})
    one, two, three = read({"a.jsonl": data}).documents
    assert (one.text, one.format, dict(one.metadata)) == ("by its name", "html", {"id": 1})
    assert (two.text, two.format, dict(two.metadata)) == ("seen", "html", {"title": "T"})
    assert (three.text, three.format) == ("a <b>fragment</b>", "record")


def test_whether_it_looks_like_html_takes_no_time():
    assert looks_like_html("\ufeff <?xml version='1.0'?><!-- a --><!DOCTYPE  HTML>")
    assert not looks_like_html("<!---->" * 600) and not looks_like_html("<htmlish>")
    assert not looks_like_html("\n" * 4000) and not looks_like_html("<p>")


RECORDS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"text": st.text(max_size=30)}, optional={"n": st.integers()}).map(
            lambda record: json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")
        ),
        st.sampled_from([b"", b"  ", b"{", b'{"text": "' + b"y" * 70 + b'"}', b"\xff\xfe{}"]),
    ),
    max_size=12,
)


def outcome(result):
    return [(d.id, d.text, d.position, d.group) for d in result.documents], sorted(
        (p.position, p.reason, p.detail) for p in result.problems
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=RECORDS, part_bytes=st.integers(1, 120), end=st.booleans())
def test_parts_of_any_size_give_the_same_documents(
    read_everything, tmp_path, rows, part_bytes, end
):
    data = b"\n".join([b'{"text": "at least one"}', *rows]) + b"\n" * end
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    whole = read_everything(*plan([path], max_line_bytes=60))
    parts = read_everything(*plan([path], max_line_bytes=60, part_bytes=part_bytes))
    assert len(whole.units) == 1 and outcome(parts) == outcome(whole)
    # The parts cover the file, once, and all but the last are large enough.
    assert [u.start for u in parts.units[1:]] == [u.stop for u in parts.units[:-1]]
    assert (parts.units[0].start, parts.units[-1].stop) == (0, len(data))
    assert all(u.size >= part_bytes for u in parts.units[:-1])
    assert [u.part for u in parts.units] == list(range(len(parts.units)))


def test_lines_added_at_the_end_change_the_last_part_only(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(*({"text": f"line {number}"} for number in range(50))))
    before, _ = plan([path], part_bytes=200)
    path.write_bytes(path.read_bytes() + lines({"text": "more"}))
    after, _ = plan([path], part_bytes=200)
    assert len(before) == 5 and before[:-1] == after[: len(before) - 1]


def test_a_line_longer_than_the_buffer_is_not_torn(read):
    data = lines({"text": "x" * 3_000_000}, {"text": "after"})
    result = read({"a.jsonl": data}, part_bytes=1000)
    assert [len(d.text) for d in result.documents] == [3_000_000, 5]


def test_json_lists_and_objects(read):
    files = {
        "list.json": json.dumps([{"text": "a", "n": 1}, {"x": 1}, {"text": "\ud800"}]).encode(),
        "object.json": b'\xef\xbb\xbf{"content": "whole",\n "id": "k"}',
        "settings.json": b'{"width": 3}',
        "numbers.json": b"[1, 2, 3]",
        "broken.json": b'{"text": "a"',
        "lines.json": lines({"text": "l1"}, {"text": "l2"}),
    }
    result = read(files)
    found = {(d.source[3:], d.position): (d.text, d.format) for d in result.documents}
    assert found == {
        ("list.json", 0): ("a", "record"), ("list.json", 2): ("\ufffd", "record"),
        ("object.json", 0): ("whole", "record"),
        ("settings.json", 0): ('{"width": 3}', "code"), ("numbers.json", 0): ("[1, 2, 3]", "code"),
        ("lines.json", 0): ("l1", "record"), ("lines.json", 1): ("l2", "record"),
    }  # fmt: skip
    assert [(p.source, p.reason, p.position) for p in result.problems] == [
        ("in/broken.json", "damaged", 0),
        ("in/list.json", "no text column", 1),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "b.json", "c.jsonl.gz"])
def test_a_file_without_any_text_is_one_problem(refuse_one, name):
    rows = [{"question": f"q{number}", "answer": 1} for number in range(50)]
    data = json.dumps(rows).encode() if name == "b.json" else lines(*rows)
    problem = refuse_one(name, gzip.compress(data) if name.endswith("gz") else data)
    assert problem.reason == "no text column"
    assert "columns: answer, question; name one by text_column" in problem.detail
    assert "'theme'" in refuse_one(name, data, text_column="theme").detail


def table(count=20):
    return pa.table(
        {
            "id": [f"r{number}" for number in range(count)],
            "text": [f"text of {number}" if number != 3 else None for number in range(count)],
            "year": list(range(count)),
            "vector": [[1.0, 2.0]] * count,
        }
    )


def test_a_row_is_a_document(read_everything, tmp_path):
    pq.write_table(table(), tmp_path / "a.parquet", row_group_size=4)
    result = read_everything(*plan([tmp_path / "a.parquet"]))
    assert [d.position for d in result.documents] == [n for n in range(20) if n != 3]
    first = result.documents[0]
    assert (first.text, first.format, first.group) == ("text of 0", "record", "a.parquet#0")
    assert first.metadata == {"id": "r0", "year": 0, "reader": {"left_out": ["vector"]}}
    (problem,) = result.problems
    assert (problem.reason, problem.position) == ("no text column", 3)


@pytest.mark.parametrize("part_bytes", [1, 150, 400, 10**9])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_row_groups_give_the_same_documents(read_everything, tmp_path, rows, part_bytes):
    pq.write_table(table(), tmp_path / "a.parquet", row_group_size=rows)
    path = tmp_path / "a.parquet"
    whole = read_everything(*plan([path], part_bytes=10**9))
    parts = read_everything(*plan([path], part_bytes=part_bytes))
    assert len(whole.units) == 1 and outcome(parts) == outcome(whole)
    assert (len(parts.units) > 1) == (part_bytes < 10**9 and rows < 20)


def test_columns_of_any_type(read_everything, tmp_path):
    now = datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    columns = {
        "content": pa.array([b"caf\xe9 b\xc3\xbccher \xc3\xa4", b"two"], pa.binary()),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "day": [now.date(), None],
        "moment": pa.array([now, None], pa.timestamp("ns", "UTC")),
        "nanoseconds": pa.array([1, None], pa.timestamp("ns")),
        "price": [decimal.Decimal("1.50"), None],
        "ratio": [float("nan"), 0.5],
        "large": pa.array(["l", None], pa.large_string()),
        "view": pa.array(["v", None], pa.string_view()),
        "struct": [{"a": 1}, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    result = read_everything(*plan([tmp_path / "a.parquet"]))
    assert result.problems == []
    one, two = result.documents
    assert one.text == "caf\ufffd bücher ä"
    assert one.metadata == {
        "kind": "a", "day": "2020-01-02", "moment": "2020-01-02 03:04:05.000006000Z",
        "nanoseconds": "1970-01-01 00:00:00.000000001", "price": "1.50", "large": "l",
        "view": "v", "reader": {"damage": 1, "left_out": ["struct"]},
    }  # fmt: skip
    assert two.metadata == {"kind": "b", "ratio": 0.5, "reader": {"left_out": ["struct"]}}


def test_html_in_a_column(read_everything, tmp_path):
    rows = pa.table({"id": ["a"], "html": ["<title>T</title><p>x<p>y"]})
    pq.write_table(rows, tmp_path / "a.parquet")
    (document,) = read_everything(*plan([tmp_path / "a.parquet"])).documents
    assert (document.text, document.format) == ("x\n\ny", "html")
    assert document.metadata == {"id": "a", "title": "T"}


def test_bad_parquet_is_listed(read_everything, tmp_path):
    pq.write_table(table(), tmp_path / "good.parquet", row_group_size=5, compression="none")
    good = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "a-cut.parquet").write_bytes(good[: len(good) // 2])
    (tmp_path / "b-not.parquet").write_bytes(b"no parquet at all")
    pq.write_table(table().slice(0, 0), tmp_path / "c-no-row.parquet")
    pq.write_table(pa.table({"x": [1], "z": ["t"]}), tmp_path / "d-no-text.parquet")
    result = read_everything(*plan([tmp_path]))
    found = [(p.source.rpartition("/")[2], p.reason) for p in result.problems if p.position != 3]
    assert found == [
        ("a-cut.parquet", "damaged"),
        ("b-not.parquet", "damaged"),
        ("c-no-row.parquet", "empty"),
        ("d-no-text.parquet", "no text column"),
    ]
    assert "columns: x, z" in result.problems[3].detail
    assert len(result.documents) == 19


def test_a_damaged_row_group_costs_only_itself(read_everything, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path, row_group_size=5, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    second = pq.ParquetFile(path).metadata.row_group(1)
    start = second.column(1).data_page_offset
    data[start : start + second.column(1).total_compressed_size] = b"\xff" * (
        second.column(1).total_compressed_size
    )
    path.write_bytes(bytes(data))
    result = read_everything(*plan([path]))
    assert {d.position for d in result.documents} == {0, 1, 2, 4, *range(10, 20)}
    assert [(p.reason, p.position) for p in result.problems] == [
        ("no text column", 3),
        ("damaged", 5),
    ]


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf", b"\n\n", b"\xef\xbb\xbf \r\n"])
def test_a_file_without_a_record_is_listed(tmp_path, read_everything, data):
    (tmp_path / "a.jsonl").write_bytes(data)
    result = read_everything(*plan([tmp_path / "a.jsonl"]))
    assert not result.documents and [p.reason for p in result.problems] == ["empty"]
