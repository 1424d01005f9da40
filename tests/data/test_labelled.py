"""Labelled data of every kind: columns, lists in cells, what is left out, what is refused."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from tilth.data.labelled import columns_of, read_task
from tilth.data.sets import expected, open_data
from tilth.data.task import FIELDS, KINDS, REQUIRED, Task, schema
from tilth.errors import DataError, UsageError

ROWS = {
    "classify": {"text": "a", "label": "x"},
    "multilabel": {"text": "a", "labels": ["x", "y"]},
    "tag": {"tokens": ["Ann", "sings"], "tags": ["B-PER", "O"]},
    "choose": {"text": "a", "choices": ["one", "two"], "answer": 1},
    "pair": {"text": "a", "other": "b", "label": "yes"},
    "bag": {"texts": ["a", "b"], "label": "ill"},
    "generate": {"messages": [{"role": "user", "content": "hello"},
                              {"role": "assistant", "content": "well"}]},
    "regress": {"text": "a", "other": "b", "target": 0.5},
}  # fmt: skip


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_every_kind_is_read_from_every_form(tmp_path, kind):
    row = ROWS[kind]
    task = read_task(jsonl(tmp_path / "x.jsonl", row, {**row, "id": "own", "split": "test"}), kind)
    first = task.table.to_pylist()[0]
    assert {key: first[key] for key in row} == row and first["group"] == first["id"] == "0"
    assert task.splits() == {"": 2} and task.problems == () and len(task.texts()) == 2
    (tmp_path / "x.json").write_text(json.dumps([row, row]))
    parquet.write_table(pa.Table.from_pylist([row, row]), tmp_path / "x.parquet")
    for name in ("x.json", "x.parquet"):
        assert read_task(tmp_path / name, kind).digest == task.digest
    assert expected(kind).startswith("it takes") and columns_of(kind)
    (tmp_path / "wrong.csv").write_text("body,class\nx,1\n")
    with pytest.raises(UsageError, match="has no column") as caught:
        open_data(str(tmp_path / "wrong.csv"), kind)
    line = str(caught.value)
    assert "\n" not in line and "has body, class" in line
    assert all(column in line for column in REQUIRED[kind])


def test_columns_are_named_joined_and_found(tmp_path):
    row = {"title": "t", "abstract": "b", "decision": "I", "id": "7", "split": "test", "who": "w"}
    path = jsonl(tmp_path / "x.jsonl", row)
    columns = {"text": "title+abstract", "label": "decision", "group": "who"}
    task = open_data(str(path), "classify", columns)
    assert task.table.to_pylist() == [
        {"id": "7", "text": "t\nb", "label": "I", "group": "w", "split": "test"}
    ]
    with pytest.raises(DataError, match="has no column 'abstrct' for text"):
        read_task(path, "classify", {"text": "title+abstrct", "label": "decision"})


def test_lists_in_cells_of_a_csv(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('text,labels\na,x|y\nb,"[""x|y""]"\nc,\n')
    task = read_task(path, "multilabel")
    assert task.table["labels"].to_pylist() == [["x", "y"], ["x|y"], []]
    assert task.labels == ["x", "x|y", "y"]


def test_an_answer_is_a_number_a_letter_or_a_text(tmp_path):
    rows = [{"text": "q", "choices": ["one", "two"], "answer": answer}
            for answer in (0, "1", "B", "two", "C", "", 2)]  # fmt: skip
    task = read_task(jsonl(tmp_path / "x.jsonl", *rows), "choose")
    assert task.table["answer"].to_pylist() == [0, 1, 1, 1]
    assert [problem.reason for problem in task.problems] == ["unknown answer"] * 3


def test_conversations(tmp_path):
    shared = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    rows = [
        {"messages": shared},
        {"messages": [{"role": "user", "content": "no answer"}]},
        {"messages": [{"role": "robot", "content": "?"}]},
    ]
    task = read_task(jsonl(tmp_path / "x.jsonl", *rows), "generate")
    assert [m["role"] for m in task.table["messages"].to_pylist()[0]] == ["user", "assistant"]
    assert [problem.reason for problem in task.problems] == ["empty", "unknown role"]
    asked = jsonl(tmp_path / "y.jsonl", {"question": "1+1", "answer": "2"})
    task = read_task(asked, "generate", {"prompt": "question"})
    assert task.texts() == ["1+1\n2"]


def test_conll(tmp_path):
    (tmp_path / "train.conll").write_text(
        "-DOCSTART- O\n\n# text = Ann sings\nAnn NNP B-PER\nsings VB O\n\nbroken\nlines O\n\n"
    )
    (tmp_path / "dev.conll").write_text("#\tO\nBerlin\tB-LOC")
    (tmp_path / "readme.txt").write_text("Two files")
    task = read_task(tmp_path, "tag")
    assert task.splits() == {"dev": 1, "train": 1} and task.labels == ["B-LOC", "B-PER", "O"]
    assert task.texts() == ["# Berlin", "Ann sings"]
    assert [(p.reason, p.position) for p in task.problems] == [("damaged", 1)]
    (tmp_path / "table.tsv").write_text("tokens\ttags\nAnn sings\tB-PER O\n")
    assert read_task(tmp_path / "table.tsv", "tag").texts() == ["Ann sings"]


def test_rows_that_cannot_be_used_are_listed(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", {"tokens": ["a"], "tags": []}, ROWS["tag"])
    task = read_task(path, "tag")
    assert task.table.num_rows == 1 and task.problems[0].detail == "1 tokens and 0 tags"
    path = jsonl(tmp_path / "y.jsonl", {"text": "a", "target": "much"})
    with pytest.raises(DataError, match=r"no row could be used.*'much' is no number"):
        read_task(path, "regress")
    with pytest.raises(UsageError, match="not read from one table"):
        read_task(path, "rank")


def test_a_task_knows_its_kind():
    for kind in FIELDS:
        task = Task(kind, "made", pa.Table.from_pylist([], schema(kind)))
        assert task.metric and task.table.column_names == list(KINDS[kind])
        assert task.labels == []


def test_a_set_of_texts_has_one_row_or_many(tmp_path):
    notes = [("p1", "a", "yes"), ("p2", "b", "no"), ("p1", "c", "yes"), ("p1", "d", "no")]
    rows = [dict(zip(("patient", "note", "label"), note)) for note in notes]
    path = jsonl(tmp_path / "x.jsonl", *rows)
    task = read_task(path, "bag", {"text": "note", "group": "patient"})
    found = [(row["id"], row["texts"], row["label"]) for row in task.table.to_pylist()]
    assert found == [("p1", ["a", "c"], "yes"), ("p2", ["b"], "no")]
    assert [problem.reason for problem in task.problems] == ["two labels"]
    with pytest.raises(DataError, match="takes columns text, label, group"):
        read_task(path, "bag", {"text": "note"})
    path = jsonl(tmp_path / "y.jsonl", {"prompt": "q", "answer": "a", **ROWS["generate"]})
    assert read_task(path, "generate").texts() == ["hello\nwell"]
    assert read_task(path, "generate", {"prompt": "prompt"}).texts() == ["q\na"]
    with pytest.raises(UsageError, match="not both"):
        read_task(path, "generate", {"prompt": "prompt", "messages": "messages"})
