"""The system languini: sides of the split, classes, its run at scale smoke."""

import pytest

from tilth.errors import DataError, UsageError
from tilth.systems import _languini_texts, languini
from tilth.systems._languini_arms import LARGEST, contenders
from tilth.systems._languini_texts import split


def test_documents_are_on_one_side_whatever_their_order():
    texts = [f"{'x' * 50} book {n} {'y' * 50}" for n in range(20)]
    train, test = split(texts, 1000, 40)
    assert len(train) == 16 and len(test) == 4 and all(len(text) == 40 for text in test)
    assert not {text for text in train if any(piece in text for piece in test)}
    assert split(texts[::-1] + texts[:3], 1000, 40) == (train, test)
    with pytest.raises(DataError, match="at least 8"):
        split(texts[:7], 10, 10)


@pytest.mark.parametrize("classes", ["1,2", "1,2,x", "0,1,2"])
def test_classes_are_checked(classes):
    with pytest.raises(UsageError):
        languini._languini_arms.prepare(
            _languini_texts.made(300), "30k", 300, 16, classes, 1.0, "smoke"
        )


def test_contenders_are_of_like_size():
    sizes = [
        sum(parameter.numel() for parameter in one.build(0).parameters())
        for one in contenders("45k", 512, 128).values()
    ]
    assert max(sizes) < 1.25 * min(sizes)


def test_smoke(smoke):
    result = smoke("languini")
    assert result["verdict"] == "not judged" and len(result["invariants"]) == 6
    assert all(entry["holds"] for entry in result["invariants"])
    values = {(run["arm"], run["metric"]): run["value"] for run in result["runs"]}
    for run in result["runs"]:
        # What is stated is the smallest class: the fewest tokens for each parameter.
        ratio = values[run["arm"], "tokens per parameter, class 1"]
        assert run["tokens"] / run["parameters"] == pytest.approx(ratio)
    for arm in languini.ARMS:
        assert 0 < values[arm, LARGEST] < 12
        assert values[arm, LARGEST] == values[arm, "bits per byte, class 3"]
