"""Equal compute: tokens from throughput, fresh trainings a class, perplexity by the byte."""

import json
import math

import numpy as np
import pytest

from tilth.errors import UsageError
from tilth.evaluation import compute_classes
from tilth.evaluation.compute_classes import (
    Contender,
    Throughput,
    compare,
    measure_throughput,
    normalised_perplexity,
    train_class,
)
from tilth.models.recurrent import build
from tilth.objectives.causal import Causal
from tilth.testing.objectives import documents, tiny_model
from tilth.tokens.bpe import encode, train

OBJECTIVE = Causal(length=16)
DATA = documents(count=40)
TEST = DATA.select(range(6))


def contenders():
    return [
        Contender("GPT", tiny_model),
        Contender("quasi", lambda seed: build("quasi_lstm", "30k", vocabulary=300, seed=seed)),
    ]


def test_a_uniform_byte_model_has_the_same_perplexity_under_two_tokenizers():
    text = "Fünf große Wölfe, and one very, very small sheep: 羊. " * 20
    size = len(text.encode())
    for vocabulary in (257, 300):
        tokenizer = train([text], vocabulary)
        ids = encode(tokenizer, [text])[0]
        # Each letter of a byte-level token stands for one byte.
        nats = sum(len(tokenizer.id_to_token(i)) * math.log(256) for i in ids)
        assert normalised_perplexity(nats, size) == pytest.approx(256)


def test_a_class_buys_whole_steps_and_ends_its_schedule_there():
    rate = Throughput(1000.0, 64)
    found = train_class(contenders()[0], OBJECTIVE, DATA, TEST, rate, 0.7, batch_tokens=64)
    assert found.tokens == 640 and found.bytes.sum() == TEST.text_bytes.sum()
    again = train_class(contenders()[0], OBJECTIVE, DATA, TEST, rate, 0.7, batch_tokens=64)
    assert np.array_equal(found.bits, again.bits) and found.spent > 0
    with pytest.raises(UsageError, match="at least 10 steps"):
        train_class(contenders()[0], OBJECTIVE, DATA, TEST, rate, 0.1, batch_tokens=64)


def test_a_slower_model_gets_fewer_tokens(monkeypatch):
    def slow(model, *options):
        return 1400.0 if model.config.model_type == "llama" else 700.0

    monkeypatch.setattr(compute_classes, "probe", slow)
    rates = measure_throughput(contenders(), OBJECTIVE, DATA, batch_tokens=64)
    assert rates["GPT"].tokens_per_second == 2 * rates["quasi"].tokens_per_second
    found = compare(contenders(), OBJECTIVE, DATA, TEST, seconds=(1, 1.2), seeds=1,
                    batch_tokens=64)  # fmt: skip
    tokens = {name: [one.tokens for one in runs[0]] for name, runs in found.trained.items()}
    assert tokens["GPT"][0] == pytest.approx(2 * tokens["quasi"][0], abs=64)
    json.dumps(found.to_dict(), allow_nan=False)
    assert "few tokens" in found.table() and "at least 3 classes" in found.table()


def test_the_probe_measures_the_loop_itself():
    found = measure_throughput(contenders()[:1], OBJECTIVE, DATA, batch_tokens=64, rounds=1)
    assert 100 < found["GPT"].tokens_per_second < 1e7
    assert found["GPT"].micro_batch_tokens in (32, 64)


def test_trends_and_crossings_are_told(monkeypatch):
    monkeypatch.setattr(compute_classes, "probe", lambda *_: 700.0)
    found = compare(contenders(), OBJECTIVE, DATA, TEST, seconds=(1, 1.1, 1.2), seeds=2,
                    batch_tokens=64)  # fmt: skip
    table = found.table()
    assert "a + b C^-c" in table and "GPT and quasi cross" in table
    assert set(found.to_dict()["contenders"]["GPT"]["trend"]) >= {"a", "b", "c"}


def test_names_must_differ():
    with pytest.raises(UsageError, match="same name"):
        compare(contenders()[:1] * 2, OBJECTIVE, DATA, DATA)
