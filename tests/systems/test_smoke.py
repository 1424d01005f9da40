"""Every system of the table: a sound form, invariants that hold, and no verdict at scale smoke."""

import importlib.util
import json
from pathlib import Path

import pytest

from tilth.evaluation.card import MINIMUM_SEEDS, check_system
from tilth.evaluation.results import KEYS
from tilth.evaluation.runner import code_digest
from tilth.systems import SYSTEMS, load_system


@pytest.mark.parametrize("slug", sorted(SYSTEMS))
def test_smoke(slug, smoke):
    system = load_system(slug)
    check_system(system)
    assert slug == system.CARD.slug
    result = smoke(slug)
    assert set(result) == KEYS
    assert result["verdict"] == "not judged"
    assert {claim["verdict"] for claim in result["claims"]} == {"not judged"}
    assert result["invariants"], "a system has invariants"
    assert [one["name"] for one in result["invariants"] if not one["holds"]] == []
    assert result["code"] == code_digest(system)
    measured = {(run["arm"], run["metric"]) for run in result["runs"]}
    for claim in system.CLAIMS:
        assert {(claim.method, claim.metric), (claim.baseline, claim.metric)} <= measured
        assert claim.kind in MINIMUM_SEEDS
    json.dumps(result, allow_nan=False)


def test_system_modules_stay_small():
    for module in SYSTEMS.values():
        lines = Path(importlib.util.find_spec(module).origin).read_text("utf-8").splitlines()
        assert len(lines) <= 250, module
