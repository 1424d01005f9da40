"""Cards and results as pages and mails take them: what is damaged costs itself only."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from web_site import write_result

from tilth.report import papers
from tilth.systems import SYSTEMS

CARD = """
CARD = Card(slug="{slug}", title="A title", year=2024, family="corpus", claim="A claim.",
            data_kind="none", part="a part", modules=())
"""


def test_a_damaged_result_costs_its_row_only(tmp_path, caplog):
    for slug in ("spgc", "retro", "pie", "pearl", "olmo2"):
        write_result(tmp_path, slug, "holds", 0.1, 0.3, 0.05)

    def damage(slug, change):
        result = json.loads((tmp_path / f"{slug}.json").read_text())
        change(result)
        (tmp_path / f"{slug}.json").write_text(json.dumps(result))

    damage("retro", lambda result: result["claims"][0].update(primary=False))
    damage("pie", lambda result: result.update(verdict="splendid"))
    damage("pearl", lambda result: result["claims"][0].update(margin="wide"))
    damage("olmo2", lambda result: result.update(data=[3]))
    (tmp_path / "min-k.json").write_text("[" * 100_000)
    cards = papers.read_cards()
    assert set(papers.sound_results(tmp_path, cards)) == {"spgc"}
    assert {"retro", "pie", "pearl", "olmo2", "min-k"} == {
        Path(record.args[0]).stem for record in caplog.records
    }
    measured = papers.measured_papers(tmp_path)
    assert measured["spgc"].verdict == "holds" and not measured["spgc"].stale
    assert measured["pie"].verdict == "not measured yet" and measured.keys() == cards.keys()


@pytest.mark.parametrize("raised", ["ValueError('x')", "SystemExit(3)", "KeyError('x')"])
def test_a_package_that_cannot_be_imported_costs_its_row_only(
    tmp_path, monkeypatch, caplog, raised
):
    wrong = f"raise {raised}\n"
    (tmp_path / "literal_card.py").write_text(wrong + CARD.format(slug="literal"))
    (tmp_path / "made_card.py").write_text(f"{wrong}CARD = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    others = {"literal": "literal_card", "made": "made_card", "gone": "no_such_module_here"}
    monkeypatch.setattr(papers, "names", lambda: {**SYSTEMS, **others})
    monkeypatch.setattr("tilth.systems.names", lambda: {**SYSTEMS, **others})
    cards = papers.read_cards()
    # A literal card is read, and its module not imported.
    assert cards["literal"].title == "A title" and "literal_card" not in sys.modules
    assert cards.keys() == {*SYSTEMS, "literal"}
    assert {record.args[0] for record in caplog.records} == {"made", "gone"}
