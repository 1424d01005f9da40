"""`tilth evaluate`: one's own texts in bits and by membership, tuned models on one's own data."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest

from tilth.cli.main import run
from tilth.zoo import tiny
from tilth.zoo.micro import docstrings


def written(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


@pytest.fixture
def model(tmp_path):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    body, tokenizer, _ = tiny("causal")
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(body, tmp_path / "model", tmp_path / "tokens")
    return str(tmp_path / "model")


def test_membership_of_ones_own_texts(model, tmp_path, capsys):
    texts = [text for _, text in docstrings() if len(text) < 200 and len(text.split()) >= 6]
    texts = texts[:41]
    seen, unseen = written(tmp_path / "a.jsonl", [*texts[:20], "short"]), written(
        tmp_path / "b.jsonl", texts[20:]
    )  # fmt: skip
    words = ["evaluate", "membership", model, seen, "--others", unseen, "--words", "6"]
    assert run([*words, "--reference", model, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["texts"] == 20 and value["others"] == 21 and value["left_out"] == 1
    assert set(value["scores"]) == {"min-k", "min-k++", "loss", "zlib", "lowercase", "reference"}
    assert all(0 < row["p"] <= 1 and row["reference"] == 0 for row in value["judged"])
    assert value["begin"]
    assert run([*words, "--no-begin", "--json"]) == 0
    without = json.loads(capsys.readouterr().out)
    assert not without["begin"] and without["judged"] != value["judged"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "never asks the model" in out and "Most likely" not in out.split("\n")[0]
    assert run([*words[:4], "--words", "5000"]) == 1
    assert "no text has 5000 words" in capsys.readouterr().err


def test_a_text_with_too_many_tokens_is_left_out_and_named(model, tmp_path, capsys):
    texts = [text for _, text in docstrings() if len(text) < 200 and len(text.split()) >= 6][:14]
    # Three words, but more tokens than the context of 64.
    long = "a " + " ".join("\N{SNOWMAN}" * 40 for _ in range(7))
    seen = written(tmp_path / "a.jsonl", [*texts[:4], long, *texts[4:7]])
    unseen = written(tmp_path / "b.jsonl", [long, *texts[7:]])
    words = ["evaluate", "membership", model, seen, "--others", unseen, "--words", "6"]
    assert run([*words, "--reference", model, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["texts"], value["others"]) == (7, 7)
    assert value["too_long"] == ["a.jsonl 4", "b.jsonl 0"]
    assert "a.jsonl 4" not in [row["text"] for row in value["judged"]]
    # The others' scores are what they are without it.
    written(tmp_path / "a.jsonl", texts[:7]), written(tmp_path / "b.jsonl", texts[7:])
    assert run([*words, "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    pairs = zip(value["judged"], alone["judged"], strict=True)
    assert all(one["min-k"] == pytest.approx(other["min-k"], abs=1e-5) for one, other in pairs)
    written(tmp_path / "a.jsonl", [long])
    assert run(words[:4] + words[6:]) == 1
    error = capsys.readouterr().err
    assert "more tokens than the model's context" in error and "--words" in error


def a_run(folder, texts, order=3):
    """What `tilth evaluate bits` reads of a run: an n-gram model and its tokenizer."""
    from tilth.models.ngram import NGram
    from tilth.tokens import bpe
    from tilth.tokens.documents import TokenDocuments

    tokenizer = bpe.train(texts, 380)
    bpe.save(tokenizer, folder / "tokens" / "tokenizer")
    data = TokenDocuments.of([str(n) for n in range(len(texts))], texts, tokenizer)
    offsets = np.concatenate([[0], np.cumsum(data.lengths)]).astype(np.int64)
    made = NGram.train(np.concatenate(data.tokens), offsets, vocabulary=380, order=order)
    made.save(folder / "ngram")
    return str(folder)


def test_bits_of_ones_own_texts_beside_the_n_gram_model_of_a_run(model, tmp_path, capsys):
    from tilth.evaluation.bits import bits_per_byte
    from tilth.evaluation.own_texts import ngram_bits
    from tilth.models.folder import load_model, load_tokenizer
    from tilth.tokens.documents import TokenDocuments

    texts = [text for _, text in docstrings()[:12]]
    beside = a_run(tmp_path / "run", texts)
    given = written(tmp_path / "mine.jsonl", [*texts, "caf\u00e9"])
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "one.txt").write_text("The end of it.")
    words = ["evaluate", "bits", model, given, str(tmp_path / "more")]
    assert run([*words, "--run", beside, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    each = value["per_document"]
    assert value["documents"] == len(each) == 14 and value["cut"] == 0
    assert [row["document"] for row in each[-2:]] == ["mine.jsonl 12", "more/one.txt 0"]
    assert each[-2]["bytes"] == 5
    everything = [*texts, "caf\u00e9", "The end of it."]
    data = TokenDocuments.of([str(n) for n in range(14)], everything, load_tokenizer(model))
    assert value["context"] == value["window"] == 64
    expected = bits_per_byte(load_model(model), data, 64)
    assert value["bits_per_byte"] == pytest.approx(expected["bits_per_byte"], rel=1e-6)
    bits = sum(row["bits_per_byte"] * row["bytes"] for row in each)
    assert bits == pytest.approx(value["bits"]) and value["bytes"] == sum(r["bytes"] for r in each)
    # Every text has as many tokens as it has: none was cut, the long ones took several windows.
    assert [row["tokens"] for row in each] == data.lengths.tolist()
    longer = [row["tokens"] + 1 > 64 for row in each]
    assert value["longer_than_window"] == sum(longer) and value["share_longer"] == sum(longer) / 14
    assert [row["windows"] > 1 for row in each] == longer
    # Text by text, the n-gram model gives what it gives for each alone.
    for row, text in zip(each, everything):
        assert row["ngram"] * row["bytes"] == pytest.approx(float(ngram_bits(beside, [text])[0]))
    assert value["ngram"] < value["bits_per_byte"] and 0 <= value["better_than_ngram"] <= 1
    assert run([*words, "--run", beside]) == 0
    out = capsys.readouterr().out
    assert "none was cut" in out and "n-gram model: " in out
    assert run([*words, "--window", "16", "--json"]) == 0
    small = json.loads(capsys.readouterr().out)
    assert small["tokens"] == value["tokens"] and small["longer_than_window"] > sum(longer)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["{m}", "{t}/nowhere.jsonl"], 2, "neither a path nor a named set"),
        (["{m}", "{t}/blank.txt"], 1, "there is no text"),
        (["{t}/tokens", "{t}/mine.txt"], 1, "no config.json"),
        (["{m}", "{t}/mine.txt", "--window", "65"], 2, "context is 64"),
        (["{m}", "{t}/mine.txt", "--run", "{t}"], 1, "holds no n-gram model"),
        (["{m}", "{t}/mine.txt", "--held-out"], 2, "no run folder"),
        (["{m}", "{t}", "--held-out"], 1, "holds no corpus"),
    ],
)
def test_mistakes_of_bits_end_in_one_line(model, tmp_path, capsys, words, code, says):
    (tmp_path / "blank.txt").write_text("  \n ")
    (tmp_path / "mine.txt").write_text("A text.")
    given = [word.format(m=model, t=tmp_path) for word in words]
    capsys.readouterr()
    assert run(["evaluate", "bits", *given]) == code
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tilth: ")]
    assert len(error) == 1 and says in error[0]


def test_a_tuned_model_on_ones_own_data(tmp_path, capsys):
    from tilth.data.labelled import read_task
    from tilth.evaluation.tasks import evaluate, fine_tune
    from tilth.tokens import bpe

    rows = [{"body": f"a {word} of the file", "class": word} for word in ("name", "path") * 12]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = read_task(path, "classify", {"text": "body", "label": "class"})
    body, tokenizer, _ = tiny("masked")
    tuned = fine_tune(body, task, tokenizer=tokenizer, length=16, batch=8, epochs=4,
                      learning_rate=5e-3)  # fmt: skip
    bpe.save(tokenizer, tmp_path / "tokens")
    tuned.save(tmp_path / "tuned", tmp_path / "tokens")
    words = ["evaluate", "task", str(tmp_path / "tuned"), str(path), "--json"]
    assert run([*words, "--set", "data.text=body", "--set", "data.label=class"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["rows"] == 24 and value["accuracy"] == evaluate(tuned, task).value
    assert run(words) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "has body, class" in error


@pytest.fixture(scope="module")
def assistant(tmp_path_factory):
    """A folder tuned to say "wet" or "dry", and what it was tuned on."""
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    folder = tmp_path_factory.mktemp("assistant")
    body, tokenizer, _ = tiny("causal")
    bpe.save(tokenizer, folder / "tokens")
    save_model(body, folder / "base", folder / "tokens")
    rows = [
        {"prompt": f"{word} {n}?", "answer": answer}
        for n in range(40) for word, answer in (("rain", "wet"), ("sun", "dry"))
    ]  # fmt: skip
    lines(folder / "chats.jsonl", rows)
    settings = ["epochs=10", "batch=8", "learning_rate=0.01", "length=48", "threads=1",
                "precision=float32", "held_out=0.2"]  # fmt: skip
    more = [part for one in settings for part in ("--set", one)]
    words = [str(folder / "base"), str(folder / "chats.jsonl"), "-o", str(folder / "tuned")]
    assert run(["tune", *words, *more, "-q"]) == 0
    return folder


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def asked(capsys, *words):
    capsys.readouterr()
    assert run(["evaluate", "task", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_assistant_is_asked_what_its_tuning_held_out(assistant, capsys):
    found = asked(capsys, assistant / "tuned", assistant / "chats.jsonl")
    assert found["rows"] == 16 and found["of"] == "those that its tuning held out"
    assert found["exact match"] == sum(row["right"] for row in found["answers"]) / 16
    assert found["exact match"] > 0.9 and found["left_out"] == 0
    assert {row["answer"] for row in found["answers"]} <= {"wet", "dry"}
    told = [row["expected"] for row in found["answers"]]
    most = max(told.count(word) for word in ("wet", "dry")) / 16
    assert found["share of the most frequent answer"] == most


def test_exact_match_counts_rows_of_every_kind(assistant, tmp_path, capsys):
    def turns(*pairs):
        return [{"role": role, "content": content} for role, content in pairs]

    question = ("user", "rain 7?")
    rows = [
        {"id": "right", "messages": turns(question, ("assistant", " wet\n"))},
        {"id": "wrong", "messages": turns(question, ("assistant", "Wet"))},
        {"id": "last", "messages": turns(("assistant", "dry"), question, ("assistant", "wet"))},
        {"id": "long", "messages": turns(("user", "rain " * 99), ("assistant", "wet"))},
        {"id": "none", "messages": turns(question, ("assistant", "wet"), ("user", "thanks"))},
    ]  # fmt: skip
    found = asked(capsys, assistant / "tuned", lines(tmp_path / "chats.jsonl", rows))
    answers = {row["id"]: row for row in found["answers"]}
    assert list(answers) == ["right", "wrong", "last"] and found["of"] == "all"
    assert answers["right"]["right"] and not answers["wrong"]["right"]
    assert answers["last"]["expected"] == "wet"
    assert found["left_out"] == 2
    assert [one["source"] for one in found["problems"]] == ["chats.jsonl", "long"]
    assert "no answer" in found["problems"][0]["detail"]
    assert "context" in found["problems"][1]["detail"]
    parted = [{**row, "split": split} for row, split in zip(rows[:3], ("train", "test", "train"))]
    path = lines(tmp_path / "parted.jsonl", parted)
    found = asked(capsys, assistant / "tuned", path)
    assert found["of"] == "the split test" and found["exact match"] == 0.0
    assert asked(capsys, assistant / "tuned", path, "--split", "train")["rows"] == 2
    found = asked(capsys, assistant / "tuned", path, "--tokens", "1")
    assert found["cut answers"] == 1 and found["answers"][0]["cut"]
    assert run(["evaluate", "task", str(assistant / "tuned"), path]) == 0
    out = capsys.readouterr().out
    assert "exact match: 0" in out and "wrong" in out
    lines(tmp_path / "chats.jsonl", rows[3:4] * 2)
    assert run(["evaluate", "task", str(assistant / "tuned"), str(tmp_path / "chats.jsonl")]) == 1
    assert "no row could be asked" in capsys.readouterr().err


def test_what_is_no_assistant_says_so(assistant, tmp_path, capsys):
    from tilth.models.folder import save_model

    save_model(tiny("masked")[0], tmp_path / "masked", assistant / "tokens")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    odd = lines(tmp_path / "odd.jsonl", [{"text": "a", "label": "b"}] * 3)
    for folder, data, says in [
        (tmp_path / "masked", odd, "holds no task.json"),
        (tmp_path / "adapter", odd, "tilth merge ADAPTER"),
        (assistant / "tokens", odd, "no config.json"),
        (assistant / "tuned", odd, "messages (role, content), or prompt, answer"),
    ]:
        capsys.readouterr()
        assert run(["evaluate", "task", str(folder), str(data)]) in (1, 2)
        error = capsys.readouterr().err.splitlines()
        assert len(error) == 1 and says in error[0]


def test_the_examples_of_the_help_texts_run(assistant, model, tmp_path, capsys, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    shutil.copytree(model, place / "my-model")
    shutil.copytree(assistant / "tuned", place / "my-assistant")
    texts = [text for _, text in docstrings()[:12]]
    a_run(place / "my-run", texts)
    shutil.copytree(model, place / "my-run" / "model")
    written(place / "letters.jsonl", texts)
    (place / "my-texts").mkdir()
    (place / "my-texts" / "one.txt").write_text(texts[0])
    lines(place / "my-questions.jsonl", [{"prompt": "rain 1?", "answer": "wet"}] * 2)
    monkeypatch.chdir(place)
    for name, count in (("bits", 3), ("task", 2)):
        assert run(["evaluate", name, "--help"]) == 0
        text = capsys.readouterr().out
        examples = re.findall(r"^ *(tilth .*)$", text[text.index("Examples:") :], re.MULTILINE)
        assert len(examples) == count
        for example in examples:
            if "--held-out" in example or "my-tuned-model" in example:
                continue  # A run is built, and a classifier tuned, by other tests.
            assert run(shlex.split(example)[1:]) == 0, (example, capsys.readouterr().err)
            assert capsys.readouterr().out
