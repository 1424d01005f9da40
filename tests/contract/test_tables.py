"""Every line of the tables keeps the contract of its kind."""

from __future__ import annotations

from collections import Counter

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


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_signal(name: str) -> None:
    signal = construct("signal", SIGNALS, name, {})
    assert signal.name == name
    check_signal(signal)


def test_columns_belong_to_one_signal() -> None:
    made = [construct("signal", SIGNALS, name, {}) for name in SIGNALS]
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
