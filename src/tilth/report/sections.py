"""The sections of the page: each takes the report's JSON and gives its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tilth.report import measured_sections, plots
from tilth.report.markup import Html, join, table, tag
from tilth.report.measured_sections import missing
from tilth.report.search_findings import INPUTS
from tilth.report.wording import NOT_MEASURED, count, figure, number, share, short, size
from tilth.store.digest import canonical_json

QUANTILES = ("0.0", "0.05", "0.25", "0.5", "0.75", "0.95", "1.0")
LONGEST_PARAMETERS = 400
LOSS_POINTS = 200

Report = Mapping[str, Any]


def weak_mark(sentence: str) -> Html:
    return tag("span", f" Weak: {sentence}", class_="weak")


def _figure(svg: str, caption: str) -> Html:
    return tag("figure", Html(svg), tag("figcaption", caption))


def _sample(sample: Mapping[str, Any]) -> tuple[object, ...]:
    where = f"{sample['source']}#{sample['position']}"
    return where, tag("code", sample["id"][:12]), sample["excerpt"]


def dropped(report: Report) -> Html:
    entries = report["dropped"]
    if entries is None:
        return missing("no rule was applied to this corpus.")
    if not entries:
        return tag("p", "Nothing was dropped: every document met every condition of the rule.")
    documents = report["documents"]
    gone = documents["read"] - documents["kept"]
    counts = [(entry["reason"], entry["documents"]) for entry in entries]
    return join(
        tag(
            "p",
            f"{count(gone)} of {count(documents['read'], 'document')} "
            f"({share(gone, documents['read'])}) were dropped. A document counts under each reason "
            "that it has, so the counts may add up to more. “Unknown” means that a value which the "
            "condition needs is missing.",
        ),
        _figure(plots.bars("dropped", "Documents dropped by reason", counts), "By reason."),
        [
            tag(
                "details",
                tag("summary", f"{entry['reason']}: {count(entry['documents'], 'document')}"),
                table(
                    f"A fair draw of {len(entry['samples'])} of {count(entry['documents'])}",
                    ["source", "id", "begins"],
                    map(_sample, entry["samples"]),
                ),
            )
            for entry in entries
        ],
        _near_thresholds(report),
    )


def _near_thresholds(report: Report) -> Html | None:
    """What a small change of each threshold would move."""
    rows = [
        (
            entry["condition"], "meets it" if near["met"] else "fails it", figure(near["value"]),
            *_sample(near),
        )
        for entry in report["near_thresholds"]
        for near in entry["documents"]
    ]  # fmt: skip
    if not rows:
        return None
    return tag(
        "details",
        tag("summary", "Documents nearest to each threshold, on both sides"),
        table("Near to a threshold", ["condition", "", "value#", "source", "id", "begins"], rows),
    )


def not_read(report: Report) -> Html:
    problems = report["not_read"]
    if problems["total"]:
        rest = ""
        if problems["left_out"]:
            rest = f", {count(problems['left_out'], 'more is', 'more are')} not listed"
        listed = tag(
            "details",
            tag("summary", f"{count(len(problems['listed']))} listed by source{rest}"),
            table(
                "What could not be read",
                ["source", "position#", "reason", "detail"],
                [
                    (p["source"], p["position"], p["reason"], p["detail"])
                    for p in problems["listed"]
                ],
            ),
        )
        reasons = table(
            "Files and documents that could not be read",
            ["reason", "count#"],
            [(entry["reason"], count(entry["documents"])) for entry in problems["reasons"]],
        )
        first = join(reasons, listed)
    else:
        first = tag("p", "Everything could be read.")
    damage = report["damage"]
    rows = [
        *((f"converted from {e['encoding']}", count(e["documents"])) for e in damage["encodings"]),
        *((f"line ends: {e['line_ends']}", count(e["documents"])) for e in damage["line_ends"]),
        ("with characters that could not be decoded",
         count(damage["documents_with_replaced_characters"])),
        ("with damaged characters after all transforms",
         NOT_MEASURED if damage["documents_with_damaged_characters"] is None
         else count(damage["documents_with_damaged_characters"])),
    ]  # fmt: skip
    return join(first, table("Read, but odd", ["documents", "count#"], rows))


def duplicates(report: Report) -> Html:
    found = report["duplicates"]
    if found is None:
        return missing("no search for duplicates was run.")
    if not found["families"]:
        return tag("p", "No two documents have the same text, or nearly the same.")
    rows = []
    for family in found["largest"]:
        others = ", ".join(family["others"])
        if family["left_out"]:
            others += f" and {count(family['left_out'], 'other')}"
        first = family["representative"]
        lowest = family["lowest_similarity"]
        shown = "" if lowest is None else f"{lowest:.2f}"
        rows.append((count(family["size"]), shown, *_sample(first), others))
    return join(
        tag(
            "p",
            f"{count(found['documents'], 'document')} in "
            f"{count(found['families'], 'family', 'families')}. Of each, at most one is kept.",
        ),
        table(
            f"The {count(len(rows), 'largest family', 'largest families')}",
            ["size#", "lowest similarity#", "representative", "id", "begins", "others"],
            rows,
        ),
    )


def languages(report: Report) -> Html:
    found = report["languages"]
    if found is None:
        return missing("the signal language was not run.")
    documents = report["documents"]
    rows = [
        (
            entry["language"], count(entry["documents"]),
            share(entry["documents"], documents["read"]), size(entry["bytes"]),
            "–" if entry["kept"] is None else count(entry["kept"]),
        )
        for entry in found["listed"]
    ]  # fmt: skip
    low = found["low_confidence"]
    note = low and (
        f"{count(low['documents'], 'document')} ({size(low['bytes'])}) with a confidence below "
        f"{low['below']}: short texts, code, tables, or languages that the signal does not know."
    )
    heads = ["language", "documents#", "share#", "size#", "kept#"]
    return join(tag("p", note) if note else None, table("As the signal language says", heads, rows))


def signals(report: Report) -> Html:
    quantiles = report["signals"]["quantiles"]
    histograms = report["signals"]["histograms"]
    if not quantiles:
        return missing("no signal was run.")
    heads = ["signal", "least#", "5 %#", "25 %#", "median#", "75 %#", "95 %#", "most#"]
    rows = [
        (name, *(figure(values.get(at)) for at in QUANTILES)) for name, values in quantiles.items()
    ]
    small = []
    for place, (name, drawn) in enumerate(histograms.items()):
        without = f"; {count(drawn['missing'])} without a value" if drawn["missing"] else ""
        svg = plots.bars_between(f"signal{place}", name, drawn["edges"], drawn["counts"])
        small.append(_figure(svg, name + without))
    return join(
        table("Quantiles over all documents of the last layer", heads, rows),
        tag("p", "Documents by value. Skewed counts double their value from bar to bar."),
        tag("div", small, class_="small"),
    )


def _answer(report: Report, anchor: str) -> Html:
    """The sentence of the first screen, again where its evidence stands."""
    entry = next(e for e in report["first_screen"]["questions"] if e["link"] == anchor)
    return tag("p", entry["sentence"], [weak_mark(sentence) for sentence in entry["weak"]])


def curation(report: Report) -> Html:
    shown = _values(report["evaluation"].get("curation"), "Curated against a random twin")
    return join(_answer(report, "curation"), shown)


def _values(values: Any, caption: str) -> Html | None:
    """Numbers and words of a flat JSON object as a table."""
    if not isinstance(values, dict):
        return None
    rows = [
        (name.replace("_", " "), figure(value) if not isinstance(value, str) else value)
        for name, value in values.items()
        if number(value) is not None or isinstance(value, str)
    ]
    return table(caption, ["", "value#"], rows) if rows else None


def _curve_points(points: Any, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Points that can be drawn: positive tokens and at least one number; by tokens."""
    found = []
    for point in points if isinstance(points, list) else []:
        if isinstance(point, dict) and (number(point.get("tokens")) or 0) > 0:
            known = {key: number(point.get(key)) for key in keys}
            if any(value is not None for value in known.values()):
                found.append({"tokens": point["tokens"], **known})
    return sorted(found, key=lambda point: point["tokens"])


