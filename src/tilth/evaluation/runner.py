"""Run a system: arms in turn, paired by seed, measured, judged, written in one schema.

`run_system` gives the result as a JSON value; `write_result` puts it in a folder, but never one of
scale `smoke`. Arms are run in an order that turns with the seed, and what is timed is repeated 9
times in turn after one round that does not count. The verdict of a system is its primary claim's;
where an invariant fails or a base model missed its gate nothing is decided.
"""

from __future__ import annotations

import datetime
import inspect
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

from tilth import __version__
from tilth.errors import TilthError, UsageError, nearest
from tilth.evaluation.card import (
    MINIMUM_SEEDS,
    SCALES,
    Claim,
    Invariant,
    Measured,
    Prepared,
    Ratio,
    System,
    check_system,
)
from tilth.store.digest import digest
from tilth.store.write import write_json
from tilth.types import Progress, silent

REPEATS = 9
# A model that learned from fewer says nothing about what it would learn.
TOKENS_PER_PARAMETER = 2
LIBRARIES = (
    "numpy scipy torch transformers tokenizers pyarrow duckdb numba sklearn lxml ir_measures"
).split()
DISTRIBUTIONS = {"sklearn": "scikit-learn", "ir_measures": "ir-measures"}


def run_system(
    system: System,
    *,
    scale: str = "small",
    data: Any = None,
    model: str | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure and judge. `settings`: `seeds`, and the options of the system's `prepare`.

    Raises UsageError for an unknown scale or setting, TilthError where the system does not keep
    its form. Errors of the arms pass through: a result with a hole is none.
    """
    check_system(system)
    if scale not in SCALES:
        raise UsageError(f"there is no scale {scale!r}", hint=nearest(scale, SCALES))
    options = dict(settings or {})
    seeds = _seeds(system, scale, options)
    options = _options(system, options)
    began = time.monotonic()
    # Before anything is measured: sources may be edited while this runs.
    code = code_digest(system)
    values: dict[str, dict[str, dict[int, Any]]] = {arm: {} for arm in system.ARMS}
    runs: list[dict[str, Any]] = []
    invariants: list[Invariant] = []
    spent: dict[str, list[Measured]] = {arm: [] for arm in system.ARMS}
    given = set(data.sources) if data is not None else set()
    sources: dict[str, set[tuple]] = {"data": given, "models": set()}
    driver = "none"
    for number, seed in enumerate(seeds):
        progress(f"{system.CARD.slug}: seeds", number, len(seeds))
        prepared = system.prepare(scale, data, model, seed, **options)
        _require(isinstance(prepared, Prepared), system, "prepare gives a Prepared")
        sources["data"].update(prepared.data)
        sources["models"].update(prepared.models)
        driver = prepared.driver
        measured = _run_arms(system, prepared.inputs, seed, number)
        timed = _time(measured, number, 1 if scale == "smoke" else REPEATS)
        if number == 0:
            invariants = [Invariant(*one) for one in system.invariants(prepared.inputs, measured)]
        for arm, found in measured.items():
            for metric, value in {**found.metrics, **timed[arm]}.items():
                values[arm].setdefault(metric, {})[seed] = value
                runs.append(_run_record(seed, arm, metric, value, found))
            # What the arms made may be large, and only the first seed's is looked at.
            spent[arm].append(
                Measured(tokens=found.tokens, flops=found.flops, parameters=found.parameters)
            )
    progress(f"{system.CARD.slug}: seeds", len(seeds), len(seeds))
    invariants += [
        Invariant(f"equal {c.equal}: {c.method}, {c.baseline}", _equal(spent, c))
        for c in system.CLAIMS if c.equal
    ]  # fmt: skip
    broken = _broken(invariants, sources["models"])
    claims = [
        _judge(claim, values, scale, broken or _too_few_tokens(claim, spent))
        for claim in system.CLAIMS
    ]
    order = {arm: place for place, arm in enumerate(system.ARMS)}
    runs.sort(key=lambda run: (run["seed"], order[run["arm"]], run["metric"]))
    return {
        "slug": system.CARD.slug,
        "scale": scale,
        "verdict": next(claim["verdict"] for claim in claims if claim["primary"]),
        "claims": claims,
        "invariants": [{"name": name, "holds": bool(holds)} for name, holds in invariants],
        "seeds": len(seeds),
        "runs": runs,
        "data": [
            dict(zip(("name", "digest", "licence"), source)) for source in sorted(sources["data"])
        ],
        "models": [
            dict(zip(("name", "digest", "gate"), source)) for source in sorted(sources["models"])
        ],
        "code": code,
        "versions": _versions(),
        "threads": _threads(),
        "driver": driver,
        "seconds": round(time.monotonic() - began, 1),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write_result(result: Mapping[str, Any], folder: str | Path) -> Path:
    """Write FOLDER/SLUG.json. Raises UsageError for a result of scale `smoke`: it says nothing."""
    if result["scale"] == "smoke":
        raise UsageError("a result at scale smoke is not judged, so it is not kept")
    path = Path(folder) / f"{result['slug']}.json"
    write_json(path, result)
    return path


def code_digest(system: System) -> str:
    """The digest of the source of the system and of the modules that its card names."""
    parts: list[str | bytes] = []
    for name in [system.__name__, *sorted(system.CARD.modules)]:  # type: ignore[attr-defined]
        loaded = sys.modules.get(name)
        spec = getattr(loaded, "__spec__", None) or util.find_spec(name)
        if spec is None or not spec.origin:
            raise TilthError(f"there is no module {name!r}", where=f"system {system.CARD.slug}")
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        for file in files:
            parts += [name, file.name, file.read_bytes()]
    return digest(*parts)


def _require(good: bool, system: System, what: str, hint: str = "") -> None:
    if not good:
        raise TilthError(what, where=f"system {system.CARD.slug}", hint=hint)


def _seeds(system: System, scale: str, options: dict[str, Any]) -> list[int]:
    least = max(MINIMUM_SEEDS[claim.kind] for claim in system.CLAIMS)
    default = 1 if scale == "smoke" else max(least, getattr(system, "SEEDS", 0))
    count = _value("seeds", options.pop("seeds", default), default)
    if count < 1:
        raise UsageError("at least one seed is needed", where="seeds")
    return list(range(count))


def _options(system: System, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for `prepare`, checked by name and by the type of the default."""
    known = {
        name: parameter.default
        for name, parameter in inspect.signature(system.prepare).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name in given:
        if name not in known:
            raise UsageError(
                f"system {system.CARD.slug!r} has no setting {name!r}",
                hint=nearest(name, [*known, "seeds"]),
            )
    return {name: _value(name, value, known[name]) for name, value in given.items()}


def _value(name: str, value: Any, default: Any) -> Any:
    """A setting, read from text where it is text, in the type of its default."""
    if isinstance(value, str) and not isinstance(default, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise UsageError(
                f"{value!r} is not a value", where=name, hint=f"like {default!r}"
            ) from None
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise UsageError(f"{value!r} is of the wrong kind", where=name, hint=f"like {default!r}")
    return value


def _run_arms(system: System, inputs: Any, seed: int, number: int) -> dict[str, Measured]:
    arms = list(system.ARMS)
    turned = arms[number % len(arms) :] + arms[: number % len(arms)]
    found: dict[str, Measured] = {}
    for arm in turned:
        found[arm] = system.ARMS[arm](inputs, seed)
        _require(isinstance(found[arm], Measured), system, f"arm {arm!r} gives a Measured")
    for claim in system.CLAIMS:
        for arm in (claim.method, claim.baseline):
            there = [*found[arm].metrics, *found[arm].timed]
            _require(
                claim.metric in there,
                system,
                f"arm {arm!r} does not measure {claim.metric!r}",
                nearest(claim.metric, there),
            )
    return {arm: found[arm] for arm in arms}


def _time(
    measured: Mapping[str, Measured], number: int, repeats: int
) -> dict[str, dict[str, float]]:
    """The median of the repeats of each timed function; all functions run in turn each round."""
    jobs = [
        (arm, metric, call)
        for arm, found in measured.items()
        for metric, call in found.timed.items()
    ]
    seen: dict[tuple[str, str], list[float]] = {(arm, metric): [] for arm, metric, _ in jobs}
    for round_ in range(repeats + 1):
        shift = (number + round_) % len(jobs) if jobs else 0
        for arm, metric, call in jobs[shift:] + jobs[:shift]:
            value = _once(call)
            if round_:
                seen[arm, metric].append(value)
    found: dict[str, dict[str, float]] = {arm: {} for arm in measured}
    for (arm, metric), values in seen.items():
        found[arm][metric] = sorted(values)[len(values) // 2]
    return found


def _once(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    answer = call()
    seconds = time.perf_counter() - began
    number = isinstance(answer, (int, float)) and not isinstance(answer, bool)
    return float(answer) if number else seconds


def _mean(value: Any) -> float:
    import numpy as np

    with np.errstate(all="ignore"):
        if isinstance(value, Ratio):
            return float(np.sum(value.numerators) / np.sum(value.denominators))
        return float(np.mean(np.asarray(value, dtype=float)))


def _run_record(seed: int, arm: str, metric: str, value: Any, found: Measured) -> dict[str, Any]:
    return {
        "seed": seed,
        "arm": arm,
        "metric": metric,
        "value": _number(_mean(value)),
        "tokens": int(found.tokens),
        "flops": _number(float(found.flops)),
        **({"parameters": int(found.parameters)} if found.parameters else {}),
    }


def _equal(spent: Mapping[str, Sequence[Measured]], claim: Claim) -> bool:
    for left, right in zip(spent[claim.method], spent[claim.baseline]):
        a, b = getattr(left, claim.equal), getattr(right, claim.equal)
        if not a or not b or abs(a - b) > 0.01 * max(a, b):
            return False
    return True


def _broken(invariants: Sequence[Invariant], models: Any) -> str:
    """Why nothing can be decided, whatever was measured; empty where nothing is broken."""
    failed = [name for name, holds in invariants if not holds]
    if failed:
        return f"invariant fails: {failed[0]}"
    missed = [name for name, _, gate in models if not gate]
    return f"base model {sorted(missed)[0]} missed its gate" if missed else ""


def _too_few_tokens(claim: Claim, spent: Mapping[str, Sequence[Measured]]) -> str:
    """Why a claim about learning cannot be decided: an arm that hardly learned; else empty."""
    for arm in (claim.method, claim.baseline) if claim.kind == "learned" else ():
        for found in spent[arm]:
            if found.parameters and found.tokens < TOKENS_PER_PARAMETER * found.parameters:
                ratio, least = found.tokens / found.parameters, TOKENS_PER_PARAMETER
                return f"{arm} saw {ratio:.2g} tokens a parameter; {least} are asked for"
    return ""


def _judge(
    claim: Claim, values: Mapping[str, Mapping[str, Any]], scale: str, broken: str
) -> dict[str, Any]:
    from tilth.evaluation.claims import compare

    found = compare(
        values[claim.method][claim.metric],
        values[claim.baseline][claim.metric],
        direction=claim.direction,
        margin=claim.margin,
        relative=claim.relative,
        exact=claim.kind == "exact",
        minimum_seeds=MINIMUM_SEEDS[claim.kind],
    )
    decided = "not judged" if scale == "smoke" else "undecided" if broken else found.verdict
    return {
        "metric": claim.metric,
        "primary": claim.primary,
        "baseline": claim.baseline,
        "method": claim.method,
        "baseline_value": _number(found.baseline_value),
        "method_value": _number(found.method_value),
        "difference": _number(found.difference),
        "ci_low": _number(found.ci_low),
        "ci_high": _number(found.ci_high),
        "margin": claim.margin,
        "paper": claim.paper,
        "verdict": decided,
        "interval_from": found.interval_from,
        "examples": found.examples,
        "would_decide": "" if decided != "undecided" else broken or found.would_decide,
    }


def _number(value: float) -> float | None:
    """JSON has no NaN: null. Ten digits, so that the last bits of a sum do not show."""
    return float(f"{value:.10g}") + 0.0 if math.isfinite(value) else None


def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3])), "tilth": __version__}
    for name in LIBRARIES:
        if name in sys.modules:
            found[name] = metadata.version(DISTRIBUTIONS.get(name, name))
    return found


def _threads() -> int:
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    return len(os.sched_getaffinity(0))
