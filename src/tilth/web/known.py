"""What the pages know of measurements: cards and results, read again where a result changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilth.evaluation.card import Card
from tilth.papers.measured import Measured
from tilth.report.papers import board_rows, measured_of, read_cards, sound_results


@dataclass(frozen=True)
class Facts:
    """Of one moment: cards and results by slug, what is measured, the rows of the board."""

    cards: Mapping[str, Card] = field(default_factory=dict)
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    measured: Mapping[str, Measured] = field(default_factory=dict)
    board: list[dict[str, Any]] = field(default_factory=list)


class Known:
    """`folder`: of results, as `tilth run` writes them; it may be missing."""

    def __init__(self, folder: str | Path) -> None:
        self._folder, self._lock = Path(folder), threading.Lock()
        self._cards = read_cards()
        self._seen: Any = None
        self._facts = Facts()

    @property
    def facts(self) -> Facts:
        """What holds now. A result that cannot be read is logged and left out."""
        with self._lock:
            files = sorted(self._folder.glob("*.json"))
            seen = [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
            if seen != self._seen:
                self._facts, self._seen = self._read(), seen
            return self._facts

    def _read(self) -> Facts:
        results = sound_results(self._folder, self._cards)
        measured = measured_of(self._cards, results)
        return Facts(self._cards, results, measured, board_rows(self._cards, results))
