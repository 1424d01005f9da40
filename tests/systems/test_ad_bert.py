"""The system ad-bert: patients with known truth, and one's own sets of texts."""

import json

import numpy as np
import pytest

from tilth.data.labelled import read_task
from tilth.errors import DataError
from tilth.evaluation.runner import run_system
from tilth.signals.calibration import area_under_curve
from tilth.systems import _ad_bert_patients as patients_of
from tilth.systems import ad_bert
from tilth.zoo import tiny

POOLS = patients_of.Pools([f"nerve {n}" for n in range(30)], [f"other {n}" for n in range(90)])


def test_what_can_be_known_of_patients_is_known():
    drawn = patients_of.simulate(POOLS, 3000, 1, "x")
    assert drawn == patients_of.simulate(POOLS, 3000, 1, "x")
    labels = [patient.label == patients_of.YES for patient in drawn]
    assert sum(labels) == 1500
    area = area_under_curve(np.array(patients_of.planted(drawn), float), labels)
    assert abs(area - patients_of.BEST_AREA) < 0.02
    task = patients_of.as_task(drawn, "x")
    for patient, texts in zip(drawn, task.table["texts"].to_pylist()):
        assert 3 <= len(texts) <= 8
        assert texts == [s.text for s in patient.sections if s.day <= 0]
        # All who progress have such a section later: it must not be read.
        later = [s for s in patient.sections if s.day > 0]
        assert any(s.planted for s in later) == (patient.label == patients_of.YES)
    one = patients_of.joined(task).table["texts"].to_pylist()
    assert one[0] == [" ".join(task.table["texts"].to_pylist()[0])]


def test_notes_become_sections():
    text = " ".join(str(n) for n in range(60))
    assert [len(part.split()) for part in patients_of.windows(text, 24)] == [24, 24, 12]
    assert patients_of.windows("too short", 24) == []
    assert patients_of.NERVES.search("Two strokes.") and not patients_of.NERVES.search("backstroke")


def test_ones_own_sets_of_texts(tmp_path):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    body, tokenizer, _ = tiny("masked")
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(body, tmp_path / "model", tmp_path / "tokens")
    rows = [{"texts": ["name of a file", "error" if n % 2 else "value"], "label": "ny"[n % 2]}
            for n in range(60)]  # fmt: skip
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"seeds": "1", "adapt_tokens": "23000", "segment": "16", "pieces": "3",
                "epochs": "3", "rates": "5e-3"}  # fmt: skip
    data = read_task(path, "bag")
    result = run_system(
        ad_bert, scale="own", data=data, model=str(tmp_path / "model"), settings=settings
    )
    assert [one["name"] for one in result["data"]] == ["mine"]
    # So few tokens teach an encoder of random weights nothing, and the result says so.
    failing = [one["name"] for one in result["invariants"] if not one["holds"]]
    assert [name.split(" names ")[0] for name in failing] == ["the adapted encoder"]
    assert result["verdict"] == "undecided"
    rows[0]["label"] = "third"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="3 labels; two are needed"):
        run_system(ad_bert, scale="own", data=read_task(path, "bag"))
