import pytest
from lxml import etree

from tilth.report import plots

HOSTILE = '$\\frac$ </text><script> & "x" 漢字 \u0627\u0644'


def parse(svg):
    assert len(svg) < 30_000
    return etree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def test_labels_are_text_never_markup_or_mathematics():
    found = parse(plots.bars("a", HOSTILE, [(HOSTILE, 5), ("x" * 99, 2)]))
    texts = ["".join(text.itertext()) for text in found.iter("{*}text")]
    assert HOSTILE in texts and not list(found.iter("{*}script"))
    assert [t for t in texts if t.startswith("xx")] == ["x" * 35 + "…"]
    assert found.find("{*}title").text == HOSTILE


@pytest.mark.parametrize("points", [1, 2, 200])
def test_curves_of_any_length(points):
    curve = [
        {"tokens": 1 + n * 100, "model": 3 - n / 100, "ngram": None if n % 2 else 2.5}
        for n in range(points)
    ]
    svg = plots.lines("c", "t", curve, {"model": "model", "ngram": "n-gram"}, "tokens", "bits")
    assert "bits from" in parse(svg).find("{*}desc").text


def test_settings_of_the_user_change_nothing():
    import matplotlib

    before = plots.bars_between("h", "t", [0, 1, 2], [3, 4])
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.linewidth": 9}):
        assert plots.bars_between("h", "t", [0, 1, 2], [3, 4]) == before
        assert matplotlib.rcParams["font.size"] == 30
    assert "currentColor" in before and plots._INK not in before
    parse(before)
