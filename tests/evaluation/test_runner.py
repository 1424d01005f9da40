"""The runner on systems with known truth: verdicts, pairing, order, records, refusals."""

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tilth.errors import TilthError, UsageError
from tilth.evaluation.card import Invariant, Measured, Prepared, check_system
from tilth.evaluation.results import KEYS
from tilth.evaluation.runner import REPEATS, code_digest, run_system, write_result

sys.path.insert(0, str(Path(__file__).parent))
from made_systems import GAIN, claim, make


def verdict_of(*claims, **fields):
    return run_system(make(*claims, **fields))["verdict"]


def test_known_truth_is_found():
    others = (claim("equal", primary=False), claim("worse", primary=False))
    result = run_system(make(claim(), *others))
    better, equal, worse = result["claims"]
    assert result["verdict"] == better["verdict"] == "holds"
    assert better["ci_low"] <= GAIN <= better["ci_high"]
    assert better["difference"] == pytest.approx(better["method_value"] - better["baseline_value"])
    assert equal["verdict"] == worse["verdict"] == "does not hold here"
    assert verdict_of(claim(direction=-1)) == "does not hold here"
    assert verdict_of(claim("worse", direction=-1)) == "holds"
    assert verdict_of(claim(margin=GAIN + 0.3)) == "direction only"
    assert verdict_of(claim("equal", margin=-0.1)) == "holds"


def test_the_schema_is_the_one_of_the_design():
    result = run_system(make(claim(paper=0.4), arms=None))
    assert set(result) == KEYS
    wanted = {"metric", "primary", "baseline", "method", "baseline_value", "method_value",
              "difference", "ci_low", "ci_high", "margin", "paper", "verdict"}  # fmt: skip
    assert wanted <= set(result["claims"][0]) and result["claims"][0]["paper"] == 0.4
    assert result["seeds"] == 5 and len(result["runs"]) == 5 * 6 * 2
    assert set(result["runs"][0]) == {"seed", "arm", "metric", "value", "tokens", "flops"}
    assert result["data"] == [{"name": "made", "digest": "a" * 32, "licence": "not stated"}]
    assert result["models"] == [{"name": "micro", "digest": "b" * 32, "gate": True}]
    assert result["invariants"][0] == {"name": "sizes agree", "holds": True}
    assert result["versions"]["tilth"] and result["threads"] >= 1
    json.dumps(result, allow_nan=False)


def test_nan_is_never_a_verdict():
    result = run_system(make(claim("broken")))
    assert result["verdict"] == "undecided"
    assert result["claims"][0]["method_value"] is result["claims"][0]["ci_low"] is None
    assert "finite number" in result["claims"][0]["would_decide"]
    json.dumps(result, allow_nan=False)


def test_the_same_run_gives_the_same_numbers():
    one, other = (run_system(make()) for _ in range(2))
    for key in ("claims", "runs", "invariants", "code", "data"):
        assert one[key] == other[key]


def test_arms_take_turns_and_share_what_was_prepared():
    system = make()
    run_system(system)
    names = list(system.ARMS)
    for seed in range(5):
        start = system.log.index(("prepare", "small", seed, 40, 0.5, "x", False))
        called = system.log[start + 1 : start + 6]
        turned = names[seed % 6 :] + names[: seed % 6]
        assert called == [(name, seed) for name in turned if name != "broken"]


def test_smoke_is_never_judged_nor_kept(tmp_path):
    system = make()
    result = run_system(system, scale="smoke")
    assert result["verdict"] == "not judged" and result["seeds"] == 1
    assert {one["verdict"] for one in result["claims"]} == {"not judged"}
    with pytest.raises(UsageError, match="not judged"):
        write_result(result, tmp_path)
    assert not list(tmp_path.iterdir())


def test_results_are_written_with_sorted_keys(tmp_path):
    path = write_result(run_system(make()), tmp_path)
    assert path == tmp_path / "made.json"
    text = path.read_text()
    assert json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n" == text


def test_nothing_is_decided_on_a_broken_base():
    result = run_system(make(gate=False))
    assert result["verdict"] == "undecided"
    assert result["claims"][0]["would_decide"] == "base model micro missed its gate"
    result = run_system(make(sound=False))
    assert result["verdict"] == "undecided"
    assert result["claims"][0]["would_decide"] == "invariant fails: sound"


def test_equal_budgets_are_checked():
    fair = run_system(make(claim(equal="tokens")))
    assert fair["verdict"] == "holds" and fair["invariants"][-1]["holds"]
    unfair = run_system(make(claim("greedy", equal="tokens")))
    assert unfair["verdict"] == "undecided"
    assert unfair["invariants"][-1] == {"name": "equal tokens: greedy, plain", "holds": False}


def test_a_model_that_hardly_learned_decides_nothing():
    def arm(parameters):
        def run(inputs, seed):
            return Measured({"score": inputs + parameters}, tokens=1000, parameters=parameters)

        return run

    for many, verdict in ((500, "holds"), (501, "undecided")):
        system = make(claim(), arms={"plain": arm(0), "better": arm(many)})
        system.invariants = lambda inputs, measured: ()
        result = run_system(system)
        assert result["verdict"] == verdict
    assert "better saw 2 tokens a parameter" in result["claims"][0]["would_decide"]
    assert result["runs"][0]["tokens"] == 1000 and "parameters" not in result["runs"][0]


def test_fewer_seeds_than_a_claim_needs_decide_nothing():
    result = run_system(make(), settings={"seeds": "4"})
    assert result["verdict"] == "undecided" and result["seeds"] == 4
    assert run_system(make(claim(kind="counted")))["seeds"] == 3
    assert run_system(make(), settings={"seeds": 7})["seeds"] == 7


