"""Ten times the documents: seconds, CPU seconds, memory of read, measure, near-duplicates, select.

Documents are made, seeded, from real texts (English novels, Wikipedia, web pages where the data
are there, else this Python's standard library): each is a row of passages of about 200 characters
from all over; one in four is a copy of another, one with 1-8 % of its words changed, or one inside
a boilerplate that many share.

Run: python benchmarks/scale.py [--documents 20000] [--times 10] [--workers 2]
     python benchmarks/scale.py --documents 1000000 --times 1
Each size runs in a process of its own. Prints a table and, last, one JSON object of its ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

# Seconds of ten times the documents may be eleven times as many.
GATE_TIMES = 1.1
STEPS = ("read", "measure", "near-duplicates", "select")
PASSAGE, CHUNK, ROW_GROUP = 200, 10_000, 2_000


def passages() -> tuple[list[str], list[str]]:
    """Passages of real texts, and where they are from."""
    import pyarrow.parquet as pq

    from tilth.store.cache import data_folders

    wanted = ("books_en/books.parquet", "wiki_plain/wiki_toy.parquet",
              "web_quality_human/web.parquet")  # fmt: skip
    texts: list[str] = []
    names: list[str] = []
    for folder in data_folders():
        for name in wanted:
            if (folder / name).is_file() and name not in names:
                texts += pq.read_table(folder / name, columns=["text"])["text"].to_pylist()
                names.append(name)
    if not texts:
        paths = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
        texts = [path.read_text("utf-8", "replace") for path in paths]
        names = ["standard library"]
    return [text[at : at + PASSAGE] for text in texts for at in range(0, len(text), PASSAGE)], names


def chunk(number: int, count: int, pool: list[str]) -> list[str]:
    """`count` documents; the same for the same number."""
    chance = random.Random(number)
    boilerplate = [" ".join(random.Random(-1 - n).choices(pool, k=2)) for n in range(20)]
    made: list[str] = []
    for _ in range(count):
        kind = chance.random()
        if kind < 0.75 or not made:
            made.append(
                "".join(chance.choices(pool, k=min(60, int(chance.lognormvariate(2, 0.6)) + 1)))
            )
            continue
        other = chance.choice(made)
        if kind < 0.83:
            made.append(other)
        elif kind < 0.92:
            words = other.split(" ")
            for _ in range(max(1, int(len(words) * chance.uniform(0.01, 0.08)))):
                words[chance.randrange(len(words))] = chance.choice(words)
            made.append(" ".join(words))
        else:
            made.append(f"{chance.choice(boilerplate)}\n{other}\n{chance.choice(boilerplate)}")
    return made


def write_documents(folder: Path, count: int) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pool, names = passages()
    folder.mkdir()
    for number, start in enumerate(range(0, count, CHUNK)):
        texts = chunk(number, min(CHUNK, count - start), pool)
        table = pa.table({"text": pa.array(texts, pa.large_string())})
        pq.write_table(table, folder / f"{number:05}.parquet", row_group_size=ROW_GROUP)
    return names


def processes() -> list[int]:
    """This process and those that it started."""
    found, parents = [os.getpid()], {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
                )
            except (OSError, IndexError):
                continue
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def cpu_seconds() -> float:
    """User and system, of this process, of those that it waited for, and of those that run."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    for process in processes()[1:]:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def peak_megabytes() -> float:
    """The highest that each process ever held, added up: not less than they held together."""
    total = 0
    for process in processes():
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return total / 1e3


def run(documents: Path, folder: Path, workers: int) -> dict[str, object]:
    """Every step once; what each took."""
    from tilth.corpus.corpus import Corpus
    from tilth.corpus.executors import LocalExecutor
    from tilth.corpus.near_duplicates import NearDuplicates, warm
    from tilth.corpus.rules import Rule
    from tilth.signals.length import Length
    from tilth.signals.repetition import Repetition

    warm()
    corpus = Corpus(folder, executor=LocalExecutor(workers))
    rule = Rule({"long enough": "words >= 50", "repeats little": "duplicate_line_share <= 0.5"})
    work = {
        "read": lambda: corpus.add([documents]),
        "measure": lambda: corpus.measure([Length(), Repetition()]),
        "near-duplicates": lambda: corpus.find_duplicates(NearDuplicates()),
        "select": lambda: corpus.select(rule),
    }
    result: dict[str, object] = {}
    for step in STEPS:
        start, cpu = time.perf_counter(), cpu_seconds()
        made = work[step]()
        result[step] = {
            "seconds": time.perf_counter() - start,
            "cpu": cpu_seconds() - cpu,
            "peak_megabytes": peak_megabytes(),
        }
        if step == "near-duplicates":
            result["found"] = made
    stats = corpus.stats()
    result["documents"], result["kept"] = stats["kept"] + stats["dropped"], stats["kept"]
    result["bytes"] = list(stats["layers"].values())[-1]["bytes"]
    return result


def measured(count: int, workers: int) -> dict[str, object]:
    """The same in a process of its own, on documents made for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_documents(folder / "documents", count)
        words = [sys.executable, __file__, "--run", name, "--workers", str(workers)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        return {"texts": names, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=10, help="1: this size only")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        base = Path(given.run)
        print(json.dumps(run(base / "documents", base / "corpus", given.workers)))
        return
    # The first run of all also warms the machine.
    counts = sorted({given.documents, given.documents * given.times})
    results = [measured(count, given.workers) for count in counts]
    print(f"{'documents':>10} {'step':16} {'seconds':>9} {'CPU s':>9} {'peak MB':>9}")
    for result in results:
        for step in STEPS:
            row = result[step]
            print(
                f"{result['documents']:10,} {step:16} {row['seconds']:9.1f} {row['cpu']:9.1f} "
                f"{row['peak_megabytes']:9.0f}"
            )
        print(f"{'':10} found {result['found']}, kept {result['kept']:,}")
    ratios: dict[str, object] = {"documents": counts}
    if len(results) > 1:
        few, many = results[0], results[-1]
        times = many["documents"] / few["documents"]
        for kind in ("seconds", "cpu"):
            totals = [sum(result[step][kind] for step in STEPS) for result in (few, many)]
            ratios[f"{kind}_times"] = round(totals[1] / totals[0], 2)
        ratios["memory_times"] = round(
            many[STEPS[-1]]["peak_megabytes"] / few[STEPS[-1]]["peak_megabytes"], 2
        )
        ratios["passed"] = ratios["cpu_times"] <= GATE_TIMES * times
    print(json.dumps({"benchmark": "scale", "ratios": ratios, "runs": results}))
    sys.exit(0 if ratios.get("passed", True) else 1)


if __name__ == "__main__":
    main()
