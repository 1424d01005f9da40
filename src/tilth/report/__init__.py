"""The report of a run folder: what the documents are and what they are good for.

`facts` reads the corpus, `findings` says it in sentences, `html` draws the JSON and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus


def write_report(
    folder: str | Path,
    corpus: Corpus,
    evaluation: dict[str, Any] | None,
    *,
    title: str,
    installation: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write report.json, report.html and, last, the manifest; returns the JSON.

    evaluation: what was measured (bits, curve, training, search, curation); what is missing there
    is called "not measured yet". installation: file count and digest where the documents are the
    Python installation. The same corpus and evaluation give the same bytes.
    """
    from tilth.report.facts import gather
    from tilth.report.findings import judge
    from tilth.report.html import draw
    from tilth.report.wording import plain_json
    from tilth.store.manifest import NAME, write_manifest
    from tilth.store.write import write_json, write_text

    folder = Path(folder)
    plan = folder.parent / "plan.resolved.toml"
    report = gather(corpus)
    report.update(
        title=title,
        installation=installation,
        evaluation=evaluation or {},
        plan=plan.read_text("utf-8") if plan.is_file() else None,
    )
    report = plain_json(report)
    report["first_screen"] = plain_json(judge(report))
    # Until the new manifest is there, an older report is visibly unfinished.
    (folder / NAME).unlink(missing_ok=True)
    write_json(folder / "report.json", report)
    write_text(folder / "report.html", draw(report))
    write_manifest(folder, ["report.html", "report.json"], kind="report")
    return report
