"""Remake the frozen decisions of datatrove that the tests of `web_rules` compare with.

Run: python benchmarks/_freeze_web_rules.py --peer-python PATH
It makes the hard documents of tests/signals by code, asks datatrove about each, and writes
tests/signals/web_rules_decisions.json: decisions and counts, no text.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import runpy
import tempfile
from pathlib import Path

from _peer import peer, peer_python, peer_versions

TESTS = Path(__file__).parents[1] / "tests" / "signals"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="interpreter or environment folder with datatrove")
    python = peer_python(parser.parse_args().peer_python)
    texts = runpy.run_path(str(TESTS / "hard_documents.py"))["hard_documents"]()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "documents.jsonl", Path(folder) / "decisions.jsonl"
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        job = {"job": "decide", "input": str(source), "output": str(target), "numbers": True}
        peer(python, {**job, "words": "english"})
        rows = [json.loads(line) for line in target.read_text().splitlines()]
    names = list(rows[0]["rules"])
    lines = []
    for row in rows:
        failed = [number for number, name in enumerate(names) if row["rules"][name] is False]
        undefined = [number for number, name in enumerate(names) if row["rules"][name] is None]
        failed_sets = [name for name, passed in row["sets"].items() if not passed]
        found = {"failed": failed, "undefined": undefined, "sets": failed_sets, "all": row["all"]}
        lines.append(json.dumps({**found, **row["numbers"]}))
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    head = {"made_with": peer_versions(python), "documents": digest, "rules": names}
    body = ",\n".join(lines)
    text = json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n{body}\n]}}\n'
    json.loads(text)
    (TESTS / "web_rules_decisions.json").write_text(text)
    print(json.dumps({"documents": len(rows), "kept": sum(row["all"] for row in rows)}))


if __name__ == "__main__":
    main()
