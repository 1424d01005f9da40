"""Curation beside datatrove 0.10: rules for web text and near-duplicates, per CPU second.

Run: python benchmarks/curate.py [--peer-python PATH] [--documents N] [--table a] [--set books_en]
Prints tables and, last, one JSON object of ratios. Gates are printed as pass or miss; the exit
status says only whether everything ran. Without data sets the table says what is missing.

CPU seconds are user and system time of a process and its children, all threads. Three figures:
*after imports*, with tokenizer and compiled code loaded; *whole process*, start of the interpreter
and imports included; *cold*, the same for tilth where nothing is compiled yet (an empty cache).
Both sides run in one process with one worker and one thread; datatrove's interpreter has an
environment of its own, which is made (venv, pip) where `--peer-python` names none.

a. The four rule sets. datatrove: JSONL reader, Gopher repetition, Gopher quality, C4, FineWeb,
   JSONL writer; a document that one filter drops is not looked at by the next, and the text written
   is what C4 left of it. tilth: read the same file to Arrow, measure all columns of all documents
   (`web_rules`), decide by `rule_sets` (`fineweb_after_c4`), write the kept documents as they were.
   Agreement: each rule alone (datatrove's filter with the others switched off), each set, and all
   together, on each different document.
b. The same with both on one splitter: words between white space.
c. Near-duplicates. datatrove: signatures of 14 x 8 hashes written to files; buckets, clusters, and
   the documents left written (no pair is checked). tilth: signatures at 14 x 8 and at its own
   setting, written to Parquet; the chain is a Corpus: read, blocks written, bands, the true Jaccard
   of each pair, clusters, select, write.
d. The whole pipeline: datatrove's rules, then its near-duplicates among what they keep. tilth: a
   Corpus: read, `web_rules`, near-duplicates of all, select (one of a cluster), write. Parquet
   blocks, columns, quantiles and manifests are written on the way.

Messier sets are repeated to at least as many documents as asked for; each line with its id.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import sys
import sysconfig
import tempfile
import warnings
from collections import Counter
from importlib import metadata
from pathlib import Path

from _peer import peer, peer_python, peer_versions, run_child

from tilth.store.cache import data_folders

PIECE = 2000
RUNS = 3  # of tilth; datatrove takes minutes and runs once
GATES = {
    "rules after imports": 100,
    "rules whole process": 60,
    "rules cold": 15,
    "signatures after imports": 100,
    "near-duplicates whole process": 50,
    "pipeline whole process": 50,
}
AGREEMENT = 98.0
OWN = Path(__file__).with_name("_tilth_curate.py")


def tilth(job: dict, **environment: str) -> dict:
    return run_child([sys.executable, OWN], job, **environment)


# The documents.


def pieces(texts: list[str]) -> list[str]:
    return [text[i : i + PIECE] for text in texts for i in range(0, len(text), PIECE)]


def from_parquet(name: str) -> list[str]:
    import pyarrow.parquet as parquet

    for folder in data_folders():
        found = sorted((folder / name).glob("*.parquet"))
        if found:
            schema = parquet.read_schema(found[0])
            return parquet.read_table(found[0], columns=[_text_column(schema.names)])[0].to_pylist()
    return []


def _text_column(names: list[str]) -> str:
    return next(name for name in names if "text" in name)


def documentation(limit: int = 3000) -> list[str]:
    """READMEs of installed packages and docstrings of the standard library, of some length."""
    found = []
    for package in sorted(metadata.distributions(), key=lambda d: d.metadata["Name"].lower()):
        found.append(package.metadata.get_payload() or package.metadata.get("Description") or "")
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text("utf-8", "replace"))
        found += [ast.get_docstring(n) or "" for n in ast.walk(tree) if isinstance(n, nodes)]
    return [text for text in found if len(text) >= 200][:limit]


def data_sets(limit: int) -> dict[str, list[str]]:
    sets = {
        "books_en": pieces(from_parquet("books_en"))[:limit],
        "wiki_plain": pieces(from_parquet("wiki_plain"))[:limit],
        "web_quality_human": from_parquet("web_quality_human")[:limit],
        "documentation": documentation()[:limit],
    }
    for name, texts in sets.items():
        if not texts:
            print(f"{name}: no data here, left out")
    return {name: texts for name, texts in sets.items() if texts}


def write(path: Path, texts: list[str], at_least: int = 0) -> int:
    """JSON Lines with ids, the texts repeated as a whole until there are enough; how many."""
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        while count == 0 or count < at_least:
            for text in texts:
                row = {"text": text, "id": f"{count:09d}"}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
    return count


# The measurements.


class Bench:
    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        self.ratios: dict[str, object] = {}
        self.gates: dict[str, bool] = {}
        self.number = 0

    def fresh(self) -> str:
        self.number += 1
        place = self.folder / f"run-{self.number}"
        place.mkdir()
        return str(place)

    def peer(self, job: str, source: Path, **options) -> dict:
        place = self.fresh()
        made = {"job": job, "input": str(source), "folder": place, "output": f"{place}/out"}
        return peer(self.python, {"words": "english", **made, **options})

    def tilth(self, job: str, source: Path, runs: int = RUNS, cold: bool = False, **options):
        """Median of some runs."""
        found = []
        for _ in range(runs):
            place = self.fresh()
            made = {"job": job, "input": str(source), "folder": place, "output": f"{place}/out"}
            environment = {"NUMBA_CACHE_DIR": f"{place}/compiled"} if cold else {}
            found.append(tilth({"words": "english", **made, **options}, **environment))
        middle = {key: statistics.median(run[key] for run in found) for key in ("seconds", "whole")}
        return middle

    def line(self, name: str, other: float, own: float, gate: str | None = None) -> None:
        ratio = other / own
        self.ratios[name] = round(ratio, 1)
        said = ""
        if gate:
            self.gates[name] = ratio >= GATES[gate]
            said = f"gate {GATES[gate]}: {'pass' if self.gates[name] else 'MISS'}"
        print(f"{name:<54}{other:>10.2f}{own:>9.3f}{ratio:>9.1f}  {said}")

    def head(self, title: str) -> None:
        print(f"\n{title}\n{'':<54}{'datatrove':>10}{'tilth':>9}{'ratio':>9}  CPU seconds")

    def agreement(self, name: str, source: Path, words: str) -> None:
        """Compare decisions on different documents; prints those that differ."""
        place = self.fresh()
        job = {"job": "decide", "input": str(source), "words": words, "folder": place}
        peer(self.python, {**job, "output": f"{place}/theirs"})
        tilth({**job, "output": f"{place}/ours"})
        differ: Counter[str] = Counter()
        judged: Counter[str] = Counter()
        examples: dict[str, list[int]] = {}
        kept = 0
        with open(f"{place}/theirs") as theirs, open(f"{place}/ours") as ours:
            for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
                row, own = json.loads(one), json.loads(other)
                kept += row["all"]
                pairs = [(rule, row["rules"][rule], own["rules"][rule]) for rule in row["rules"]]
                pairs += [(f"set {s}", row["sets"][s], own["sets"][s]) for s in row["sets"]]
                pairs.append(("all four sets", row["all"], own["all"]))
                for rule, theirs_says, ours_says in pairs:
                    # A filter fails on a text without words; its own first rule drops it.
                    if theirs_says is None or own["numbers"]["tokens"] == 0:
                        continue
                    judged[rule] += 1
                    if theirs_says != ours_says:
                        differ[rule] += 1
                        examples.setdefault(rule, []).append(number)
        share = {rule: 100 * (1 - differ[rule] / judged[rule]) for rule in judged}
        least = min(share, key=lambda rule: share[rule])
        passed = share[least] >= AGREEMENT
        documents, together = judged["all four sets"], share["all four sets"]
        print(
            f"agreement on {name}, {documents:,} documents, {kept:,} kept by datatrove: "
            f"all {together:.2f} %, lowest {share[least]:.2f} % ({least}); "
            f"at least {AGREEMENT:.0f} %: {'pass' if passed else 'MISS'}"
        )
        for rule, count in differ.most_common():
            shown = ", ".join(map(str, examples[rule][:8]))
            print(f"    {rule}: {count} differ ({share[rule]:.2f} %), documents {shown}")
        key = f"agreement {name}" + ("" if words == "english" else " (blanks)")
        self.ratios[key] = {"all": together, "lowest": share[least], "rule": least}
        self.gates[key] = passed


def rules_table(bench: Bench, sets: dict[str, list[str]], at_least: int, words: str) -> None:
    label = "a. rules" if words == "english" else "b. rules, words between white space"
    bench.head(f"{label}: read, four rule sets, write")
    for name, texts in sets.items():
        if words == "blanks" and name != "books_en":
            continue
        different = bench.folder / f"{name}.jsonl"
        write(different, texts)
        source = bench.folder / f"{name}-repeated.jsonl"
        count = write(source, texts, 0 if name == "books_en" else at_least)
        theirs = bench.peer("rules", source, words=words)
        ours = bench.tilth("rules", source, words=words)
        gated = name == "books_en" and words == "english"
        tail = "" if words == "english" else ", blanks"
        first = f"{name}{tail}, {count:,}"
        line = bench.line
        gates = ["rules after imports", "rules whole process", "rules cold"]
        after, whole, cold = gates if gated else [None] * 3
        line(f"{first}: after imports", theirs["seconds"], ours["seconds"], after)
        line(f"{first}: whole process", theirs["whole"], ours["whole"], whole)
        if gated:
            first_run = bench.tilth("rules", source, runs=1, cold=True, words=words)
            line(f"{first}: cold", theirs["whole"], first_run["whole"], cold)
        bench.agreement(name, different, words)
        for path in {different, source}:
            path.unlink()


def near_table(bench: Bench, texts: list[str]) -> None:
    bench.head("c. near-duplicates on books_en")
    source = bench.folder / "books.jsonl"
    count = write(source, texts)
    signed = bench.peer("signatures", source)
    complete = bench.peer("chain", source)
    gate, whole = "signatures after imports", "near-duplicates whole process"
    for name, setting in (("14 x 8", {"bands": 14, "rows": 8}), ("tilth's own setting", {})):
        ours = bench.tilth("signatures", source, near=setting)
        first = f"{name}, {count:,}"
        bench.line(f"{first}: signatures after imports", signed["seconds"], ours["seconds"], gate)
        ours = bench.tilth("chain", source, near=setting)
        bench.line(f"{first}: chain after imports", complete["seconds"], ours["seconds"])
        bench.line(f"{first}: chain whole process", complete["whole"], ours["whole"], whole)
    source.unlink()


def pipeline_table(bench: Bench, texts: list[str]) -> None:
    bench.head("d. whole pipeline on books_en: read, rules, near-duplicates, select, write")
    source = bench.folder / "books.jsonl"
    count = write(source, texts)
    theirs, ours = bench.peer("pipeline", source), bench.tilth("pipeline", source)
    gate = "pipeline whole process"
    bench.line(f"pipeline, {count:,}: after imports", theirs["seconds"], ours["seconds"])
    bench.line(f"pipeline, {count:,}: whole process", theirs["whole"], ours["whole"], gate)
    first_run = bench.tilth("pipeline", source, runs=1, cold=True)
    bench.line(f"pipeline, {count:,}: cold", theirs["whole"], first_run["whole"])
    source.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter or environment folder with datatrove")
    parser.add_argument("--documents", type=int, default=20_000, help="most documents of a set")
    parser.add_argument("--table", action="append", choices=list("abcd"), help="only these tables")
    parser.add_argument("--set", action="append", help="only these sets; tables b to d: books_en")
    given = parser.parse_args()
    tables = given.table or list("abcd")
    python = peer_python(given.peer_python)
    print(f"peer: {peer_versions(python)}; {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    sets = data_sets(given.documents)
    if given.set:
        sets = {name: texts for name, texts in sets.items() if name in given.set}
    if not sets:
        parser.error("no documents of these sets are here")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(python, Path(folder))
        # Compiled code is made before anything is timed, but for the cold runs.
        small = bench.folder / "small.jsonl"
        write(small, next(iter(sets.values()))[:50])
        for job in ("rules", "pipeline"):
            bench.tilth(job, small, runs=1)
        if "a" in tables:
            rules_table(bench, sets, given.documents, "english")
        if "b" in tables and "books_en" in sets:
            rules_table(bench, sets, given.documents, "blanks")
        if "c" in tables and "books_en" in sets:
            near_table(bench, sets["books_en"])
        if "d" in tables and "books_en" in sets:
            pipeline_table(bench, sets["books_en"])
    print(json.dumps({**bench.ratios, "gates": bench.gates}))


if __name__ == "__main__":
    main()