def _mean_point(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"tokens": points[-1]["tokens"], "loss": sum(p["loss"] for p in points) / len(points)}


def training(report: Report) -> Html:
    evaluation = report["evaluation"]
    curve = _curve_points(evaluation.get("curve"), ["model", "ngram"])
    parts: list[object] = [_answer(report, "training")]
    if curve:
        series = {"model": "model", "ngram": "n-gram model, same tokens"}
        title = "Bits per byte on held-out documents over training tokens"
        svg = plots.lines("curve", title, curve, series, "training tokens", "bits per byte")
        rows = [(short(p["tokens"]), figure(p["model"]), figure(p["ngram"])) for p in curve]
        heads = ["tokens#", "model#", "n-gram model#"]
        parts += [_figure(svg, f"{title}; fewer is better."), table(title, heads, rows)]
    parts.append(_values(evaluation.get("bits"), "Bits per byte on held-out documents"))
    trained = evaluation.get("training")
    if isinstance(trained, dict):
        loss = _curve_points(trained.get("loss"), ["loss"])
        if loss:
            steps = -(-len(loss) // LOSS_POINTS)
            loss = [_mean_point(loss[at : at + steps]) for at in range(0, len(loss), steps)]
            svg = plots.lines("loss", "Training loss over training tokens", loss,
                              {"loss": "loss"}, "training tokens", "loss")  # fmt: skip
            each = f", each point the mean of {steps}" if steps > 1 else ""
            parts.append(_figure(svg, f"Training loss{each}."))
    return join(*parts)


def search(report: Report) -> Html:
    scored = report["evaluation"].get("search")
    scored = scored if isinstance(scored, dict) else {}
    inputs = {name: scored.get(name) for name in INPUTS}
    names = list(
        dict.fromkeys(key for part in inputs.values() if isinstance(part, dict) for key in part)
    )
    answer = _answer(report, "search")
    if not names:
        return answer
    rows = [
        (name, *(figure(part.get(key)) for key in names))
        if isinstance(part, dict)
        else (name, NOT_MEASURED, *[""] * (len(names) - 1))
        for name, part in inputs.items()
    ]
    queries = number(scored.get("queries"))
    caption = f"Over {count(queries, 'query', 'queries')}" if queries is not None else "Search"
    if isinstance(scored.get("drawn_from"), str):
        caption += f" from {scored['drawn_from']}, whose sentence was taken out of the indexed text"
    parts: list[object] = [
        answer,
        table(caption, ["input", *(f"{name}#" for name in names)], rows),
        _values(scored.get("fusion"), "Fusion against its best single input, nDCG@10"),
        _values(scored.get("dense_minus_lexical"), "Dense minus lexical, nDCG@10"),
        _values(scored.get("index"), "The dense index"),
    ]
    note = "The words are the documents' own, which favours lexical search."
    return join(*parts, tag("p", note, class_="soft"))


def cost(report: Report) -> Html:
    documents, trained = report["documents"], report["evaluation"].get("training")
    rows = [("documents", count(documents["read"])), ("bytes of text", count(documents["bytes"]))]
    for name, entry in documents["splits"].items():
        kind = {"train": "for training", "test": "held out", "none": "used for neither"}
        text = f"{count(entry['documents'], 'document')}, {size(entry['bytes'])}"
        rows.append((kind.get(name, name), text))
    if isinstance(trained, dict):
        words = {
            "corpus_tokens": "tokens in the corpus",
            "tokens": "tokens trained on",
            "vocabulary": "vocabulary",
            "parameters": "parameters of the model",
            "flops": "floating-point operations of training",
        }
        for key, name in words.items():
            value = number(trained.get(key))
            if value is not None:
                rows.append((name, short(value) if value >= 1e12 else count(value)))
    return join(
        table("What went in and what was computed", ["", "amount#"], rows),
        tag("p", "Times and facts about the machine stand in events.jsonl.", class_="soft"),
    )


def made(report: Report) -> Html:
    rows = []
    for entry in report["lineage"]:
        parameters = canonical_json(entry.get("parameters", {}))
        if len(parameters) > LONGEST_PARAMETERS:
            rest = len(parameters) - LONGEST_PARAMETERS
            parameters = (
                f"{parameters[:LONGEST_PARAMETERS]} … {count(rest, 'character')} more, whole in "
                "report.json"
            )
        rows.append(
            (
                entry["step"], entry["layer"], entry.get("made_by", ""), parameters,
                count(entry["rows"]) if "rows" in entry else "", str(entry.get("output", ""))[:12],
            )
        )  # fmt: skip
    layers = table(
        "Layers",
        ["layer", "documents#", "size#"],
        [
            (e["name"], count(e["documents"]), size(e["bytes"]))
            for e in report["documents"]["layers"]
        ],
    )
    heads = ["step", "layer", "made by", "parameters", "rows#", "output"]
    parts: list[object] = [layers, table("What ran on what, in order", heads, rows)]
    if report["installation"]:
        parts.append(_values(report["installation"], "The documents are the Python installation"))
    if report["plan"]:
        plan = tag("pre", report["plan"], tabindex=0)
        parts.append(tag("details", tag("summary", "The plan, resolved"), plan))
    return join(*parts)


# Anchor, title, content; in the order of the page.
SECTIONS = [
    ("dropped", "Dropped and why", dropped),
    ("not-read", "Not read", not_read),
    ("duplicates", "Duplicates", duplicates),
    ("licences", "Licences", measured_sections.licences),
    ("languages", "Languages", languages),
    ("personal-data", "Personal data", measured_sections.personal_data),
    ("harm", "Harm", measured_sections.harm),
    ("signals", "Signals", signals),
    ("curation", "Curation", curation),
    ("training", "Training", training),
    ("search", "Search", search),
    ("contamination", "Contamination", measured_sections.contamination),
    ("cost", "Cost", cost),
    ("made", "How it was made", made),
]
