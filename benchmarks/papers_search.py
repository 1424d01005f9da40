"""Search in the papers by words, by meaning and by both: 50 questions in other words than theirs.

Run: python benchmarks/papers_search.py [--encoder FOLDER]. Prints a table and, last, one JSON
object. The questions (tests/papers/questions.jsonl) were written from titles and abstracts by
someone who did not see the search, before it was built; each has one paper as its answer. The 98
built-in papers are searched as they are (title and summary) and, where ../shared/papers.jsonl is,
with their abstracts imported. The share of questions whose paper is among the first five, with an
interval (Wilson, 95 %), and whether both together beat the better one alone (bootstrap).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from math import sqrt
from pathlib import Path

import numpy as np

from tilth.papers.builtin import open_library
from tilth.papers.importing import import_papers
from tilth.papers.library import Library
from tilth.papers.search import WAYS, Search
from tilth.retrieval.fusion import judge

ROOT = Path(__file__).parents[1]
QUESTIONS = ROOT / "tests" / "papers" / "questions.jsonl"
TEXTS = ROOT.parent / "shared" / "papers.jsonl"
K = 5


def questions() -> list[tuple[str, str]]:
    """(question, id of its paper)."""
    rows = map(json.loads, QUESTIONS.read_text("utf-8").splitlines())
    return [(row["question"], row["slug"]) for row in rows]


def found_by(library: Library, encoder: str | None = None) -> dict[str, np.ndarray]:
    """Way to search -> 1 for each question whose paper is among the first five, else 0."""
    asked, made = questions(), Search(library, encoder)
    return {
        how: np.array(
            [slug in [hit.paper.id for hit in made(text, K, how)] for text, slug in asked]
        )
        * 1.0
        for how in WAYS
    }


def verdict(values: dict[str, np.ndarray]) -> dict:
    """Whether both together are better than the better one alone, which is named."""
    return judge({how: values[how] for how in ("words", "meaning")}, values["both"])


def wilson(hits: float, of: int) -> tuple[float, float]:
    share, z = hits / of, 1.96
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return middle - half, middle + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", help="the folder of an encoder, in place of tilth's own")
    encoder = parser.parse_args().encoder
    figures: dict = {"questions": len(questions()), "k": K}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TILTH_HOME"] = folder
        library = open_library(Path(folder) / "papers.sqlite")
        states = ["built in"] + (["abstracts"] if TEXTS.is_file() else [])
        print(f"{'texts':<10} {'search':<9} {'found':>5} {'of':>4} {'recall@5':>9}  95 % interval")
        for state in states:
            if state == "abstracts":
                import_papers(library, TEXTS)
            values = found_by(library, encoder)
            for how in ("words", "meaning", "both"):
                hits, of = values[how].sum(), len(values[how])
                low, high = wilson(hits, of)
                print(f"{state:<10} {how:<9} {hits:>5.0f} {of:>4} {hits / of:>9.2f}"
                      f"  [{low:.2f}, {high:.2f}]")  # fmt: skip
                figures[f"{state}, {how}"] = round(float(hits / of), 3)
            told = verdict(values)
            low, high = told["ci_low"], told["ci_high"]
            print(f"{state}: both against {told['best']} alone {told['difference']:+.2f} "
                  f"[{low:+.2f}, {high:+.2f}]: {told['verdict']}")  # fmt: skip
            figures[f"{state}, best single"] = told["best"]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
