"""The first screen: five findings about the documents, three questions, weak results named weak.

Sentences are made from the report's JSON only. The thresholds below say what counts as weak.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tilth.report import document_findings
from tilth.report.search_findings import judged
from tilth.report.wording import (
    NOT_MEASURED,
    count,
    number,
    share,
    short,
    size,
)

FEW_DOCUMENTS = 1000
FEW_HELD_OUT = 20
FEW_PAIRS = 5
TOKENS_PER_PARAMETER = 2
# Bits per byte closer than this are called equal: another seed moves them as much.
TIE_BITS = 0.01
# The curves are carried on over their last points, at most so many times beyond the last.
FIT_POINTS = 3
FARTHEST = 100


def judge(report: Mapping[str, Any]) -> dict[str, Any]:
    """The first screen as JSON: `headline`, `findings`, `questions`, `weak`."""
    return {
        "headline": _headline(report),
        "findings": [
            _finding("Duplicates", "duplicates", *document_findings.duplicates(report)),
            _finding("Damaged or odd", "not-read", *document_findings.damage(report)),
            _finding("Licences", "licences", *document_findings.licences(report)),
            _finding("Languages", "languages", *document_findings.languages(report)),
            _finding(
                "Personal data", "personal-data", *document_findings.personal_data(report)
            ),
        ],
        "questions": [
            _question("Did curation help?", "curation", *_curation(report)),
            _question("Is a model worth it yet?", "training", *_model(report)),
            _question("Which search to use?", "search", *judged(_part(report, "search"))),
        ],
        "weak": _weak_documents(report),
    }  # fmt: skip


def first_screen(report: Mapping[str, Any]) -> list[str]:
    """The same first screen as lines of plain text, for a terminal."""
    screen = report["first_screen"]
    lines = [screen["headline"]]
    lines += [f"Weak: {sentence}" for sentence in screen["weak"]]
    lines += [f"- {entry['name']}: {entry['sentence']}" for entry in screen["findings"]]
    for entry in screen["questions"]:
        lines.append(f"{entry['question']} {entry['sentence']}")
        lines += [f"  Weak: {sentence}" for sentence in entry["weak"]]
    return lines


def _finding(name: str, link: str, measured: bool, sentence: str) -> dict[str, Any]:
    return {"name": name, "link": link, "measured": measured, "sentence": sentence}


def _question(
    question: str, link: str, measured: bool, sentence: str, weak: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "question": question,
        "link": link,
        "measured": measured,
        "sentence": sentence,
        "weak": list(weak),
    }


def _part(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of the evaluation; empty where it is missing or not an object."""
    part = report["evaluation"].get(name)
    return part if isinstance(part, dict) else {}


def _headline(report: Mapping[str, Any]) -> str:
    documents = report["documents"]
    read = f"{count(documents['read'], 'document')}, {size(documents['bytes'])}"
    if documents["kept"] is None:
        return f"{read} of text; no rule was applied."
    text = f"{read} of text; {count(documents['kept'])} kept"
    if documents["kept_bytes"] is None:
        return f"{text} ({share(documents['kept'], documents['read'])})."
    return f"{text} ({share(documents['kept_bytes'], documents['bytes'])} of the bytes)."


def _weak_documents(report: Mapping[str, Any]) -> list[str]:
    documents = report["documents"]
    kept = documents["read"] if documents["kept"] is None else documents["kept"]
    if kept < FEW_DOCUMENTS:
        return [
            f"only {count(kept, 'document was', 'documents were')} kept (fewer than "
            f"{count(FEW_DOCUMENTS)}), so every figure here is uncertain."
        ]
    return []


# The three questions: (was it measured, sentence, weak points).


