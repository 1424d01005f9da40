"""Pages drawn from results: docs/systems/SLUG.md with its plot, and docs/board.md.

Nothing in them is written by hand, so a page never says more than the result that it is drawn from.
The same results and systems give the same bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilth.evaluation.card import Card, System
from tilth.evaluation.plot import intervals_svg
from tilth.evaluation.results import NOTE, board, interval, number, read_results
from tilth.evaluation.runner import code_digest
from tilth.store.write import write_bytes, write_text


def write_docs(results: str | Path, docs: str | Path, systems: Mapping[str, System]) -> list[Path]:
    """Write the page of each system, measured or not, and the board; the paths, sorted."""
    docs, found, written = Path(docs), read_results(results), []
    for slug, system in sorted(systems.items()):
        path = docs / "systems" / f"{slug}.md"
        if slug in found:
            write_bytes(path.with_suffix(".svg"), intervals_svg(found[slug]))
            written.append(path.with_suffix(".svg"))
        write_text(path, page(system, found.get(slug)))
        written.append(path)
    known = {slug: result for slug, result in found.items() if slug in systems}
    write_text(docs / "board.md", board_page(board(known, systems.__getitem__)))
    return sorted([*written, docs / "board.md"])


def page(system: System, result: Mapping[str, Any] | None) -> str:
    """A system's page as Markdown."""
    card = system.CARD
    lines = [f"# {card.title}", "", " · ".join(_facts(card)), "", card.claim, ""]
    about = (inspect.getdoc(system) or "") if inspect.ismodule(system) else ""
    lines += ["## What is measured", "", about, ""] if about else []
    if card.simulated:
        lines += [f"Made by code with known truth: {card.simulated}.", ""]
    if result is None:
        lines += ["Not measured yet.", ""]
        lines += [f"- {claim.sentence()}" for claim in system.CLAIMS] + [""]
    else:
        lines += _measured(system, result)
    for title, text in (
        ("Use it when", card.when),
        ("Do not use it when", card.when_not),
        ("Not covered", card.not_covered),
    ):
        lines += [f"## {title}", "", text, ""] if text else []
    lines += ["## On your own", "", f"The method alone: {card.part}", ""]
    lines += ["```", own_command(card), "```", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


# Text of another kind that a system reads beside --data, else from a named set that only those have
# who downloaded it.
OWN_TEXTS = {
    "rewarm": "--set old=OLD-TEXTS", "redwhale": "--set old=OLD-TEXTS", "spdf": "--set text=TEXTS",
    "well-read-students": "--set texts=TEXTS",
}  # fmt: skip


def own_command(card: Card) -> str:
    """The command that measures the claim again, on the user's own where the system takes any."""
    words = ["tilth run", card.slug]
    words += ["--data MY-DATA"] if card.data_kind != "none" else []
    words += ["--model MY-MODEL"] if card.model_kind != "none" else []
    words += [OWN_TEXTS[card.slug]] if card.slug in OWN_TEXTS else []
    return " ".join(words)


def board_page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The board as Markdown."""
    lines = ["# Board", "", NOTE, ""]
    if not rows:
        return "\n".join([*lines, "Nothing is measured yet: `tilth run SLUG`.", ""])
    header = ["system", "family", "verdict", "claim", "difference", "95 % interval", "margin",
              "tokens a parameter", "data", "licences", "state"]  # fmt: skip
    cells = [
        [
            f"[{row['slug']}](systems/{row['slug']}.md)",
            row["family"],
            row["verdict"],
            f"{row['metric']}: {row['method']} against {row['baseline']}",
            number(row["difference"]),
            interval(row),
            number(row["margin"]),
            "" if row["tokens_per_parameter"] is None else number(row["tokens_per_parameter"]),
            ", ".join(row["data"]),
            "; ".join(row["licences"]),
            row["state"],
        ]
        for row in rows
    ]
    return "\n".join([*lines, *_table(header, cells), ""])


def _facts(card: Card) -> list[str]:
    address = f"[arXiv:{card.arxiv}](https://arxiv.org/abs/{card.arxiv})" if card.arxiv else ""
    return [fact for fact in (str(card.year), card.family, address) if fact]


def _measured(system: System, result: Mapping[str, Any]) -> list[str]:
    card = system.CARD
    lines = [f"## Measured: {result['verdict']}", ""]
    if code_digest(system) != result["code"]:
        lines += ["**Stale**: the code changed after this was measured.", ""]
    cells = [
        [
            ("**primary** " if claim["primary"] else "") + claim["metric"],
            claim["method"],
            claim["baseline"],
            number(claim["method_value"]),
            number(claim["baseline_value"]),
            number(claim["difference"]),
            interval(claim),
            number(claim["margin"]),
            "" if claim["paper"] is None else number(claim["paper"]),
            claim["verdict"],
        ]
        for claim in result["claims"]
    ]
    header = ["metric", "method", "baseline", "method's", "baseline's", "difference",
              "95 % interval", "margin", "paper", "verdict"]  # fmt: skip
    lines += [*_table(header, cells), ""]
    lines += [f"![intervals and margins]({card.slug}.svg)", ""]
    lines += ["A positive difference means that the method is better.", ""]
    for claim in result["claims"]:
        made = claim["interval_from"]
        line = f"- {claim['metric']}, {claim['method']} against {claim['baseline']}: "
        line += f"interval from {made}" if made != "none" else "no interval"
        if claim["examples"]:
            line += f" ({claim['examples']:,} examples)"
        if claim["would_decide"]:
            line += f"; undecided: {claim['would_decide']}"
        lines.append(line + ".")
    lines += ["", "Invariants:", ""]
    lines += [
        f"- {one['name']}: {'holds' if one['holds'] else '**broken**'}"
        for one in result["invariants"]
    ]
    data = [f"{one['name']} ({one['licence']}; {one['digest']})" for one in result["data"]]
    models = [f"{one['name']} ({one['digest']})" for one in result["models"]]
    lines += ["", f"Scale {result['scale']}, seeds: {result['seeds']}, {result['seconds']:g} s on "
              f"{result['threads']} threads, {result['date']}.", ""]  # fmt: skip
    lines += [f"Data: {'; '.join(data) or 'made by the code'}.", ""]
    lines += [f"Models: {'; '.join(models)}.", ""] if models else []
    lines += [NOTE, ""] if result["scale"] == "small" else []
    return lines


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return (
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        )

    return [line(header), "|" + " --- |" * len(header), *map(line, rows)]
