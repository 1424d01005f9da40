"""Systems: one module a paper, with its card, arms, claims and invariants.

`SYSTEMS` is literal: slug -> module. Packages outside tilth add theirs by an entry point in the
group `tilth.systems`. No module is imported until its slug is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from tilth import lookup
from tilth.errors import UsageError, nearest

SYSTEMS = {
    "bioptimus": "tilth.systems.bioptimus",
    "budgetlongformer": "tilth.systems.budgetlongformer",
    "cacheblend": "tilth.systems.cacheblend",
    "casehold": "tilth.systems.casehold",
    "ad-bert": "tilth.systems.ad_bert",
    "bert2bert": "tilth.systems.bert2bert",
    "biomed-finetuning": "tilth.systems.biomed_finetuning",
    "finance-merge": "tilth.systems.finance_merge",
    "gottbert": "tilth.systems.gottbert",
    "kv-prediction": "tilth.systems.kv_prediction",
    "languini": "tilth.systems.languini",
    "legalturk": "tilth.systems.legalturk",
    "llm-decontaminator": "tilth.systems.llm_decontaminator",
    "min-k": "tilth.systems.min_k",
    "olmo2": "tilth.systems.olmo2",
    "perplexed": "tilth.systems.perplexed",
    "pie": "tilth.systems.pie",
    "prepacking": "tilth.systems.prepacking",
    "redwhale": "tilth.systems.redwhale",
    "qwen2.5": "tilth.systems.qwen25",
    "retro": "tilth.systems.retro",
    "rewarm": "tilth.systems.rewarm",
    "sarathi": "tilth.systems.sarathi",
    "sarathi-serve": "tilth.systems.sarathi_serve",
    "spdf": "tilth.systems.spdf",
    "spgc": "tilth.systems.spgc",
    "pearl": "tilth.systems.pearl",
    "superposed": "tilth.systems.superposed",
    "well-read-students": "tilth.systems.well_read_students",
}


def names() -> dict[str, str]:
    """All slugs with their modules, tilth's own and those of other packages."""
    return lookup.names("systems", SYSTEMS)


def load_system(slug: str) -> Any:
    """The module of a system; see `evaluation.card.System`. Raises UsageError, nearest slug."""
    known = SYSTEMS if slug in SYSTEMS else names()
    if slug not in known:
        raise UsageError(f"no system is called {slug!r}", hint=nearest(slug, known))
    return importlib.import_module(known[slug])
