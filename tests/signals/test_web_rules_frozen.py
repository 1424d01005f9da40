"""The decisions of `web_rules` beside those of datatrove, frozen for documents made by code.

`python benchmarks/_freeze_web_rules.py --peer-python PATH` makes the file again.
"""

from __future__ import annotations

import hashlib
import json
import runpy
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from tilth.corpus.rules import Rule, decide
from tilth.signals.rule_sets import RULE_SETS
from tilth.signals.web_rules import WebRules

HERE = Path(__file__).parent
FROZEN = json.loads((HERE / "web_rules_decisions.json").read_text())
LEAST = 0.98
CHAIN = ("gopher_quality", "gopher_repetition", "c4", "fineweb_after_c4")


@pytest.fixture(scope="module")
def measured() -> pa.Table:
    texts = runpy.run_path(str(HERE / "hard_documents.py"))["hard_documents"]()
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    assert digest == FROZEN["documents"], "other documents than those that were frozen"
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])
    table = pa.Table.from_batches([WebRules().measure(batch)])
    ids = [f"{number:06d}" for number in range(len(texts))]
    return table.add_column(0, "id", pa.array(ids))


def decisions(measured: pa.Table, name: str) -> list[dict]:
    return decide(measured, Rule(RULE_SETS[name], keep_by="gopher_tokens")).to_pylist()


@pytest.mark.parametrize("name", sorted(RULE_SETS))
def test_each_rule(measured: pa.Table, name: str) -> None:
    places = {rule: number for number, rule in enumerate(FROZEN["rules"])}
    same: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for row, frozen in zip(decisions(measured, name), FROZEN["rows"], strict=True):
        for rule in RULE_SETS[name]:
            # Where there is no word datatrove has no answer of its own, or that of a NaN.
            if places[rule] in frozen["undefined"] or frozen["tokens"] == 0:
                continue
            judged[rule] += 1
            failed = rule in row["reasons"] or rule in row["unknown"]
            same[rule] += failed == (places[rule] in frozen["failed"])
    assert set(judged) == set(RULE_SETS[name])
    assert {
        rule: same[rule] / judged[rule] for rule in judged if same[rule] < LEAST * judged[rule]
    } == {}


@pytest.mark.parametrize("name", sorted(RULE_SETS))
def test_each_set(measured: pa.Table, name: str) -> None:
    found = [row["passed"] for row in decisions(measured, name)]
    expected = [name not in frozen["sets"] for frozen in FROZEN["rows"]]
    assert 0 < sum(expected) < len(expected)
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    assert same >= LEAST * len(found)


def test_all_sets_together(measured: pa.Table) -> None:
    passed = [[row["passed"] for row in decisions(measured, name)] for name in CHAIN]
    expected = [frozen["all"] for frozen in FROZEN["rows"]]
    assert sum(expected) >= 20
    same = sum(all(row) == other for *row, other in zip(*passed, expected, strict=True))
    assert same >= LEAST * len(expected)


def test_counts_stay_close(measured: pa.Table) -> None:
    for column, name in (
        ("gopher_tokens", "tokens"),
        ("c4_lines", "kept_lines"),
        ("c4_sentences", "sentences"),
        ("c4_characters", "kept_characters"),
    ):
        expected = [frozen[name] for frozen in FROZEN["rows"]]
        found = measured.column(column).to_pylist()
        assert sum(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 0.01 * sum(expected)
