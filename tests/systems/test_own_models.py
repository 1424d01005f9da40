"""Systems of surgery on a user's own model and data: they run and report, in a minute budget."""

import json

import pytest

from tilth.data.sets import open_data
from tilth.evaluation.runner import run_system
from tilth.systems import load_system
from tilth.zoo import tiny

TINY = {"seeds": 1, "length": 32, "batch_tokens": 128}
SETTINGS = {
    "bert2bert": {"tokens": 1280, "small_tokens": 1280, "rates": "0.005"},
    "finance-merge": {"tokens": 1280, "rates": "0.002"},
    "redwhale": {"tokens": 1536, "more": 12, "rates": "0.003"},
    "spdf": {"tokens": 1280, "tuning": 1280, "rates": "0.005", "tuning_rates": "0.003"},
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """(model folder, folder of texts, file of conversations)."""
    from tilth.models.folder import save_model
    from tilth.tokens import bpe
    from tilth.zoo.micro import docstrings

    folder = tmp_path_factory.mktemp("own")
    model, tokenizer, _ = tiny("causal")
    bpe.save(tokenizer, folder / "tokens")
    save_model(model, folder / "model", folder / "tokens")
    (folder / "texts").mkdir()
    for number, (_, text) in enumerate(docstrings()[:40]):
        (folder / "texts" / f"{number}.txt").write_text(text[:300] + " naïve café Übung Öl " * 5)
    rows = [{"prompt": f"thing {n} | is | {n % 7}", "answer": f"It is {n % 7}."} for n in range(64)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "model", folder / "texts", folder / "pairs.jsonl"


@pytest.mark.parametrize("slug", SETTINGS)
def test_own_model_and_data(slug, given, tmp_path, monkeypatch):
    model, texts, pairs = given
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TILTH_DATA", str(tmp_path))
    system = load_system(slug)
    settings = {**SETTINGS[slug], **TINY}
    if slug == "redwhale":
        settings["old"] = str(texts)
    if slug == "spdf":
        settings["text"] = str(texts)
    data = open_data(str(pairs if slug == "spdf" else texts), system.CARD.data_kind)
    result = run_system(system, scale="own", data=data, model=str(model), settings=settings)
    assert [one["name"] for one in result["invariants"] if not one["holds"]] == []
    assert [one["name"] for one in result["models"]] == ["model"]
    assert result["data"] and json.dumps(result, allow_nan=False)
    # One seed decides nothing, and the report says so.
    learned = [c for c in result["claims"] if c["interval_from"] != "exact"]
    assert {claim["verdict"] for claim in learned} <= {"undecided"}
