"""The sections of the page that show what a signal must have measured; see `measured_facts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilth.report.markup import Html, join, table, tag
from tilth.report.wording import NOT_MEASURED, count, share
from tilth.signals.harm import NOT_MEASURED as NO_HARMFUL_TEXT

Report = Mapping[str, Any]


def missing(why: str) -> Html:
    return tag("p", f"{NOT_MEASURED.capitalize()}: {why}", class_="missing")


def licences(report: Report) -> Html:
    found, told = report["licence_texts"], report["licences"]
    parts: list[object] = []
    if found is None:
        parts.append(missing("the signal licence was not run, so texts were not searched."))
    elif not found["documents"]:
        parts.append(tag("p", "No known licence was found in any text or in its metadata."))
    else:
        parts.append(
            tag(
                "p",
                f"{count(found['documents'], 'document')} "
                f"({share(found['documents'], report['documents']['read'])}) name or hold a known "
                f"licence, {count(found['copyleft'])} of them one with copyleft. This is what the "
                "texts say, not legal advice; a document without a mention is not free of rights.",
            )
        )
        rows = [(entry["licence"], count(entry["documents"])) for entry in found["listed"]]
        parts.append(table("Licences found", ["licence", "documents#"], rows))
        rows = [(entry["evidence"], count(entry["documents"])) for entry in found["evidence"]]
        parts.append(table("Where it was found", ["evidence", "documents#"], rows))
    if told["documents"]:
        parts.append(
            table(
                f"As the metadata say: {count(told['documents'], 'document')}, "
                f"{count(told['kinds'], 'name')}",
                ["licence", "documents#"],
                [(entry["licence"], count(entry["documents"])) for entry in told["listed"]],
            )
        )
    return join(*parts)


def personal_data(report: Report) -> Html:
    found = report["personal_data"]
    if found is None:
        return missing(
            "the signal personal_data was not run. E-mail addresses are masked in this report."
        )
    if not found["documents"]:
        return tag("p", "None of the kinds that are looked for was found.")
    return join(
        tag(
            "p",
            f"{count(found['items'], 'item')} in {count(found['documents'], 'document')}. They are "
            "counted in the last layer, so what a transform has masked is not among them. A count "
            "of 0 does not mean anonymous: names and addresses of streets are not looked for.",
        ),
        table(
            "By kind",
            ["kind", "documents#", "items#"],
            [(e["kind"], count(e["documents"]), count(e["items"])) for e in found["kinds"]],
        ),
        table(
            "Documents with most items",
            ["source", "position#", "items#"],
            [(e["source"], e["position"], count(e["items"])) for e in found["most"]],
        ),
    )


def harm(report: Report) -> Html:
    found = report["harm"]
    if found is None:
        return tag("p", NO_HARMFUL_TEXT, class_="missing")
    text = f"{count(found['scored'], 'document was', 'documents were')} scored"
    if found["too_short"]:
        text += f", {count(found['too_short'])} were too short"
    if found["calibrated"]:
        text += (
            f"; {count(found['likely'])} are like the harmful training text with a probability "
            f"above {found['above']}"
        )
    else:
        text += "; without clean training text there is no probability, only an order"
    return tag("p", text + ". The quantiles are among the signals.")


def contamination(report: Report) -> Html:
    found, split = report["contamination"], report["evaluation"].get("contamination")
    parts: list[object] = []
    if found is None:
        parts.append(missing("documents were not compared with named evaluation sets."))
    else:
        sets = ", ".join(found["sets"])
        parts.append(
            tag(
                "p",
                f"{count(found['documents'], 'document shares', 'documents share')} at least one "
                f"run of {found['n']} words with {sets}; {count(found['tenth'])} share a tenth of "
                "their runs or more. Reworded items are not found this way.",
            )
        )
    if isinstance(split, dict):
        parts.append(tag("p", held_out_overlap(split)))
    return join(*parts)


def held_out_overlap(split: Mapping[str, Any]) -> str:
    """One sentence on what held-out documents have in common with the training documents."""
    if not split.get("documents"):
        return "No held-out document is long enough to be compared with the training documents."
    return (
        f"Of {count(split['documents'], 'held-out document')} with at least {split['n']} words, "
        f"{count(split['documents_hit'])} ({share(split['documents_hit'], split['documents'])}) "
        f"share a run of {split['n']} words with a training document; "
        f"{share(split['ngrams_hit'], split['ngrams'])} of all such runs are shared."
    )
