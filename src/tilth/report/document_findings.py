"""Findings about the documents: for each, whether it was measured, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tilth.report.wording import NOT_MEASURED, count, listed, share


def duplicates(report: Mapping[str, Any]) -> tuple[bool, str]:
    found = report["duplicates"]
    if found is None:
        return False, f"{NOT_MEASURED}; no search for duplicates was run."
    if not found["families"]:
        return True, "no two documents have the same text, or nearly the same."
    largest = found["largest"][0]
    equal = "" if found["equal"] is None else f" ({count(found['equal'])} equal to another one)"
    return True, (
        f"{count(found['documents'], 'document')} "
        f"({share(found['documents'], report['documents']['read'])}) stand in "
        f"{count(found['families'], 'family', 'families')} of equal or nearly equal "
        f"texts{equal}; the largest has {count(largest['size'])}, such as "
        f"{largest['representative']['source']}."
    )


def damage(report: Mapping[str, Any]) -> tuple[bool, str]:
    problems, damage = report["not_read"], report["damage"]
    parts = []
    if problems["total"]:
        reasons = [(entry["reason"], entry["documents"]) for entry in problems["reasons"]]
        parts.append(f"{count(problems['total'])} could not be read ({listed(reasons)})")
    if damage["encodings"]:
        names = [(entry["encoding"], entry["documents"]) for entry in damage["encodings"]]
        total = sum(n for _, n in names)
        parts.append(f"{count(total, 'was', 'were')} converted to UTF-8 ({listed(names)})")
    if damage["documents_with_replaced_characters"]:
        parts.append(
            f"{count(damage['documents_with_replaced_characters'])} lost "
            f"{count(damage['replaced_characters'], 'character')} that could not be decoded"
        )
    if damage["documents_with_damaged_characters"]:
        number_left = damage["documents_with_damaged_characters"]
        parts.append(f"{count(number_left, 'holds', 'hold')} damaged characters still")
    if not parts:
        return True, "every file could be read, and all were valid UTF-8."
    return True, "; ".join(parts) + "."


def licences(report: Mapping[str, Any]) -> tuple[bool, str]:
    found, told = report["licence_texts"], report["licences"]
    if found is None and not told["documents"]:
        return False, f"{NOT_MEASURED}; no document names one in its metadata."
    if found is None:
        found = {**told, "copyleft": None}
    elif not found["documents"]:
        return True, "no known licence was found in any text or in its metadata."
    names = [(entry["licence"], entry["documents"]) for entry in found["listed"]]
    rest = f" and {count(found['kinds'] - 3, 'other')}" if found["kinds"] > 3 else ""
    sentence = (
        f"{count(found['documents'], 'document names or holds', 'documents name or hold')} one "
        f"({listed(names[:3])}{rest})"
    )
    if found["copyleft"] is None:
        return True, f"{sentence}, by their metadata alone; licence texts are {NOT_MEASURED}."
    return True, f"{sentence}; {count(found['copyleft'])} with copyleft."


def personal_data(report: Mapping[str, Any]) -> tuple[bool, str]:
    found = report["personal_data"]
    if found is None:
        return False, f"{NOT_MEASURED}; e-mail addresses are masked in the samples of this report."
    if not found["documents"]:
        return True, "none of the kinds that are looked for was found; that is no proof of none."
    kinds = [(entry["kind"], entry["documents"]) for entry in found["kinds"][:3]]
    rest = f" and {count(len(found['kinds']) - 3, 'other kind')}" if len(found["kinds"]) > 3 else ""
    return True, (
        f"{count(found['documents'], 'document holds', 'documents hold')} "
        f"{count(found['items'], 'item')} ({listed(kinds)}{rest})."
    )


def languages(report: Mapping[str, Any]) -> tuple[bool, str]:
    found = report["languages"]
    if found is None or not found["listed"]:
        return False, f"{NOT_MEASURED}; the signal `language` was not run."
    documents = report["documents"]
    entries = sorted(found["listed"], key=lambda e: (-e["bytes"], -e["documents"]))
    by_bytes = any(entry["bytes"] for entry in entries)
    parts = [
        f"{entry['language']} "
        + (
            share(entry["bytes"], documents["bytes"])
            if by_bytes
            else share(entry["documents"], documents["read"])
        )
        for entry in entries[:3]
    ]
    rest = f" and {count(len(entries) - 3, 'other')}" if len(entries) > 3 else ""
    sentence = f"{', '.join(parts)}{rest}, by {'bytes' if by_bytes else 'documents'}"
    if low := found["low_confidence"]:
        sentence += (
            f"; {share(low['documents'], documents['read'])} of the documents with a confidence "
            f"below {low['below']}"
        )
    return True, sentence + "."
