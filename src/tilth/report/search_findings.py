"""Which search to use: lexical, dense and fused, in sentences, with what makes them weak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilth.report.wording import NOT_MEASURED, count, number, share

INPUTS = ("lexical", "dense", "fused")
FEW_QUERIES = 50
LOW_RECALL = 0.5
WIDE_INTERVAL = 0.2


def judged(search: Mapping[str, Any]) -> tuple[bool, str, list[str]]:
    """(was it measured, sentence, weak points) of the evaluation's part `search`."""
    measured = _measured(search)
    missing = [name for name in INPUTS if name not in measured]
    if not measured:
        return False, f"{NOT_MEASURED}: no search was scored.", []
    order = sorted(measured, key=lambda name: -measured[name]["nDCG@10"])
    first = order[0]
    sentence = "; then ".join(_part(name, measured[name]) for name in order)
    sentence = f"{best(search).capitalize()}. Measured: {sentence}"
    if "fused" in measured and "dense" in measured and "lexical" in measured:
        sentence += f". {fusion_sentence(search)}"
    else:
        single = [name for name in order if name != "fused"]
        if single:
            sentence += f". Best single input: {single[0]}"
            sentence += ", the only one measured" if len(single) == 1 else ""
        if missing:
            sentence += f"; {' and '.join(missing)} {NOT_MEASURED}"
            if isinstance(search.get("missing"), str):
                sentence += f" ({search['missing']})"
    weak = []
    recall = number(measured[first].get("R@10"))
    if recall is not None and recall < LOW_RECALL:
        weak.append(f"it finds {share(recall, 1)} of the known documents among its first 10.")
    queries = number(search.get("queries"))
    if queries is not None and queries < FEW_QUERIES:
        weak.append(f"scored on {count(queries, 'query', 'queries')} (fewer than {FEW_QUERIES}).")
    low, high = interval(measured[first])
    if low is not None and high is not None and high - low > WIDE_INTERVAL:
        weak.append(f"the interval is wide ({low:.2f} to {high:.2f}).")
    return True, sentence + ".", weak


def best(search: Mapping[str, Any]) -> str:
    """What to use: the fusion where it beats the best input beyond doubt, else that input.

    One of `INPUTS`; empty where none was measured.
    """
    measured = _measured(search)
    fusion = search.get("fusion")
    beaten = isinstance(fusion, dict) and fusion.get("verdict") == "yes"
    single = [name for name in measured if name != "fused"]
    if "fused" in measured and (beaten or not single):
        return "fused"
    return max(single, key=lambda name: measured[name]["nDCG@10"], default="")


def _measured(search: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: search[name]
        for name in INPUTS
        if isinstance(search.get(name), dict) and number(search[name].get("nDCG@10")) is not None
    }


def fusion_sentence(search: Mapping[str, Any]) -> str:
    """The best single input by name, whether fusion beats it, and dense against lexical."""
    fusion = search.get("fusion")
    fusion = fusion if isinstance(fusion, dict) else {}
    single = {name: search[name]["nDCG@10"] for name in ("lexical", "dense")}
    best = str(fusion.get("best") or max(single, key=lambda name: single[name]))
    text = f"Best single input: {best}"
    difference = number(fusion.get("difference"))
    if difference is not None:
        said = {"yes": "fusion beats it", "no": "fusion is worse"}
        what = said.get(str(fusion.get("verdict")), "whether fusion beats it is undecided")
        text += f"; {what} ({_difference(fusion)})"
    other = search.get("dense_minus_lexical")
    if isinstance(other, dict) and number(other.get("difference")) is not None:
        text += f"; dense minus lexical {_difference(other)}"
    return text


def _difference(found: Mapping[str, Any]) -> str:
    text = f"{found['difference']:+.3f}"
    low, high = interval(found)
    return f"{text}, {low:+.3f} to {high:+.3f}" if low is not None and high is not None else text


def interval(values: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return number(values.get("ci_low")), number(values.get("ci_high"))


def _part(name: str, values: Mapping[str, Any]) -> str:
    """`lexical with nDCG@10 0.41 (0.30 to 0.55), R@10 0.45`."""
    low, high = interval(values)
    shown = f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else ""
    text = f"{name} with nDCG@10 {values['nDCG@10']:.2f}{shown}"
    recall = number(values.get("R@10"))
    return text + (f", R@10 {recall:.2f}" if recall is not None else "")
