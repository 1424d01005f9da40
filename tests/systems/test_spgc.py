"""The system spgc: planted truth, lines kept, divergence; and its run at scale smoke."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tilth.documents.document import Span
from tilth.systems import spgc
from tilth.systems._planted_headers import ERAS, plant


@pytest.mark.parametrize("era", range(len(ERAS)))
def test_planted_bodies_are_where_they_are_said_to_be(era: int) -> None:
    body = [f"line {number}" for number in range(30)]
    text, place = plant(body, "A Title", "An Author", era, random.Random(era))
    assert text.split("\n")[place.start : place.stop] == body
    assert ("gutenberg" in text.lower()) == (ERAS[era] is not None)


def test_kept_lines() -> None:
    text = "a\n\nb\u00e9\nc\n"
    assert spgc.kept_lines(text, [Span(0, 3, 0, 3), Span(3, 5, 7, 9)]) == {0, 1, 3}
    assert spgc.kept_lines(text, [Span(0, 9, 0, 9)]) == {0, 1, 2, 3}
    assert spgc.kept_lines(text, []) == set()


def test_nearest_agrees_with_scipy() -> None:
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    rng = random.Random(1)
    counts = [Counter(rng.choices("abcdefgh", k=40 + 9 * n)) for n in range(6)]
    rows = np.array([[one[letter] for letter in "abcdefgh"] for one in counts], dtype=float)
    for row, found in enumerate(spgc.nearest(counts)):
        distances = [jensenshannon(rows[row], other) for other in rows]
        distances[row] = np.inf
        assert found == int(np.argmin(distances))


def test_smoke(smoke) -> None:
    result = smoke("spgc")
    assert result["verdict"] == "not judged"
    assert all(entry["holds"] for entry in result["invariants"]) and len(result["invariants"]) == 7
    values = {(run["arm"], run["metric"]): run["value"] for run in result["runs"]}
    assert values["none", spgc.LOST] == 0.0
    assert 0 < values["none", spgc.F1] < values["spgc", spgc.F1] <= 1