def _curation(report: Mapping[str, Any]) -> tuple[bool, str, list[str]]:
    curation = _part(report, "curation")
    difference = number(curation.get("difference"))
    if difference is None:
        why = str(curation.get("missing") or "no two trainings were compared")
        return False, f"{NOT_MEASURED}: {why}.", []
    verdict = str(curation.get("verdict") or "undecided").capitalize()
    curated, twin = number(curation.get("curated")), number(curation.get("twin"))
    low, high = number(curation.get("ci_low")), number(curation.get("ci_high"))
    sentence = f"{verdict}: {_signed(difference)} bits per byte"
    if low is not None and high is not None:
        sentence += f" ({_signed(low)} to {_signed(high)})"
    if curated is not None and twin is not None:
        sentence += (
            f" on held-out documents that were kept: {curated:.3f} after learning from kept "
            f"documents, {twin:.3f} from as much of all"
        )
    tokens, seeds = number(curation.get("tokens")), number(curation.get("seeds"))
    if tokens:
        sentence += f"; {short(tokens)} tokens each"
    if seeds:
        sentence += f", {count(seeds, 'pair')} of trainings"
    weak = [] if low is not None else ["the difference comes without an interval."]
    if seeds and seeds < FEW_PAIRS:
        weak.append(f"fewer than {FEW_PAIRS} pairs: others may differ by more than the interval.")
    documents = number(curation.get("held_out_documents"))
    if documents is not None and documents < FEW_HELD_OUT:
        weak.append(
            f"scored on {count(documents, 'held-out document')} only (fewer than {FEW_HELD_OUT})."
        )
    return True, sentence + ".", weak


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _model(report: Mapping[str, Any]) -> tuple[bool, str, list[str]]:
    bits, training = _part(report, "bits"), _part(report, "training")
    model, seen = number(bits.get("model")), number(bits.get("ngram_seen"))
    whole = number(bits.get("ngram_all"))
    if model is None or (seen is None and whole is None):
        missing = "no model" if model is None else "no n-gram model"
        return False, f"{NOT_MEASURED}: {missing} was scored on held-out documents.", []
    order = number(bits.get("order"))
    name = f"{count(order)}-gram" if order else "n-gram model"
    tokens = number(training.get("tokens"))
    after = f"after {short(tokens)} tokens " if tokens else ""
    sentence = f"{verdict(model, seen, whole)}: {after}the model needs {model:.2f} bits per byte"
    if seen is not None:
        sentence += f", the {name} over the same tokens {seen:.2f}"
    if whole is not None:
        sentence += f", {'' if seen is not None else f'the {name} '}over all tokens {whole:.2f}"
    curve = report["evaluation"].get("curve")
    corpus_tokens = number(training.get("corpus_tokens"))
    sentence += f". {_crossing_sentence(crossing(curve), corpus_tokens)}"
    if whole is not None and seen is not None and model > whole:
        sentence += f" {_reaching_sentence(reaching(curve, whole), name, corpus_tokens)}"
    weak = _weak_model(model, seen, whole, bits, training, name)
    return True, sentence, weak


def verdict(model: float, seen: float | None, whole: float | None) -> str:
    """Yes, Partly, About even or Not yet, from bits per byte; fewer bits are better."""
    if whole is None or seen is None:
        other = seen if whole is None else whole
        assert other is not None
        if abs(model - other) < TIE_BITS:
            return "About even"
        return "Yes" if model < other else "Not yet"
    if model <= min(seen, whole) - TIE_BITS:
        return "Yes"
    if model <= seen - TIE_BITS:
        return "Partly"
    return "About even" if abs(model - seen) < TIE_BITS else "Not yet"


def _weak_model(
    model: float, seen: float | None, whole: float | None,
    bits: Mapping[str, Any], training: Mapping[str, Any], name: str,
) -> list[str]:  # fmt: skip
    weak = []
    if any(other is not None and model > other for other in (seen, whole)):
        weak.append(f"the model is worse than the {name}.")
    held_out = number(bits.get("held_out_documents"))
    if held_out is not None and held_out < FEW_HELD_OUT:
        weak.append(
            f"scored on {count(held_out, 'held-out document')} only (fewer than {FEW_HELD_OUT})."
        )
    tokens, parameters = number(training.get("tokens")), number(training.get("parameters"))
    if tokens and parameters and tokens / parameters < TOKENS_PER_PARAMETER:
        weak.append(
            f"{tokens / parameters:.1f} tokens per parameter (fewer than {TOKENS_PER_PARAMETER})."
        )
    return weak


