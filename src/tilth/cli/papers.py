"""`tilth papers`: a library of papers, what was measured of them, search, and the feed by mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tilth.cli import papers_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tilth.papers.measured import Measured
    from tilth.papers.paper import Paper

command = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Papers: import, search, what is new and talked about, and by e-mail.",
)

LibraryFile = Annotated[str, typer.Option("--library", help="The library's file; else your own.")]
Results = Annotated[str, typer.Option(help="The folder of results.")]
Family = Annotated[str, typer.Option(help="Only papers of a family, as `corpus`.")]
Verdict = Annotated[str, typer.Option(help="Only papers of a verdict, as `holds`.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many papers.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
# Reasons of bad entries that people are shown.
SHOWN = 20


@command.command("import")
def import_(
    given: Annotated[
        list[str], typer.Argument(help="Files, or addresses (http, https) that are then fetched.")
    ],
    format: Annotated[
        str, typer.Option(help="bibtex, atom, jsonl or huggingface; else it is looked for.")
    ] = "",
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """Import papers: BibTeX, Atom of arXiv, JSON lines, a saved papers page of Hugging Face.

    A bad entry costs itself and is listed with its reason. What is there already, under its title
    or slug, is not added again, but takes in an abstract, authors or a year that it lacked.
    Nothing is fetched unless an address is given.

    Examples:

        tilth papers import references.bib

        tilth papers import papers.jsonl feed.xml saved-page.html

        tilth papers import https://arxiv.org/abs/2308.16369 --json
    """
    from dataclasses import asdict

    from tilth.cli.output import ProgressLines, emit, info
    from tilth.errors import DataError, TilthError
    from tilth.papers.builtin import open_library
    from tilth.papers.importing import import_papers, is_address

    opened, done, failed = open_library(library), [], []
    progress = ProgressLines(quiet=json)
    for one in given:
        if is_address(one) and not json:
            info(f"fetching {one}")
        try:
            done.append(import_papers(opened, one, format, progress))
        except TilthError as error:
            failed.append(error)
    progress.close()
    if not emit({"imported": [asdict(one) for one in done], "failed": [*map(str, failed)]}, json):
        for found in done:
            info(f"{found.source}: {found.added:,} added, {found.merged:,} joined to papers that "
                 f"were there, {found.known:,} known, {found.bad:,} bad")  # fmt: skip
            for reason in found.reasons[:SHOWN]:
                info(f"  {reason.where}: {reason.reason}")
            if found.bad > SHOWN:
                info(f"  ... and {found.bad - SHOWN:,} more")
    if failed and len(given) == 1:
        raise failed[0]
    if failed:
        lines = "; ".join(str(error) for error in failed)
        raise DataError(f"{len(failed)} of {len(given)} were not imported: {lines}")


@command.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in any words.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many answers.")] = 5,
    using: Annotated[str, typer.Option("--with", help="both, words or meaning.")] = "both",
    family: Family = "",
    verdict: Verdict = "",
    encoder: Annotated[
        str, typer.Option(help="A folder with an encoder for the meaning; else tilth's own.")
    ] = "",
    results: Results = "results",
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """Search the papers by words and by meaning, offline.

    Examples:

        tilth papers search "was this text in the training data?"

        tilth papers search "padding wastes time" -k 3 --with words

        tilth papers search "train longer on old data" --family pretrain --json
    """
    from tilth.cli.output import emit, info
    from tilth.papers.builtin import open_library
    from tilth.papers.measured import verdict_of
    from tilth.papers.search import search as find

    measured = _measured(results)
    choice = {"family": family, "verdict": verdict, "measured": measured}
    hits = find(open_library(library), query, k, encoder or None, using, **choice)
    told = [{"rank": hit.rank, "score": hit.score, **_told(hit.paper, measured)} for hit in hits]
    if emit({"query": query, "with": using, "hits": told}, json):
        return
    if not hits:
        info("no paper holds any of these words" if using == "words" else "nothing was found")
    for hit in hits:
        info(f"{hit.rank}. {hit.paper.title}{_year(hit.paper)}")
        about = [hit.paper.id, hit.paper.family, verdict_of(measured, hit.paper.id)]
        info("   " + "  ".join(word for word in about if word))
        info("   " + _short(hit.paper.summary or hit.paper.abstract))


@command.command()
def show(
    id: Annotated[str, typer.Argument(help="A paper's id, as search and lists show it.")],
    results: Results = "results",
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """Show a paper: summary, your own abstract, what it claims and what was measured here.

    Examples:

        tilth papers show spgc

        tilth papers show min-k --json
    """
    from tilth.cli.output import emit, info
    from tilth.evaluation.results import interval, number
    from tilth.papers.builtin import open_library
    from tilth.papers.measured import NOT_BUILT

    paper, measured = open_library(library).paper(id), _measured(results)
    if emit({"paper": _told(paper, measured, whole=True)}, json):
        return
    info(paper.title + _year(paper))
    if paper.authors:
        info(", ".join(paper.authors[:10]) + (" and others" if len(paper.authors) > 10 else ""))
    for text in (paper.address, paper.summary):
        if text:
            info(text)
    if paper.abstract:
        info(f"\nAbstract (from your library, {paper.source}):\n{paper.abstract}")
    info(f"\nadded {paper.day}, {paper.source}, {paper.votes:,} vote{_s(paper.votes)}")
    known = measured.get(paper.id)
    if known is None:
        info(f"{NOT_BUILT}: no system measures it here")
        return
    info(f"\nclaim: {known.claim}")
    stale = "; STALE: the code changed since" if known.stale else ""
    info(f"verdict: {known.verdict}" + (f" ({known.date[:10]}{stale})" if known.date else ""))
    if known.primary is not None:
        one = known.primary
        told = {"ci_low": one.ci_low, "ci_high": one.ci_high}
        info(f"  {one.metric}, {one.method} against {one.baseline}: difference "
             f"{number(one.difference)}, 95 % interval {interval(told)}, margin "
             f"{number(one.margin)}")  # fmt: skip
        figure = "paper's figure not quoted" if one.paper is None else f"paper: {one.paper:g}"
        info(f"  {figure}")
    info(f"the method alone: {known.part}")
    info(f"measure it again: {known.command}")


@command.command()
def new(
    day: Annotated[str, typer.Option(help="The papers of a day (2026-11-30, UTC).")] = "",
    family: Family = "",
    verdict: Verdict = "",
    limit: Limit = 20,
    results: Results = "results",
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """List the papers of a day, the last one that has any, and name the days before and after.

    With --verdict all days are looked through, the newest first.

    Examples:

        tilth papers new

        tilth papers new --family corpus --limit 5

        tilth papers new --verdict "does not hold here" --json
    """
    from tilth.cli.output import emit, info
    from tilth.errors import UsageError
    from tilth.papers.builtin import open_library
    from tilth.papers.feed import day_page

    if day and verdict:
        raise UsageError("one of --day and --verdict at a time")
    opened, measured = open_library(library), _measured(results)
    if verdict:
        choice: dict[str, Any] = {"family": family, "verdict": verdict, "measured": measured}
        papers, total = opened.papers(**choice, limit=limit), opened.count(**choice)
        told = {"verdict": verdict, "total": total}
    else:
        page = day_page(opened, day, family=family, limit=limit)
        papers, total = page.papers, page.total
        told = {"day": page.day, "total": total, "previous": page.previous, "next": page.next}
    if emit({**told, "papers": [_told(paper, measured) for paper in papers]}, json):
        return
    _list(str(told.get("day") or verdict), papers, measured)
    if total > len(papers):
        info(f"... and {total - len(papers):,} more (--limit)")
    for word in ("previous", "next"):
        if told.get(word):
            info(f"{word}: tilth papers new --day {told[word]}")


@command.command()
def trending(
    family: Family = "",
    limit: Limit = 20,
    results: Results = "results",
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """List the papers that imports, votes and new results speak of; each fades by half in a week.

    Examples:

        tilth papers trending

        tilth papers trending --family serving --limit 5 --json
    """
    from tilth.cli.output import emit
    from tilth.papers.builtin import open_library
    from tilth.papers.feed import talked_about

    opened, measured = open_library(library), _measured(results)
    found = talked_about(opened, measured, family=family, limit=limit)
    told = [{"score": score, **_told(paper, measured)} for paper, score in found]
    if emit({"papers": told}, json):
        return
    _list("Trending", [paper for paper, _ in found], measured, [score for _, score in found])


@command.command()
def vote(
    id: Annotated[str, typer.Argument(help="A paper's id, as search and lists show it.")],
    back: Annotated[bool, typer.Option("--back", help="Take the vote back.")] = False,
    library: LibraryFile = "",
    json: Json = False,
) -> None:
    """Vote for a paper, once; the command line is one visitor.

    Examples:

        tilth papers vote spgc

        tilth papers vote spgc --back
    """
    from tilth.cli.output import emit, info
    from tilth.papers.builtin import open_library

    opened, visitor = open_library(library), "the command line"
    votes = opened.withdraw(id, visitor) if back else opened.vote(id, visitor)
    if not emit({"id": id, "votes": votes, "voted": not back}, json):
        info(f"{id} has {votes:,} vote{_s(votes)}")


command.command("subscribe")(papers_digest.subscribe)
command.command("digest")(papers_digest.digest)


def _measured(results: str) -> Mapping[str, Measured]:
    from tilth.report.papers import measured_papers

    return measured_papers(results)


def _told(paper: Paper, measured: Mapping[str, Measured], whole: bool = False) -> dict[str, Any]:
    """A paper as JSON; `whole` with all that was measured and the user's own abstract."""
    from dataclasses import asdict

    from tilth.papers.measured import verdict_of

    told = {**asdict(paper), "verdict": verdict_of(measured, paper.id)}
    if not whole:
        del told["abstract"]
        return told
    known = measured.get(paper.id)
    return {**told, "measured": asdict(known) if known else None}


def _list(
    title: str,
    papers: Sequence[Paper],
    measured: Mapping[str, Measured],
    scores: Sequence[float] = (),
) -> None:
    from tilth.cli.output import table
    from tilth.papers.measured import verdict_of

    rows = [
        [paper.id, paper.family, paper.year, verdict_of(measured, paper.id), paper.votes,
         paper.title]
        for paper in papers
    ]  # fmt: skip
    header = ["id", "family", "year", "verdict", "votes", "title"]
    if scores:
        header, rows = ["score", *header], [[f"{s:.2f}", *row] for s, row in zip(scores, rows)]
    table(title, header, rows)


def _year(paper: Paper) -> str:
    return f" ({paper.year})" if paper.year else ""


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200].rpartition(" ")[0] + " ..."


def _s(count: int) -> str:
    return "" if count == 1 else "s"
