"""What a build measures: the learning curve beside the n-gram model, bits per byte, search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tilth.build.plan import Plan
from tilth.corpus.corpus import Corpus
from tilth.store.manifest import write_manifest
from tilth.store.write import write_json
from tilth.types import Progress

CURVE_POINTS = 6


def train(folder: Path, plan: Plan, progress: Progress) -> dict[str, Any]:
    """Train the decoder; score held-out text at points on the way, beside the n-gram model.

    The n-gram model at a point has seen the very rows that the decoder has seen up to there.
    """
    from tilth.evaluation.bits import bits_per_byte
    from tilth.models import decoder
    from tilth.objectives.causal import Causal
    from tilth.tokens.blocks import TokenBlocks
    from tilth.training.loop import fit

    raise NotImplementedError


def evaluate(folder: Path, plan: Plan, corpus: Corpus, progress: Progress) -> None:
    raise NotImplementedError
