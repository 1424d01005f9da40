"""The system biomed-finetuning: samples, and one's own model and data."""

import numpy as np
import pyarrow as pa
import pytest

from tilth.data.labelled import read_task
from tilth.data.task import Task, schema
from tilth.errors import DataError, UsageError
from tilth.evaluation.runner import run_system
from tilth.systems import _biomed_tuning as tuning
from tilth.systems import biomed_finetuning
from tilth.zoo import tiny


def conll(path, count):
    chance = np.random.default_rng(0)
    words = "file name list object string return value error path read".split()
    lines = []
    for _ in range(count):
        tokens = chance.choice(words, 5)
        lines += [f"{t}\t{'B-X' if t == 'error' else 'O'}" for t in tokens] + [""]
    path.write_text("\n".join(lines))
    return path


def test_a_sample_follows_its_seed_and_holds_entities():
    rows = [{"id": str(n), "tokens": ["a"], "tags": ["B-X" if n < 20 else "O"], "group": str(n),
             "split": ""} for n in range(100)]  # fmt: skip
    task = Task("tag", "made", pa.Table.from_pylist(rows, schema("tag")))
    one, same, other = (tuning.sample(task, 20, seed) for seed in (1, 1, 2))
    assert one.digest == same.digest != other.digest
    assert one.table.num_rows == 20
    assert sum(tags == ["B-X"] for tags in one.table["tags"].to_pylist()) >= 6
    with pytest.raises(DataError, match="200 are asked for"):
        tuning.sample(task, 200, 1)


def test_rates_are_chosen_on_groups_that_no_seed_draws_from():
    rows = [{"id": str(n), "tokens": ["a"], "tags": ["O"], "group": str(n // 3), "split": ""}
            for n in range(60)]  # fmt: skip
    task = Task("tag", "made", pa.Table.from_pylist(rows, schema("tag")))
    aside, pool = tuning.set_aside(task, 20)
    assert aside.table.num_rows == 21 and pool.table.num_rows == 39
    sides = [set(side.table["group"].to_pylist()) for side in (aside, pool)]
    assert not sides[0] & sides[1]


def test_half_of_the_layers_are_frozen_by_default_and_never_all(tmp_path):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    body, tokenizer, _ = tiny("masked")
    assert tuning.halved(tuning.Setting(layers=0), body).layers == 1
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(body, tmp_path / "model", tmp_path / "tokens")
    data = read_task(conll(tmp_path / "mine.conll", 80), "tag")
    with pytest.raises(UsageError, match="2 of 2 layers frozen"):
        biomed_finetuning.prepare("own", data, str(tmp_path / "model"), 0, sentences=24, layers=2,
                                  rates="5e-3")  # fmt: skip


def test_ones_own_model_and_data(tmp_path):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    body, tokenizer, _ = tiny("electra")
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(body, tmp_path / "model", tmp_path / "tokens")
    task = read_task(conll(tmp_path / "mine.conll", 80), "tag")
    settings = {"sentences": "24", "test": "20", "repeats": "2", "epochs": "3.5", "length": "16",
                "layers": "1", "rates": "5e-3", "seeds": "1"}  # fmt: skip
    result = run_system(
        biomed_finetuning, scale="own", data=task, model=str(tmp_path / "model"), settings=settings
    )
    assert [one["name"] for one in result["data"]] == ["mine"]
    assert result["models"][0]["name"] == "model"
    assert [one["name"] for one in result["invariants"] if not one["holds"]] == []
