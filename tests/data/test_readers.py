"""Readers: column names, splits, labels, what is left out and counted, what is refused."""

import csv
import gzip
import json
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tilth.data.readers import read_beir, read_classify, read_qrels, read_rank
from tilth.errors import DataError

ROWS = [{"body": "one, two\nthree", "topic": "a"}, {"body": 'say "x"', "topic": "b"}]


def write(path, rows=ROWS):
    opener = gzip.open if path.suffix == ".gz" else open
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
        return path
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        if kind == "jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    "name", ["x.csv", "x.tsv", "x.jsonl", "x.parquet", "x.csv.gz", "x.jsonl.gz"]
)
def test_every_form_gives_the_same_task(tmp_path, name):
    task = read_classify(write(tmp_path / name), text="body", label="topic")
    assert task.table.to_pylist() == [
        {"id": "0", "text": "one, two\nthree", "label": "a", "group": "0", "split": ""},
        {"id": "1", "text": 'say "x"', "label": "b", "group": "1", "split": ""},
    ]
    assert task.name == "x" and task.problems == () and task.licence == "not stated"
    assert (
        task.digest == read_classify(write(tmp_path / "y.jsonl"), text="body", label="topic").digest
    )


@settings(max_examples=20)
@given(st.lists(st.tuples(st.text(min_size=1), st.integers(0, 3)), min_size=1, max_size=8))
def test_any_text_survives_json_lines(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "x.jsonl"
    write(path, [{"text": text, "label": label} for text, label in rows])
    kept = [text for text, _ in rows if text.strip()]
    if not kept:
        with pytest.raises(DataError, match="no row could be used"):
            read_classify(path)
        return
    task = read_classify(path)
    assert task.table["text"].to_pylist() == kept
    assert len(task.problems) == len(rows) - len(kept)


def test_a_folder_has_one_file_a_split(tmp_path):
    rows = [{"text": "t", "label": "1"}]
    write(tmp_path / "train.jsonl", rows * 3)
    write(tmp_path / "dev.csv", rows)
    (tmp_path / "notes.md").write_text("nothing")
    task = read_classify(tmp_path, labels={"1": "yes"})
    assert task.splits() == {"dev": 1, "train": 3} and task.labels == ["yes"]
    assert len(set(task.table["id"].to_pylist())) == 4


def test_given_columns_are_taken(tmp_path):
    rows = [{"text": "t", "label": 1, "key": "k", "author": "m", "part": "test"}]
    path = write(tmp_path / "x.jsonl", rows)
    task = read_classify(path, id="key", group="author", split="part")
    assert task.table.to_pylist() == [
        {"id": "k", "text": "t", "label": "1", "group": "m", "split": "test"}
    ]


def test_bad_rows_cost_only_themselves(tmp_path):
    lines = [
        b'{"text": "good", "label": "a"}',
        b"{not json",
        b'["a list"]',
        b"",
        b'{"text": " ", "label": "a"}',
        b'{"text": "no label"}',
        b'{"text": "\xff", "label": "a"}',
        b'{"text": "half \\ud800", "label": "a"}',
        b'{"text": "odd", "label": "z"}',
        '{"text": "gut \u00fc", "label": "a"}'.encode(),
    ]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join(lines))
    task = read_classify(path, labels={"a": "A"})
    assert task.table["text"].to_pylist() == ["good", "gut \u00fc"]
    assert Counter(problem.reason for problem in task.problems) == {
        "damaged": 2, "empty": 2, "encoding": 2, "unknown label": 1,
    }  # fmt: skip
    path = tmp_path / "y.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\ngood,a\nbad\nb\xff,a\nc,a,extra\n")
    task = read_classify(path)
    assert task.table["text"].to_pylist() == ["good"]
    assert [problem.position for problem in task.problems] == [1, 2, 3]


def test_mistakes_name_what_is_there(tmp_path):
    path = write(tmp_path / "x.csv")
    with pytest.raises(
        DataError, match="has no column 'text' for text; it takes columns text, label and has body"
    ):
        read_classify(path)  # fmt: skip
    with pytest.raises(DataError, match="did you mean 'topic'"):
        read_classify(path, text="body", label="topics")
    with pytest.raises(DataError, match="no such file"):
        read_rank(tmp_path / "no.jsonl", path, path)
    with pytest.raises(DataError, match="holds no CSV"):
        read_classify(tmp_path / "nowhere")
    (tmp_path / "z.txt").write_text("x")
    with pytest.raises(DataError, match="is not a CSV"):
        read_classify(tmp_path / "z.txt")
    (tmp_path / "z.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="damaged gzip"):
        read_classify(tmp_path / "z.jsonl.gz")
    (tmp_path / "z.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="damaged Parquet"):
        read_classify(tmp_path / "z.parquet")
    with pytest.raises(DataError, match="is not a BEIR folder"):
        read_beir(tmp_path)


@pytest.fixture
def beir(tmp_path):
    write(tmp_path / "corpus.jsonl", [
        {"_id": "d1", "title": "T", "text": "body"}, {"_id": "d2", "text": "x"},
        {"_id": "d2", "text": "again"}, {"title": "no id", "text": "x"},
    ])  # fmt: skip
    write(
        tmp_path / "queries.jsonl.gz", [{"_id": "q1", "text": "why"}, {"_id": "q2", "text": "how"}]
    )
    return tmp_path


def test_beir_in_one_file(beir):
    (beir / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t4\nq2\td2\t-1\nq3\td1\t1\n"
        "q2\td9\t1\nq2 d1\n"
    )
    task = read_beir(beir, gains={1: 4, 4: 1})
    assert task.judgements() == {"q1": {"d1": 4, "d2": 1}, "q2": {"d9": 4}}
    assert task.collection.texts() == {"d1": "T\nbody", "d2": "x"}
    assert Counter(problem.reason for problem in task.problems) == {
        "repeated id": 1, "damaged": 2, "score outside the scale": 1, "unknown query": 1,
        "judged document is absent": 1,
    }  # fmt: skip
    assert task.metric == "nDCG@10" and task.name == beir.name


def test_beir_with_splits(beir):
    (beir / "qrels").mkdir()
    for name, query in (("train", "q1"), ("test", "q2")):
        (beir / "qrels" / f"{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{query}\td1\t2\n")
    task = read_beir(beir)
    assert task.splits() == {"test": 1, "train": 1}
    assert task.split("test").judgements() == {"q2": {"d1": 2}}


def test_trec_judgements_are_the_same(beir):
    (beir / "qrels.txt").write_text("q1 0 d1 1\nq1 0 d2 0\nq2 0 d2 3\n\n")
    (beir / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq2\td2\t3\n")
    trec = read_rank(beir / "corpus.jsonl", beir / "queries.jsonl.gz", beir / "qrels.txt")
    assert trec.digest == read_beir(beir).digest
    assert [row[1:] for row in read_qrels(beir / "qrels.txt")][-1] == ("q2", "d2", 3)
    (beir / "qrels.txt").write_text("nothing here at all\n")
    with pytest.raises(DataError, match="no judgement could be used"):
        read_rank(beir / "corpus.jsonl", beir / "queries.jsonl.gz", beir / "qrels.txt")
