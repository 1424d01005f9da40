import numpy as np
import pytest

from tilth.errors import DataError, UsageError
from tilth.objectives.causal import Causal
from tilth.testing.objectives import tiny_model
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.mixing import Mixed
from tilth.training.loop import fit


def source(first: int, count: int, size: int = 10, **extra) -> TokenDocuments:
    rows = [np.full(size, first + n % 50, dtype=np.uint16) for n in range(count)]
    return TokenDocuments([str(n) for n in range(count)], rows, 300, 0, [size] * count, extra)


def test_shares_of_a_pass_are_the_weights_and_every_cut_is_counted():
    mixed = Mixed({"a": source(1, 100), "b": source(60, 40)}, {"a": 3, "b": 1}, limit=1)
    report = mixed.report()
    # 1,000 tokens of a and 400 of b: a runs out first.
    assert report["a"]["tokens"] == 1000 and report["a"]["left_out"] == 0
    assert report["a"]["wanted"] == 0.75 and report["a"]["share"] == pytest.approx(0.75, abs=0.01)
    assert report["b"]["share"] == pytest.approx(0.25, abs=0.01)
    assert report["b"]["left_out"] == 400 - report["b"]["tokens"]
    assert mixed.total_tokens == sum(one["tokens"] for one in report.values())
    assert len(mixed) == len(mixed.ids) == len(set(mixed.ids)) == len(mixed.lengths)


def test_a_small_source_is_repeated_up_to_the_limit():
    mixed = Mixed({"a": source(1, 100), "b": source(60, 10)}, limit=4)
    report = mixed.report()
    assert report["b"]["times"] == 4 and report["a"]["times"] == pytest.approx(0.4)
    assert "b/3#4" in mixed.ids and "b/3#5" not in mixed.ids


def test_it_is_a_source_like_any_other():
    parts = {"a": source(1, 30, label=list(range(30))), "b": source(60, 30, label=[7] * 30)}
    mixed, again = Mixed(parts, {"a": 1, "b": 2}), Mixed(parts, {"a": 1, "b": 2})
    numbers = [len(mixed) - 1, 0, 3]
    chosen = mixed.select(numbers)
    assert chosen.ids == [mixed.ids[n] for n in numbers] == [again.ids[n] for n in numbers]
    for row, number in zip(chosen.tokens, numbers):
        assert np.array_equal(row, mixed.document(number))
    assert chosen.extra["label"][0] == 7 and chosen.extra["label"][1] < 30
    history = fit(tiny_model(), Causal(length=16), mixed, tokens=640, batch_tokens=64)
    assert history.plan["data_tokens"] == mixed.total_tokens
    assert Mixed(parts, seed=1, limit=0.5).ids != Mixed(parts, seed=2, limit=0.5).ids


def test_what_cannot_be_mixed_is_refused():
    other = TokenDocuments(["x"], [np.array([1])], 310)
    with pytest.raises(DataError, match="vocabulary"):
        Mixed({"a": source(1, 3), "b": other})
    with pytest.raises(UsageError, match="weights"):
        Mixed({"a": source(1, 3)}, {"b": 1})
    with pytest.raises(DataError, match="no token"):
        Mixed({"a": source(1, 0)})