def _points(curve: Any) -> list[tuple[float, float]]:
    """(ln tokens, model minus n-gram) of the whole points, by tokens."""
    found = {}
    for point in curve if isinstance(curve, list) else []:
        if isinstance(point, dict):
            tokens, model = number(point.get("tokens")), number(point.get("model"))
            ngram = number(point.get("ngram"))
            if tokens is not None and tokens > 0 and model is not None and ngram is not None:
                found[math.log(tokens)] = model - ngram
    return sorted(found.items())


def reaching(curve: Any, level: float) -> dict[str, Any]:
    """Where the model's own curve would reach so many bits per byte; as `crossing`.

    The n-gram model over all tokens does not move any more, so this is a question of one line.
    """
    points = curve if isinstance(curve, list) else []
    points = [{**point, "ngram": level} for point in points if isinstance(point, dict)]
    return crossing(points)


def _reaching_sentence(
    found: Mapping[str, Any], name: str, corpus_tokens: float | None
) -> str:  # fmt: skip
    over = f"The {name} over all tokens"
    tokens = found["tokens"]
    if found["state"] == "estimated":
        times = f", {tokens / corpus_tokens:.1f} times this corpus" if corpus_tokens else ""
        return f"{over} would be reached at about {short(tokens)} tokens{times}."
    if found["state"] in ("too far", "not in sight"):
        return f"{over} is out of reach for this model as it learns now."
    return f"When {over[0].lower()}{over[1:]} is reached is unknown."


def crossing(curve: Any) -> dict[str, Any]:
    """Where the model's curve falls below the n-gram model's, with the tokens where known.

    state: `crossed` (at `tokens`, between two points; null if before the first), `estimated` (the
    straight lines through the last points of both, over the logarithm of tokens, meet at
    `tokens`), `too far` (they meet beyond `FARTHEST` times the last point), `not in sight` (the
    distance does not shrink), `unknown` (fewer than `FIT_POINTS` points). The difference of two
    least-squares lines is the least-squares line of the difference, so one line is fitted.
    """
    points = _points(curve)
    if points and points[-1][1] <= 0:
        # The last time it fell below counts: a lucky early point is no crossing.
        above = [n for n, (_, difference) in enumerate(points) if difference > 0]
        if not above:
            return {"state": "crossed", "tokens": None}
        (x0, y0), (x1, y1) = points[above[-1]], points[above[-1] + 1]
        return {"state": "crossed", "tokens": math.exp(x0 + (x1 - x0) * y0 / (y0 - y1))}
    if len(points) < FIT_POINTS:
        return {"state": "unknown", "tokens": None}
    last = points[-max(FIT_POINTS, len(points) // 2) :]
    mean_x = sum(x for x, _ in last) / len(last)
    mean_y = sum(y for _, y in last) / len(last)
    spread = sum((x - mean_x) ** 2 for x, _ in last)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in last) / spread
    if slope >= -1e-9:
        return {"state": "not in sight", "tokens": None}
    # Not before the last point: there the model is still behind, whatever the line says.
    at = max(mean_x - mean_y / slope, last[-1][0])
    if at > last[-1][0] + math.log(FARTHEST):
        return {"state": "too far", "tokens": None}
    return {"state": "estimated", "tokens": math.exp(at)}


def _crossing_sentence(found: Mapping[str, Any], corpus_tokens: float | None) -> str:
    state, tokens = found["state"], found["tokens"]
    if state == "crossed":
        where = f"at about {short(tokens)} tokens" if tokens else "before the first point measured"
        return f"On equal tokens it passed the n-gram model {where}."
    if state == "estimated":
        text = f"On equal tokens the curves would cross at about {short(tokens)} tokens"
        if corpus_tokens and tokens > corpus_tokens:
            text += f", more than the {short(corpus_tokens)} in this corpus"
        return text + ", if they go on as they do."
    if state == "too far":
        return (
            f"The curves approach each other, but would cross more than {FARTHEST} times beyond "
            "the last point: too far to say."
        )
    if state == "not in sight":
        return "No crossing is in sight: the distance between the curves does not shrink."
    return "Where the curves cross is unknown: too few points were measured."
