"""The side of tilth in `curate.py`, in a process of its own: only public calls, one worker.

Run: python _tilth_curate.py JOB; as `_datatrove.py`, it prints one JSON object, with the CPU
seconds of the work: after imports, with the compiled code loaded.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path


def cpu_seconds() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def batches(path: str):
    """The documents of a JSON Lines file as Arrow batches."""
    from pyarrow import json as arrow_json

    table = arrow_json.read_json(path, arrow_json.ReadOptions(use_threads=False))
    return table.to_batches(max_chunksize=1024)


def conditions() -> dict[str, str]:
    from tilth.signals.rule_sets import RULE_SETS

    chain = ("gopher_repetition", "gopher_quality", "c4", "fineweb_after_c4")
    return {name: text for part in chain for name, text in RULE_SETS[part].items()}


def rules(job: dict) -> None:
    """Read, measure, decide, write what is kept as it is."""
    import pyarrow as pa

    from tilth.corpus.rules import Rule, decide
    from tilth.signals.web_rules import WebRules

    signal = WebRules(job["words"])
    documents = batches(job["input"])
    measured = pa.Table.from_batches([signal.measure(batch) for batch in documents])
    table = pa.Table.from_batches(documents)
    measured = measured.append_column("id", table.column("id"))
    decisions = decide(measured, Rule(conditions(), keep_by="gopher_tokens"))
    kept = table.filter(decisions.column("kept"))
    with open(job["output"], "w", encoding="utf-8") as target:
        for batch in kept.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                target.write(json.dumps(row, ensure_ascii=False) + "\n")


def decide_each(job: dict) -> None:
    """What each condition, each set and all together say of each document; not timed."""
    import pyarrow as pa

    from tilth.corpus.rules import Rule, decide
    from tilth.signals.rule_sets import RULE_SETS
    from tilth.signals.web_rules import WebRules

    documents = batches(job["input"])
    measured = pa.Table.from_batches([WebRules(job["words"]).measure(b) for b in documents])
    ids = pa.array([f"{number:09d}" for number in range(measured.num_rows)])
    measured = measured.append_column("id", ids)
    rows = [{"rules": {}, "sets": {}} for _ in range(measured.num_rows)]
    for name, part in RULE_SETS.items():
        decisions = decide(measured, Rule(part, keep_by="gopher_tokens")).to_pylist()
        for row, decision in zip(rows, decisions, strict=True):
            failed = {*decision["reasons"], *decision["unknown"]}
            row["rules"].update({condition: condition not in failed for condition in part})
            row["sets"][name] = decision["passed"]
    chain = ("gopher_quality", "gopher_repetition", "c4", "fineweb_after_c4")
    tokens = measured.column("gopher_tokens").to_pylist()
    with open(job["output"], "w", encoding="utf-8") as target:
        for row, count in zip(rows, tokens, strict=True):
            row["all"] = all(row["sets"][name] for name in chain)
            row["numbers"] = {"tokens": count}
            target.write(json.dumps(row) + "\n")


def near(job: dict):
    from tilth.corpus.near_duplicates import NearDuplicates

    return NearDuplicates(**job.get("near", {}))


def signatures(job: dict) -> None:
    """Read, and sign each document; datatrove's side also writes its signatures to files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    method = near(job)
    signed = [method.fingerprint(batch) for batch in batches(job["input"])]
    pq.write_table(pa.Table.from_batches(signed), job["output"])


def corpus(job: dict):
    from tilth.corpus.corpus import Corpus
    from tilth.corpus.executors import LocalExecutor

    made = Corpus(Path(job["folder"]) / "corpus", executor=LocalExecutor(1))
    made.add([job["input"]])
    return made


def chain(job: dict) -> None:
    """A corpus: read, near-duplicates, select, write what is kept."""
    from tilth.corpus.export import export
    from tilth.corpus.rules import Rule

    made = corpus(job)
    made.find_duplicates(near(job))
    made.select(Rule({}, keep_by="position"))
    export(made, job["output"])


def pipeline(job: dict) -> None:
    """A corpus: read, rules, near-duplicates, select, write what is kept."""
    from tilth.corpus.export import export
    from tilth.corpus.rules import Rule
    from tilth.signals.web_rules import WebRules

    made = corpus(job)
    made.measure([WebRules()])
    made.find_duplicates(near(job))
    made.select(Rule(conditions(), keep_by="gopher_tokens"))
    export(made, job["output"])


JOBS = {
    "rules": rules,
    "decide": decide_each,
    "signatures": signatures,
    "chain": chain,
    "pipeline": pipeline,
}


def warm_up(job: dict) -> None:
    """Import what the job needs and load the compiled code."""
    import pyarrow.parquet

    if job["job"] != "signatures":
        import duckdb  # noqa: F401
    if job["job"] in ("rules", "decide", "pipeline"):
        import sqlglot  # noqa: F401
    if job["job"] in ("rules", "decide", "signatures"):
        import pyarrow.json  # noqa: F401
    if job["job"] in ("rules", "decide", "pipeline"):
        from tilth.signals.web_rules import warm

        warm()
    if job["job"] in ("signatures", "chain", "pipeline"):
        from tilth.corpus.near_duplicates import warm

        warm()
    if job["job"] in ("chain", "pipeline"):
        import tilth.corpus.corpus
        import tilth.corpus.export
        import tilth.documents.read  # noqa: F401


def main() -> None:
    from tilth.cli import collect_seldom, leave

    collect_seldom()  # As each tilth command does, and it ends as they do.
    job = json.loads(sys.argv[1])
    warm_up(job)
    start = cpu_seconds()
    JOBS[job["job"]](job)
    print(json.dumps({"seconds": cpu_seconds() - start}))
    leave(0)


if __name__ == "__main__":
    main() if len(sys.argv) > 1 else print(__doc__)
