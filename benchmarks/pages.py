"""The papers pages with many papers: seconds of each page, and what a browser has to load for it.

Run: python benchmarks/pages.py [--papers 10000] [--repeats 25]. Prints a table and, last, one JSON
object. A library is filled with papers of made titles and summaries, a server is started as people
start it, and each page is asked for one after the other over one connection: the first time, then
the median and the 95th percentile, by the clock. Weight: the page, its style and its script, as
they are sent (nothing is compressed).

Gate: the first page under 0.3 s, its first time as well, and under 300 kB.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tilth.papers.builtin import open_library
from tilth.papers.paper import made_paper

PAGES = {
    "first page": "/papers",
    "trending": "/papers?order=trending",
    "a family": "/papers?family=corpus",
    "a verdict": "/papers?verdict=holds",
    "page 300": "/papers?page=300",
    "a day": "/day/{day}",
    "search by words": "/papers?q=language+model+data&how=words",
    "search by meaning": "/papers?q=which+texts+a+model+has+seen&how=meaning",
    "search by both": "/papers?q=which+texts+a+model+has+seen",
    "a paper": "/papers/bert2bert",
    "board": "/board",
}
WORDS = (
    "language model data corpus training retrieval document search token attention cache decoding "
    "web text quality filter duplicate benchmark claim measure seed method baseline question answer"
).split()
SECONDS, BYTES = 0.3, 300_000


def fill(path: Path, count: int) -> str:
    """A library of so many papers over 400 days; the last day but one."""
    draw = random.Random(1)
    library = open_library(path)
    families = [name for name in library.families() if name]
    today = datetime.now(UTC)
    for back in range(400):
        papers = [
            made_paper(
                f"Paper {back} {number}: " + " ".join(draw.choices(WORDS, k=8)),
                authors=[f"{word.title()} {draw.choice(WORDS).title()}" for word in WORDS[:5]],
                year=draw.randrange(2000, 2026), family=draw.choice(families), source="made",
                summary=" ".join(draw.choices(WORDS, k=55)),
                abstract=" ".join(draw.choices(WORDS, k=180)),
            )
            for number in range(count // 400)
        ]  # fmt: skip
        library.add(papers, at=today - timedelta(days=back))
    for id in draw.sample(list(library.texts()), 300):
        library.vote(id, f"visitor {draw.randrange(50)}", at=today)
    return (today - timedelta(days=1)).date().isoformat()


def measured(port: int, path: str, repeats: int) -> tuple[list[float], int]:
    """Seconds of each time, the first in front; bytes of the page with what it loads."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    seconds, text = [], ""
    for _ in range(repeats + 1):
        began = time.perf_counter()
        connection.request("GET", path, headers={"accept": "text/html"})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8")
        seconds.append(time.perf_counter() - began)
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
    weight = len(text.encode("utf-8"))
    for name in sorted(set(re.findall(r'(?:href|src)="(/static/[^"]+)"', text))):
        connection.request("GET", name)
        weight += len(connection.getresponse().read())
    return seconds, weight


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--papers", type=int, default=10_000)
    words.add_argument("--repeats", type=int, default=25)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "papers.sqlite"
        day = fill(path, given.papers)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "tilth", "serve", "--port", "0"], stdout=subprocess.PIPE,
            text=True, env={**os.environ, "TILTH_LIBRARY": str(path), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            start = time.perf_counter() - began
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, line
            port = int(found[1])
            print(f"{given.papers:,} papers and the built-in ones; the server answers after "
                  f"{start:.2f} s")  # fmt: skip
            print(f"{'page':20} {'first':>8} {'median':>8} {'95 %':>8} {'kB':>6}   milliseconds")
            figures: dict[str, float] = {"papers": given.papers, "start_seconds": round(start, 3)}
            for name, address in PAGES.items():
                seconds, weight = measured(port, address.format(day=day), given.repeats)
                first, rest = seconds[0], sorted(seconds[1:])
                median, high = statistics.median(rest), rest[int(0.95 * (len(rest) - 1))]
                print(f"{name:20} {first * 1e3:8.1f} {median * 1e3:8.1f} {high * 1e3:8.1f} "
                      f"{weight / 1000:6.1f}")  # fmt: skip
                key = name.replace(" ", "_")
                figures |= {f"{key}_first_ms": round(first * 1e3, 1),
                            f"{key}_median_ms": round(median * 1e3, 1),
                            f"{key}_p95_ms": round(high * 1e3, 1),
                            f"{key}_bytes": weight}  # fmt: skip
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    held = figures["first_page_first_ms"] < 1000 * SECONDS and figures["first_page_bytes"] < BYTES
    print(f"first page under {SECONDS} s and {BYTES // 1000} kB: {'yes' if held else 'NO'}")
    print(json.dumps(figures))
    if not held:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
