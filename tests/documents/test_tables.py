"""CSV and TSV: a row, a document; dialects, quoted line ends, ragged rows, encodings, parts."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilth.documents.containers.csv_rows import dialect_of, header_of
from tilth.documents.inputs import plan


def texts(result):
    return [(d.text, {k: v for k, v in d.metadata.items() if k != "reader"})
            for d in result.documents]  # fmt: skip


def test_a_row_is_a_document(read):
    result = read({"a.csv": b'id,text,year\n1,"Plain, quoted",1999\n2,"two\nlines",\n'})
    assert result.problems == []
    assert texts(result) == [
        ("Plain, quoted", {"id": "1", "year": "1999"}),
        ("two\nlines", {"id": "2", "year": ""}),
    ]
    first, second = result.documents
    assert (first.position, second.position, first.format) == (0, 1, "record")
    assert first.group == "in/a.csv#0" and first.source == "in/a.csv"


def test_columns_follow_the_rules_of_records(read):
    data = b"title,content,html,metadata\nt,c,<p>h,m\n"
    assert texts(read({"a.csv": data})) == [
        ("c", {"title": "t", "html": "<p>h", "metadata": "m"}),
    ]
    (document,) = read({"a.csv": data}, text_column="title").documents
    assert document.text == "t"
    (document,) = read({"a.csv": b"id,html\n1,<p>a &amp; b\n"}).documents
    assert (document.text, document.format) == ("a & b", "html")
    grouped = read({"a.csv": b"text,who\na,x\nb,y\n"}, group_by="who").documents
    assert [d.group for d in grouped] == ["who=x", "who=y"]


@pytest.mark.parametrize(
    "data",
    [
        b"text;n\nx, y;1\n",
        b"text\tn\nx, y\t1\n",
        b"text|n\nx, y|1\n",
        b'text,n\r\n"x, y",1\r\n',
        b'text,n\r"x, y",1\r',
        b"\xef\xbb\xbftext;n\nx, y;1",
        "text;n\nx, y;1\n".encode("utf-16"),
        "text;n\nx, y;1\n".encode("utf-32"),
    ],
)
def test_dialects_are_found(read_one, data):
    document = read_one("a.csv", data)
    assert document.text == "x, y" and document.metadata["n"] == "1"


def test_backslashes_may_stand_before_quotes(read_one):
    data = b'text,n\n"say \\"hi\\", then go",1\n'
    assert read_one("a.csv", data).text == 'say "hi", then go'


def test_quotes_in_tab_separated_values_are_letters(read):
    result = read({"a.tsv": b'id\ttext\n1\t"open quote\n2\tclosed"\n'})
    assert [d.text for d in result.documents] == ['"open quote', 'closed"']
    assert [d.text for d in read({"a.tsv": b'id\ttext\n1\t"a\tb"\n'}).documents] == ["a\tb"]


def test_ragged_rows_are_read_where_their_text_is_sure_else_listed(read):
    data = b"n,text,m\n1,short\n2,long,,,\n3,too long,x,y\n4\n5,well,z\n"
    result = read({"a.csv": data})
    assert [(d.text, d.position) for d in result.documents] == [
        ("short", 0), ("long", 1), ("well", 4),
    ]  # fmt: skip
    assert [d.metadata.get("reader") for d in result.documents] == [
        {"cells": 2}, {"cells": 5}, None,
    ]  # fmt: skip
    assert [(p.reason, p.position) for p in result.problems] == [
        ("damaged", 2), ("no text column", 3),
    ]  # fmt: skip
    assert result.problems[0].detail == "row 3: 4 cells, and 3 columns have a name"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a,b\n1,2\n", "no text column"),
        (b"text,n\n", "empty"),
        (b"\n\n\n", "empty"),
        (b"text,n\nx\0y,1\n", "binary"),
        (b"a," * 20_000 + b"text\n", "damaged"),
    ],
)
def test_a_table_that_gives_nothing_is_listed_once(refuse_one, data, reason):
    assert refuse_one("a.csv", data).reason == reason


def test_the_encoding_is_found_row_by_row_and_damage_counted(read):
    data = b"text,n\n" + "caf\xe9,1\n".encode("cp1252") + "caf\xe9,2\n".encode()
    data += b"caf\xc3\xa9 \xff\xc3\xa9,3\n"
    result = read({"a.csv": data, "b.csv": "text\ncaf\xe9\n".encode("utf-16-le")[:0] or b"text\nx"})
    found = {d.metadata.get("n"): d for d in result.documents}
    assert found["1"].text == "caf\xe9" and found["1"].metadata["reader"] == {"encoding": "cp1252"}
    assert found["2"].text == "caf\xe9" and "reader" not in found["2"].metadata
    assert found["3"].text == "caf\xe9 \ufffd\xe9"
    assert found["3"].metadata["reader"] == {"damage": 1}


def test_columns_without_a_name_and_names_given_twice():
    assert header_of(["text", "", "text", "text_2", " n "]) == [
        "text", "column_2", "text_2", "text_2_2", "n",
    ]  # fmt: skip
    assert dialect_of(b"text\nno delimiter\n", "csv") == (",", '"', "")


def test_a_row_beyond_the_limit_costs_itself(read):
    data = b'text,n\nwell,1\n"' + b"long\n" * 500 + b'",2\nwell too,3\n'
    result = read({"a.csv": data}, max_line_bytes=1000)
    assert [d.text for d in result.documents] == ["well", "well too"]
    (problem,) = result.problems
    assert problem.reason == "too large" and "passed over" in problem.detail


CELLS = st.text(
    st.one_of(st.sampled_from(',;"\n\t \\|'), st.characters(codec="utf-8", exclude_categories="C")),
    max_size=12,
)
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12)


def written(rows, delimiter=","):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["text", "other"])
    writer.writerows([f"x{text}", other] for text, other in rows)
    return out.getvalue().encode("utf-8")


SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=60, **SLOW)
@given(rows=TABLES, delimiter=st.sampled_from(",;\t|"))
def test_what_a_writer_wrote_is_read(tmp_path, read_everything, rows, delimiter):
    path = tmp_path / "a.csv"
    path.write_bytes(written(rows, delimiter))
    if b'\\"' in path.read_bytes():
        return  # a backslash before a quote is taken for what it mostly is
    result = read_everything(*plan([path]))
    assert result.problems == []
    assert [(d.text, d.metadata["other"]) for d in result.documents] == [
        (f"x{text}", other) for text, other in rows
    ]


@settings(max_examples=40, **SLOW)
@given(rows=TABLES, part_bytes=st.integers(1, 120))
def test_parts_of_a_table_are_the_whole(tmp_path, read_everything, rows, part_bytes):
    path = tmp_path / "a.csv"
    path.write_bytes(written(rows))
    whole = read_everything(*plan([path]))
    parts = read_everything(*plan([path], part_bytes=part_bytes))
    assert parts.documents == whole.documents and parts.problems == whole.problems
    assert len(parts.units) == 1 or all(unit.size for unit in parts.units)
    if len(parts.units) > 1:
        header = path.read_bytes().index(b"\n") + 1
        assert parts.units[0].start == header
        assert all(a.stop == b.start for a, b in zip(parts.units, parts.units[1:]))
        assert parts.units[-1].stop == path.stat().st_size


def test_a_large_table_is_cut_and_a_packed_one_is_not(read):
    rows = [(f"text {number}\n{'long ' * 20}", str(number)) for number in range(300)]
    data = written(rows)
    plain = read({"a.csv": data}, part_bytes=5000)
    packed = read({"a.csv.gz": gzip.compress(data)}, include=["*.gz"], part_bytes=5000)
    assert len(plain.units) > 3 and len(packed.units) == 1
    assert [(d.text, d.position) for d in plain.documents] == [
        (d.text, d.position) for d in packed.documents
    ]
    assert json.dumps([list(unit.options) for unit in plain.units])
