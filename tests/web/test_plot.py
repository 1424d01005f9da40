"""Drawings of intervals: well-formed for any numbers and names, nothing outside, nothing styled."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tilth.web import plot

numbers = st.floats(-1e12, 1e12, allow_subnormal=False).map(lambda one: float(f"{one:.10g}"))
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
OUTSIDE = re.compile(r'(?:x|x1|x2|cx)="(-?[\d.]+)%"')


@given(
    st.lists(numbers, min_size=3, max_size=3), numbers, st.none() | numbers, names, st.booleans()
)
def test_any_claim_can_be_drawn(values, margin, paper, name, interval):
    low, center, high = sorted(values)
    claim = {"metric": name, "method": name, "baseline": name + "<&\"'", "difference": center,
             "ci_low": low if interval else None, "ci_high": high if interval else None,
             "margin": margin, "paper": paper}  # fmt: skip
    for drawn in (plot.figure(claim), plot.spark(claim)):
        root = ElementTree.fromstring(drawn)
        assert all(0 <= float(at) <= 100 for at in OUTSIDE.findall(drawn))
        for one in root.iter():
            assert not {"style", "href", "onload"} & set(one.attrib)
            assert one.tag in {"svg", "line", "rect", "circle", "text", "path"}
    assert ('class="paper"' in plot.figure(claim)) is (paper is not None)
    label = ElementTree.fromstring(plot.figure(claim)).get("aria-label")
    assert label.startswith(f"{name}: {name} against")


def test_what_has_no_difference_is_not_drawn():
    claim = dict.fromkeys(["difference", "ci_low", "ci_high", "paper"]) | {"margin": 0.1}
    assert plot.figure(claim) == plot.spark(claim) == ""


def test_ticks_are_round_and_few():
    claim = {"metric": "m", "method": "a", "baseline": "b", "difference": 0.2, "ci_low": 0.1,
             "ci_high": 0.3, "margin": 0.05, "paper": None}  # fmt: skip
    ticks = re.findall(r'text-anchor="middle">([^<]*)<', plot.figure(claim))
    assert ticks == ["0", "0.1", "0.2", "0.3"]
