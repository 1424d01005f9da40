import random

import pytest

from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.near_threshold import near_threshold, threshold
from tilth.corpus.rules import Rule
from tilth.errors import UsageError
from tilth.signals.length import Length

COLUMNS = ["words", "language", "share"]


@pytest.mark.parametrize(
    "expression, found",
    [
        ("words >= 50", ("words", "GTE", 50.0)),
        ("50 <= words", ("words", "GTE", 50.0)),
        ("(share < -0.5)", ("share", "LT", -0.5)),
        ("0.1 < share", ("share", "GT", 0.1)),
    ],
)
def test_a_comparison_with_a_number_has_a_threshold(expression, found):
    assert threshold(expression, COLUMNS) == found


@pytest.mark.parametrize(
    "expression",
    ["words = 3", "words > share", "words > 3 AND share < 1", "language = 'en'", "NOT words > 3",
     "words * 2 > 3", "words BETWEEN 1 AND 5"],
)  # fmt: skip
def test_other_conditions_have_none(expression):
    with pytest.raises(UsageError, match="does not compare one column with a number"):
        threshold(expression, COLUMNS)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("near")
    numbers = [*range(1, 41)]
    random.Random(0).shuffle(numbers)
    (folder / "documents").mkdir()
    for number in numbers:
        (folder / "documents" / f"{number:02}.txt").write_text("word " * number)
    made = Corpus(folder / "corpus", executor=LocalExecutor(1))
    made.add([folder / "documents"])
    made.measure([Length()])
    return made


def test_the_nearest_documents_of_each_side_are_listed(corpus):
    corpus.select(Rule({"long enough": "words >= 20", "not too long": "words < 22"}))
    found = near_threshold(corpus, "long enough", 3)
    assert [(near.value, near.met) for near in found] == [
        (20, True), (21, True), (22, True), (19, False), (18, False), (17, False),
    ]  # fmt: skip
    # What another condition drops is near all the same, and not kept.
    assert [near.kept for near in found] == [True, True, False, False, False, False]
    assert [near.source for near in found[:1]] == ["documents/20.txt"]


def test_a_condition_that_is_not_there_is_named(corpus):
    corpus.select(Rule({"long enough": "words >= 20"}))
    with pytest.raises(UsageError, match="did you mean 'long enough'"):
        near_threshold(corpus, "long enuogh")


def test_the_dropped_and_the_outcomes_of_one_source_are_those_of_all(corpus):
    corpus.select(Rule({"long enough": "words >= 20"}))
    everything = corpus.outcomes()
    assert corpus.dropped() == [decision for decision in everything if not decision.kept]
    assert len(corpus.dropped()) == 19
    for target in ("documents/07.txt", everything[3].id[:8]):
        found = corpus.why(target)
        assert found == [d for d in everything if d.source == target or d.id.startswith(target)]
        assert len(found) == 1
