"""What was measured of a paper, as pages and mails show it.

The mapping slug -> Measured is made where systems and results are known (`report.papers`), and
given to the feed as an argument: papers lie above systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NOT_BUILT = "not built yet"
NOT_MEASURED = "not measured yet"
# All words that a verdict can be; the last two are no verdicts of a measurement.
VERDICTS = (
    "holds", "direction only", "does not hold here", "undecided", NOT_MEASURED, NOT_BUILT,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Primary:
    """The primary claim as it was measured; see `evaluation.claims`.

    A positive `difference` means that the method is better. `paper`: the paper's own figure, None
    where it is not known for sure. The interval is None where the claim has none.
    """

    metric: str
    baseline: str
    method: str
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    margin: float
    paper: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A paper that has a system: what it claims, in our words, and what was measured here.

    `part`: what a user types to apply the method alone; `command` measures the claim again.
    `verdict` is one of `VERDICTS`, `date` and `primary` are empty until it is measured. `stale`:
    the code changed after the measurement.
    """

    slug: str
    family: str
    claim: str
    part: str
    command: str
    verdict: str = NOT_MEASURED
    date: str = ""
    primary: Primary | None = None
    stale: bool = False


def verdict_of(measured: Mapping[str, Measured], id: str) -> str:
    """The verdict of a paper; `not built yet` where it has no system."""
    found = measured.get(id)
    return found.verdict if found else NOT_BUILT
