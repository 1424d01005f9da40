"""Every line of the tables keeps the contract of its kind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tilth.corpus.transforms import TRANSFORMS
from tilth.corpus.transforms.base import Chain
from tilth.lookup import construct
from tilth.signals import SIGNALS
from tilth.testing import hostile
from tilth.testing.signals import check_signal
from tilth.testing.transforms import check_transform

# Without the line of more than 1 MB, which the options cost seconds.
SHORT = hostile.documents()[:-1]


@pytest.fixture
def needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What signals cannot be made without: a training text, a scorer."""
    from tilth.models.ngram_scorer import NGramScorer

    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    text = tmp_path / "train.txt"
    text.write_text("The miller ground the corn, and the baker baked the bread.\n")
    NGramScorer(order=2).fit(["corn and bread"]).save(tmp_path / "scorer")
    train = {"train": str(text)}
    return {
        "contamination": {"sets": [str(text)]},
        "harm": train,
        "perplexity": train,
        "score": {"scorer": str(tmp_path / "scorer")},
    }


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_signal(name: str, needed: dict[str, dict[str, Any]]) -> None:
    signal = construct("signal", SIGNALS, name, needed.get(name, {}))
    assert signal.name == name
    check_signal(signal)


def test_columns_belong_to_one_signal(needed: dict[str, dict[str, Any]]) -> None:
    made = [construct("signal", SIGNALS, name, needed.get(name, {})) for name in SIGNALS]
    counts = Counter(column for signal in made for column in signal.columns)
    assert max(counts.values()) == 1


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_transform(name: str) -> None:
    transform = construct("transform", TRANSFORMS, name, {})
    assert transform.name == name
    check_transform(transform)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("repair", {"quotes": True, "ligatures": True, "width": True, "entities": True}),
        ("repair", {"mojibake": False, "control_characters": False, "normalization": "none"}),
        ("headers", {"method": "markers"}),
        ("headers", {"method": "none"}),
        ("headers", {"guard": False}),
    ],
)
def test_transform_with_options(name: str, options: dict[str, object]) -> None:
    check_transform(construct("transform", TRANSFORMS, name, options), SHORT)


def test_chains() -> None:
    check_transform(Chain())
    repair, headers = (
        construct("transform", TRANSFORMS, name, {}) for name in ("repair", "headers")
    )
    check_transform(Chain([repair, headers]), SHORT)
    check_transform(Chain([headers, repair, Chain([repair])]), SHORT)
