"""Search in the browser under load: wrk with many connections, no error, latencies, memory flat.

Run: python benchmarks/pages_load.py [--run RUN] [--seconds 30] [--connections 100]. Prints a table
and, last, one JSON object. `tilth serve` is started as people start it and asked for the page of a
search, each time with other words: two to four that stand near each other in a document of the run.
Without --run a small one is built of made documents. Latencies are those that wrk measures from
this machine, so they hold the time that wrk itself takes of its cores; memory is that of the
server's process, once a second, after some seconds of the same load. Skips, saying so, where wrk
is not installed (Debian: wrk).

Gate: no error of any kind, and memory at the end at most 5 % above that of the first half.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from tilth.build.plan import Plan
from tilth.build.run import Run, build
from tilth.testing.mixed import SMALL_PLAN, write_mixed

QUERIES = 2000
DOCUMENTS = 1000
FLAT = 1.05
WARM = 5  # seconds of load that are not measured
SCRIPT = """
local paths = {}
for line in io.lines("PATHS") do paths[#paths + 1] = line end
local at = math.random(#paths)
request = function()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'FOUND {"requests":%d,"microseconds":%d,"bytes":%d,"p50":%d,"p95":%d,"p99":%d,"most":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50),
    latency:percentile(95), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


def queries(run: Run, count: int, using: str) -> list[str]:
    """Paths of searches; the words of each stand near each other in some document."""
    chance = random.Random(1)
    texts = [document.text for document in run.corpus.documents(kept=True)]
    found: list[str] = []
    while len(found) < count:
        text = chance.choice(texts)
        at = chance.randrange(max(1, len(text) - 200))
        words = [word for word in text[at : at + 200].split()[1:-1] if word.isalnum()]
        if words:
            size = min(len(words), chance.randint(2, 4))
            found.append("/search?" + urlencode({"q": " ".join(words[:size]), "with": using}))
    return found


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """The address of a server of a run, and its process id."""
    words = [sys.executable, "-m", "tilth", "serve", str(folder), "--port", "0", "--json"]
    with tempfile.TemporaryDirectory() as papers:
        library = Path(papers) / "papers.sqlite"
        process = subprocess.Popen([*words, "--set", f"library={library}"],
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        try:
            yield announced(process), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def announced(process: subprocess.Popen) -> str:
    """The address that a server prints as it starts, in a JSON object of several lines."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(said)["url"]
    sys.exit("the server did not start")


def resident(pid: int) -> float:
    """Megabytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def loaded(url: str, pid: int, paths: list[str], connections: int, seconds: int) -> dict:
    """What wrk found, with the server's memory second by second."""
    memory: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            memory.append(resident(pid))

    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "paths"
        names.write_text("\n".join(paths) + "\n")
        script = Path(folder) / "search.lua"
        script.write_text(SCRIPT.replace("PATHS", str(names)))
        watcher = threading.Thread(target=watch)
        watcher.start()
        words = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s",
                 "-s", str(script), url]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True)
        over.set()
        watcher.join()
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not lines:
        sys.exit(f"wrk failed: {done.stdout}{done.stderr}")
    return {**json.loads(lines[0].removeprefix("FOUND ")), "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="", help="a run folder; else a small one is built")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--with", dest="using", default="lexical")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        print("skipped: wrk is not installed (Debian: apt-get install wrk)")
        print(json.dumps({"skipped": "wrk is not installed"}))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = Run(given.run) if given.run else small_run(Path(folder))
        paths = queries(run, QUERIES, given.using)
        with served(run.folder) as (url, pid):
            alone = []
            for path in paths[:100]:
                began = time.perf_counter()
                with urllib.request.urlopen(url + path) as answer:
                    page = answer.read()
                alone.append(1000 * (time.perf_counter() - began))
            assert b"<mark>" in page
            # Until threads and texts are there, memory grows as it should.
            loaded(url, pid, paths, given.connections, WARM)
            found = loaded(url, pid, paths, given.connections, given.seconds)
        documents = len(run.index)
    report(found, alone, documents, given)


def small_run(folder: Path) -> Run:
    """A run of made documents."""
    write_mixed(folder / "documents", count=DOCUMENTS)
    plan = Plan().with_settings([*SMALL_PLAN, "dense.pairs=0", "evaluate.curation_tokens=0"])
    return build(folder / "documents", folder / "run", plan=plan)


def report(found: dict, alone: list[float], documents: int, given: argparse.Namespace) -> None:
    """The table, the JSON object, the gate."""
    seconds = found["microseconds"] / 1e6
    errors = {name: found[name] for name in ("connect", "read", "write", "status", "timeout")}
    memory = found["memory"]
    half = statistics.median(memory[: max(1, len(memory) // 2)])
    last = statistics.median(memory[-max(1, len(memory) // 10) :])
    made = {
        "documents": documents, "with": given.using, "connections": given.connections,
        "seconds": round(seconds, 1), "requests": found["requests"],
        "requests_per_second": round(found["requests"] / seconds, 1),
        "p50_ms": round(found["p50"] / 1000, 1), "p95_ms": round(found["p95"] / 1000, 1),
        "p99_ms": round(found["p99"] / 1000, 1), "most_ms": round(found["most"] / 1000, 1),
        "alone_p50_ms": round(statistics.median(alone), 1),
        "alone_p95_ms": round(sorted(alone)[int(0.95 * len(alone))], 1),
        "errors": sum(errors.values()), "memory_mb_first_half": round(half),
        "memory_mb_end": round(last), "memory_ratio": round(last / half, 3),
    }  # fmt: skip
    for name, value in made.items():
        print(f"{name.replace('_', ' '):24} {value:>12}")
    print(json.dumps(made))
    if sum(errors.values()):
        sys.exit(f"gate missed: errors {errors}")
    if last > FLAT * half:
        sys.exit(f"gate missed: memory grew from {half:.0f} to {last:.0f} MB")


if __name__ == "__main__":
    main()
