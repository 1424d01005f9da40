"""Surgery: checkpoint -> new checkpoint on tensors with axis names.

Each surgery is a function `surgery(checkpoint, **parameters) -> Checkpoint` that changes nothing
in what it is given, and has beside it a `promise` with the same parameters: what must be equal
before and after. `tilth.models.surgery.run.operate` applies one and checks its promise.
"""

from __future__ import annotations

SURGERIES = {
    "widen": "tilth.models.surgery.widen:SURGERY",
    "deepen": "tilth.models.surgery.layers:DEEPEN",
    "truncate": "tilth.models.surgery.layers:TRUNCATE",
    "reinitialise": "tilth.models.surgery.reinitialise:SURGERY",
    "vocabulary": "tilth.models.surgery.vocabulary:SURGERY",
    "positions": "tilth.models.surgery.positions:POSITIONS",
    "rope-base": "tilth.models.surgery.positions:ROPE_BASE",
    "window": "tilth.models.surgery.positions:WINDOW",
    "sparsify": "tilth.models.surgery.sparse:SURGERY",
    "combine": "tilth.models.surgery.combine:SURGERY",
}
