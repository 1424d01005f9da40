"""Results as they lie in a folder: reading them, whether they are stale, the rows of the board.

One JSON a system, written by `runner.write_result`. A result is stale where the source of the
system or of its part is no longer what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tilth.errors import DamagedError, TilthError
from tilth.evaluation.card import System
from tilth.evaluation.runner import code_digest
from tilth.store.write import read_json

NOTE = (
    "Verdicts are at micro scale: small models and data, minutes on two cores. They say whether a "
    "claim holds here, not whether it holds at the paper's size."
)
KEYS = {
    "slug", "scale", "verdict", "claims", "invariants", "seeds", "runs", "data", "models", "code",
    "versions", "threads", "driver", "seconds", "date",
}  # fmt: skip


def read_result(path: str | Path) -> dict[str, Any]:
    """One result. Raises DamagedError where the file is not one, or not that of its name."""
    path = Path(path)
    result = read_json(path)
    if not isinstance(result, dict) or set(result) != KEYS or result["slug"] != path.stem:
        raise DamagedError("is not a result", where=str(path), hint=f"tilth run {path.stem}")
    if result["scale"] == "smoke":
        raise DamagedError("a result at scale smoke says nothing", where=str(path))
    return result


def read_results(folder: str | Path) -> dict[str, dict[str, Any]]:
    """All results of a folder by slug; empty where the folder is not there."""
    return {path.stem: read_result(path) for path in sorted(Path(folder).glob("*.json"))}


def primary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The primary claim of a result."""
    return next(claim for claim in result["claims"] if claim["primary"])


def board(
    results: Mapping[str, Mapping[str, Any]], load: Callable[[str], System]
) -> list[dict[str, Any]]:
    """A row a result, by family, then slug. `load` gives the system of a slug.

    `state`: `current`, `stale`, or why the system cannot be loaded.
    """
    rows = []
    for slug, result in results.items():
        family, state = "", "current"
        try:
            system = load(slug)
            family = system.CARD.family
            state = "current" if code_digest(system) == result["code"] else "stale"
        except (TilthError, ImportError) as error:
            state = str(error)
        claim = primary(result)
        rows.append(
            {
                "slug": slug,
                "family": family,
                "verdict": result["verdict"],
                "metric": claim["metric"],
                "method": claim["method"],
                "baseline": claim["baseline"],
                "difference": claim["difference"],
                "ci_low": claim["ci_low"],
                "ci_high": claim["ci_high"],
                "margin": claim["margin"],
                "tokens_per_parameter": tokens_per_parameter(result),
                "state": state,
                "scale": result["scale"],
                "broken": [one["name"] for one in result["invariants"] if not one["holds"]],
                "data": [source["name"] for source in result["data"]],
                "licences": sorted({source["licence"] for source in result["data"]}),
                "date": result["date"],
            }
        )
    return sorted(rows, key=lambda row: (row["family"], row["slug"]))


def tokens_per_parameter(result: Mapping[str, Any]) -> float | None:
    """The least that a learning arm of the primary claim saw; None where none says."""
    arms = {primary(result)["method"], primary(result)["baseline"]}
    ratios = [
        run["tokens"] / run["parameters"]
        for run in result["runs"]
        if run["arm"] in arms and run.get("parameters")
    ]
    return min(ratios, default=None)


def number(value: float | None) -> str:
    """A figure for people, four digits; `none` where there is none."""
    return "none" if value is None else f"{value:.4g}"


def interval(claim: Mapping[str, Any]) -> str:
    """`[low, high]`, or `none`."""
    if claim["ci_low"] is None:
        return "none"
    return f"[{number(claim['ci_low'])}, {number(claim['ci_high'])}]"