def test_settings_are_checked_by_name_and_kind():
    system = make()
    run_system(
        system,
        scale="smoke",
        settings={"examples": "30", "share": "1", "deep": "true", "word": "3"},
    )
    assert system.log[0] == ("prepare", "smoke", 0, 30, 1.0, "3", True)
    for bad, message in [
        ({"exampels": "3"}, "did you mean 'examples'"),
        ({"examples": "many"}, "is not a value"),
        ({"examples": "1.5"}, "wrong kind"),
        ({"deep": "1"}, "wrong kind"),
        ({"seeds": "0"}, "at least one seed"),
    ]:
        with pytest.raises(UsageError, match=message):
            run_system(system, settings=bad)
    with pytest.raises(UsageError, match="no scale"):
        run_system(system, scale="big")


def test_what_is_timed_is_the_median_of_nine_in_turn():
    order = []

    def arm(name, answer):
        def call():
            order.append(name)
            return answer.pop(0) if isinstance(answer, list) else answer()

        return lambda inputs, seed: Measured(timed={"seconds": call})

    numbers = [100.0, *range(1, 10)] * 3
    arms = {"plain": arm("plain", [float(n) for n in numbers]),
            "better": arm("better", lambda: time.sleep(0))}  # fmt: skip
    system = make(claim(metric="seconds", kind="timed", direction=-1), arms=arms)
    system.invariants = lambda inputs, measured: []
    result = run_system(system)
    plain = [run["value"] for run in result["runs"] if run["arm"] == "plain"]
    # The first round does not count, and a number that is returned stands for the seconds.
    assert plain == [5.0, 5.0, 5.0]
    assert all(0 <= r["value"] < 1 for r in result["runs"] if r["arm"] == "better")
    assert len(order) == 3 * 2 * (REPEATS + 1)
    rounds = [order[i : i + 2] for i in range(0, len(order), 2)]
    assert all(set(one) == {"plain", "better"} for one in rounds)
    assert ["plain", "better"] in rounds and ["better", "plain"] in rounds


@pytest.mark.parametrize(
    "change, message",
    [
        ({"CLAIMS": (claim(primary=False),)}, "exactly one claim must be primary"),
        ({"CLAIMS": (claim(), claim("equal"))}, "exactly one claim must be primary, not 2"),
        ({"CLAIMS": (claim("beter"),)}, "did you mean 'better'"),
        ({"CLAIMS": (claim("plain"),)}, "compared with itself"),
        ({"CLAIMS": (claim(margin=math.nan),)}, "finite"),
        ({"CLAIMS": (claim(), claim(primary=False))}, "there twice"),
        ({"CLAIMS": (claim(metric="scor"),)}, "did you mean 'score'"),
        ({"prepare": lambda scale, data, model, seed: {}}, "prepare gives a Prepared"),
        ({"ARMS": {"plain": lambda i, s: {}, "better": lambda i, s: {}}}, "gives a Measured"),
    ],
)
def test_a_system_that_breaks_its_form_is_refused(change, message):
    system = make()
    for name, value in change.items():
        setattr(system, name, value)
    with pytest.raises(TilthError, match=message):
        run_system(system, scale="smoke")


def test_a_card_without_a_claim_or_part_is_refused():
    for field, message in [("claim", "no claim"), ("part", "no part")]:
        system = make()
        system.CARD = replace(system.CARD, **{field: " "})
        with pytest.raises(TilthError, match=message):
            check_system(system)
    system = make(model_kind="caussal")
    with pytest.raises(TilthError, match="did you mean 'causal'"):
        check_system(system)
    del system.ARMS
    with pytest.raises(TilthError, match="needs ARMS"):
        check_system(system)


def test_an_error_in_an_arm_leaves_no_result():
    def fails(inputs, seed):
        raise ZeroDivisionError

    system = make()
    system.ARMS = {**system.ARMS, "better": fails}
    with pytest.raises(ZeroDivisionError):
        run_system(system)


def test_the_code_digest_follows_system_and_part(tmp_path, monkeypatch):
    for name in ("digest_system", "digest_part"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    system = make(modules=("digest_part",))
    system.__name__ = "digest_system"
    first = code_digest(system)
    assert code_digest(system) == first
    (tmp_path / "digest_part.py").write_text("x = 2\n")
    second = code_digest(system)
    (tmp_path / "digest_system.py").write_text("x = 3\n")
    assert len({first, second, code_digest(system)}) == 3
    system.CARD = replace(system.CARD, modules=("digest_prat",))
    with pytest.raises(TilthError, match="no module 'digest_prat'"):
        code_digest(system)


def test_invariants_see_the_first_seed_only():
    seen = []
    system = make()
    system.invariants = lambda inputs, measured: (
        seen.append((inputs, measured))
        or [Invariant("size", measured["better"].products["size"] == len(inputs))]
    )
    run_system(system)
    assert len(seen) == 1 and np.array_equal(seen[0][0], np.random.default_rng(0).normal(0, 1, 40))


def test_given_data_is_in_the_record_even_where_a_system_forgets_it():
    from tilth.data.sets import SetPath

    system = make()
    system.prepare = lambda scale, data, model, seed: Prepared(np.zeros(9))
    data = SetPath("mine", Path("mine"), "corpus", "not stated", "", "c" * 32)
    result = run_system(system, scale="own", data=data)
    assert result["data"] == [{"name": "mine", "digest": "c" * 32, "licence": "not stated"}]
    assert result["scale"] == "own" and result["verdict"] == "holds"
