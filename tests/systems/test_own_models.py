"""Systems of surgery on a user's own model and data: they run and report, in a minute budget."""

import json

import pytest

from tilth.cli.main import run
from tilth.evaluation.results import read_result
from tilth.zoo import tiny

TINY = {"seeds": 1, "length": 32, "batch_tokens": 128}
SETTINGS = {
    "bert2bert": {"tokens": 1280, "small_tokens": 1280, "rates": "0.005"},
    "finance-merge": {"tokens": 1280, "rates": "0.002"},
    "redwhale": {"tokens": 1536, "more": 12, "rates": "0.003"},
    "spdf": {"tokens": 1280, "tuning": 1280, "rates": "0.005", "tuning_rates": "0.003"},
}

# The setting that names text of the kind that the model was trained on; novels by default.
OWN_TEXT = {"redwhale": "old", "spdf": "text"}


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


def words_of(slug, given):
    """The command's words: what the page of a system names, cheap settings, and one's own text
    in place of the named sets, which an outsider does not have."""
    model, texts, pairs = given
    settings = {**SETTINGS[slug], **TINY}
    if slug in OWN_TEXT:
        settings[OWN_TEXT[slug]] = str(texts)
    words = ["run", slug, "--model", str(model), "--data", str(pairs if slug == "spdf" else texts)]
    return [
        *words,
        *[word for one in settings.items() for word in ("--set", "=".join(map(str, one)))],
    ]


@pytest.mark.parametrize("slug", SETTINGS)
def test_own_model_and_data(slug, given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # A place without any named set.
    monkeypatch.setenv("TILTH_DATA", str(tmp_path))
    code = run([*words_of(slug, given), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    result = json.loads(said.out)
    assert read_result(tmp_path / "own-results" / f"{slug}.json") == result
    assert result["scale"] == "own" and result["slug"] == slug
    assert [one["name"] for one in result["invariants"] if not one["holds"]] == []
    assert [one["name"] for one in result["models"]] == ["model"]
    assert result["data"]
    # One seed decides nothing, and the report says so.
    learned = [c for c in result["claims"] if c["interval_from"] != "exact"]
    assert {claim["verdict"] for claim in learned} <= {"undecided"}


@pytest.mark.parametrize("slug", OWN_TEXT)
def test_without_text_of_one_s_own_a_named_set_is_missed_at_once(
    slug, given, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TILTH_DATA", str(tmp_path))
    words = words_of(slug, given)
    place = next(n for n, word in enumerate(words) if word.startswith(f"{OWN_TEXT[slug]}="))
    assert run([*words[: place - 1], *words[place + 1 :], "--quiet"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "books_en" in lines[0]
