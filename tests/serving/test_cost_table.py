"""The table of costs: what it says follows from what rows took."""

import pytest

from tests.serving.tiny import model, tokenizer
from tilth.errors import DataError, UsageError
from tilth.serving.cost_table import CostTable, _rows, fitted, measured
from tilth.serving.engine import Engine


def made(error=0.0):
    return CostTable("m", "here", 1, (1, 4, 16), (1.0, 1.6, 4.0), 0.01, 0.1, 0.2, 0.001, error)


def test_a_row_is_a_sum_of_its_parts(tmp_path):
    table = made()
    assert table.row([]) == 0.0
    # One token: the first knot, a group, the keys that it sees.
    assert table.cost(1, 9) == pytest.approx(1.0 + 0.2 + 0.01)
    # In step they share a group, out of step they do not.
    assert table.row([(1, 9), (1, 9)]) == pytest.approx(1.2 + 0.2 + 0.02)
    assert table.row([(1, 9), (1, 8)]) == pytest.approx(1.2 + 0.4 + 0.019)
    # A chunk of 28 and a decode: the line goes on beyond the last knot.
    assert table.row([(28, 2), (1, 9)]) == pytest.approx(6.6 + 0.01 * 28 * 16.5 + 0.1 + 0.21)
    table.save(tmp_path / "costs.json")
    assert CostTable.load(tmp_path / "costs.json") == table
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(DataError, match="no table of costs"):
        CostTable.load(tmp_path / "other.json")


def test_a_budget_is_the_longest_row_that_keeps_the_time():
    table = made()
    decodes = [(1, 20 + n) for n in range(3)]
    budget = table.budget(5.0, decodes=3, context=20)
    assert table.row([*decodes, (budget - 3, 20)]) <= 5.0
    assert table.row([*decodes, (budget - 2, 20)]) > 5.0
    assert table.budget(0.1, decodes=3, context=20) == 4
    assert table.ratio(made(), 7) == 1.0


def test_a_fit_finds_the_costs_that_made_the_rows():
    truth = CostTable("m", "here", 1, (1, 2, 4, 8, 16, 32, 64, 128, 256), tuple(
        0.01 + 0.001 * knot for knot in (1, 2, 4, 8, 16, 32, 64, 128, 256)
    ), 1e-6, 0.0, 1e-3, 1e-5, 0.0)  # fmt: skip
    rows = _rows(256, 64, 8)
    found = fitted(rows, [truth.row(row) for row in rows], "m")
    assert found.error < 1e-6
    for row in ([(100, 50)], [(1, 30), (1, 31), (40, 0)]):
        assert found.row(row) == pytest.approx(truth.row(row), rel=1e-4)


def test_an_idle_engine_is_measured_and_left_as_it_was():
    # Four at a time: a chunk beside four decodes is one too many, and is left out.
    engine = Engine(
        model(), tokenizer(), blocks=64, block=4, policy="stall_free", row=64, sequences=4
    )
    free = engine.cache.table.free
    table = measured(engine, "tiny", longest=32, context=16, batch=4, repeats=1)
    assert table.knots == (1, 2, 4, 8, 16, 32) and table.machine
    assert table.cost(1, 16) > 0 and table.cost(32) >= 0
    assert engine.cache.table.free == free and not engine.busy and engine.cache.share
    assert engine.policy.chunked
    engine.submit([1, 2, 3], 2)
    with pytest.raises(UsageError, match="serves"):
        measured(engine)
