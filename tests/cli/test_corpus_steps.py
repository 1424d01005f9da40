"""`tilth corpus add ... select`, one step after another, on documents made here."""

import json
import random

import pytest

from tilth.cli.corpus_steps import STEPS, _conditions
from tilth.cli.main import run
from tilth.errors import UsageError


def json_of(capsys, *words):
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps") / "documents"
    folder.mkdir()
    chance = random.Random(0)
    words = [f"word{i}" for i in range(500)]
    for number in range(30):
        text = " ".join(chance.choice(words) for _ in range(10 * (number + 1)))
        (folder / f"{number:02}.txt").write_text(text)
        if number % 10 == 9:
            # Nearly the same text: one word more.
            (folder / f"{number:02}-again.txt").write_text(text + " more")
    return folder


def test_a_corpus_grows_step_by_step(capsys, documents, tmp_path):
    corpus = str(tmp_path / "corpus")
    added = json_of(capsys, "corpus", "add", corpus, str(documents))
    assert added["layers"]["documents"]["documents"] == 33
    layers = json_of(capsys, "corpus", "transform", corpus, "repair")["layers"]
    assert layers["clean"]["documents"] == 33
    quantiles = json_of(capsys, "corpus", "measure", corpus, "length", "symbols")["quantiles"]
    assert quantiles["words"]["1.0"] == 301 and "digit_share" in quantiles
    found = json_of(capsys, "corpus", "dedup", corpus)
    assert (found["documents"], found["families"]) == (6, 3)
    assert 0.8 <= found["largest"][0]["lowest_similarity"] < 1
    first = json_of(capsys, "corpus", "select", corpus, "--where", "long: words >= 105")
    assert first["reasons"] == {"long": 11, "duplicate": 2}
    assert first["kept"] == 20
    second = json_of(
        capsys, "corpus", "select", corpus, "--where", "long: words >= 55", "--near", "2"
    )
    # The longer of two near-duplicates stands for both.
    assert second["reasons"] == {"long": 5, "duplicate": 3}
    assert (second["newly_kept"], second["newly_dropped"]) == (5, 0)
    assert [near["value"] for near in second["near"]["long"]] == [60, 70, 50, 40]
    again = json_of(capsys, "corpus", "select", corpus)
    assert again["kept"] == second["kept"] and again["newly_kept"] == 0
    listed = json_of(capsys, "corpus", "show", corpus, "documents/09.txt", "--why")["decisions"]
    assert listed[0]["reasons"] == ["duplicate"] and listed[0]["representative"]


@pytest.mark.parametrize("name", STEPS)
def test_every_step_has_examples(capsys, name):
    assert run(["corpus", name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text and f"tilth corpus {name} my-corpus" in text


@pytest.mark.parametrize(
    "words, says",
    [
        (["select", "{corpus}", "--where", "wrds > 3"], "did you mean 'words'"),
        (["select", "{corpus}", "--where", "x: read_text('/etc/passwd') = ''"], "is not allowed"),
        (["select", "{corpus}", "--rules", "gofer"], "there is no set of rules"),
        (["measure", "{corpus}", "lenght"], "did you mean 'length'"),
        (["measure", "{corpus}", "length", "--set", "x=1"], "has no option 'x'"),
        (["measure", "{corpus}", "length", "--set", "symbols.x=1"], "is not used here"),
        (["dedup", "{corpus}", "--method", "neer"], "did you mean 'near'"),
        (["transform", "{corpus}", "repair", "--set", "lower"], "is not option=value"),
        (["dedup", "{corpus}", "--set", "threshold=high"], "must be float, not str 'high'"),
    ],
)
def test_mistakes_are_named(capsys, documents, tmp_path_factory, words, says):
    corpus = str(tmp_path_factory.mktemp("mistakes") / "corpus")
    run(["corpus", "add", corpus, str(documents)])
    run(["corpus", "measure", corpus, "length"])
    capsys.readouterr()
    assert run(["corpus", *(word.format(corpus=corpus) for word in words)]) in (1, 2)
    error = capsys.readouterr().err
    assert says in error.splitlines()[-1]


def test_a_corpus_may_grow_and_be_decided_again(capsys, tmp_path):
    corpus = str(tmp_path / "corpus")
    for name, count in (("one", 5), ("two", 50)):
        (tmp_path / f"{name}.txt").write_text("word " * count)
    json_of(capsys, "corpus", "add", corpus, str(tmp_path / "one.txt"))
    json_of(capsys, "corpus", "measure", corpus, "length")
    json_of(capsys, "corpus", "select", corpus, "--where", "words > 3")
    both = [str(tmp_path / "one.txt"), str(tmp_path / "two.txt")]
    assert json_of(capsys, "corpus", "add", corpus, *both)["layers"]["documents"]["documents"] == 2
    # Decisions and quantiles of one document say nothing of two.
    stats = json_of(capsys, "corpus", "stats", corpus)
    assert "kept" not in stats and stats["quantiles"] == {}
    json_of(capsys, "corpus", "measure", corpus, "length")
    found = json_of(capsys, "corpus", "select", corpus, "--where", "words > 10")
    assert found["kept"] == 1 and "newly_kept" not in found


def test_a_layer_is_made_again_from_the_one_before_it(capsys, tmp_path):
    from tilth.corpus.lineage import read_lineage

    corpus = str(tmp_path / "corpus")
    (tmp_path / "one.txt").write_text("A sentence here. Another one there.\n\nA paragraph.\n")
    json_of(capsys, "corpus", "add", corpus, str(tmp_path / "one.txt"))
    json_of(capsys, "corpus", "transform", corpus, "repair")
    json_of(capsys, "corpus", "transform", corpus, "passages", "--layer", "passages")
    json_of(capsys, "corpus", "transform", corpus, "repair", "headers")
    made = [entry for entry in read_lineage(corpus) if entry["layer"] == "clean"]
    assert [(entry["source"], entry["made_by"].split("@")[0]) for entry in made] == [
        ("documents", "chain")
    ]


def test_conditions_are_named_by_what_stands_before_a_colon():
    assert _conditions(["long: words > 3", "format = 'a: b'"], []) == {
        "long": "words > 3",
        "format = 'a: b'": "format = 'a: b'",
    }
    with pytest.raises(UsageError, match="two conditions 'a'"):
        _conditions(["a: words > 3", "a: words > 4"], [])


def test_documents_are_not_added_to_a_run(capsys, tmp_path):
    (tmp_path / "plan.resolved.toml").write_text("")
    assert run(["corpus", "add", str(tmp_path), "x"]) == 2
    assert "is a run folder" in capsys.readouterr().err
