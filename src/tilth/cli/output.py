"""What commands print: tables and lines for people, JSON for programs; progress on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def emit(value: Any, as_json: bool) -> bool:
    """Print a JSON value on standard output where JSON was asked for; says whether it did."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")
    return as_json


def info(text: str = "") -> None:
    """One line for people on standard output."""
    sys.stdout.write(printable(text) + "\n")


def printable(text: str) -> str:
    # Text of documents goes to terminals: control characters would be obeyed there.
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table: drawn on a terminal, tab-separated with a header line elsewhere."""
    cells = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [list(columns), *cells]:
            info("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title or None, title_justify="left")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*(escape(cell) for cell in row))
    Console().print(drawn)


def quantile_table(quantiles: Mapping[str, Mapping[str, float | None]]) -> None:
    """Quantiles of measured columns, one line a column."""
    names = ("0.05", "0.5", "0.95")
    rows = [
        [column, *("" if found[name] is None else f"{found[name]:.4g}" for name in names)]
        for column, found in quantiles.items()
    ]
    table("Measured", ["column", "5 %", "median", "95 %"], rows)


class ProgressLines:
    """Progress on standard error: a live line on a terminal, else a line each 10 % or 30 s."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._live = (
            not quiet and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
            and os.environ.get("TTY_INTERACTIVE", "1") != "0"
        )  # fmt: skip
        self._step, self._shown, self._since, self._line = "", -1, 0.0, 0
        self._began = time.monotonic()

    def __call__(self, step: str, done: int, total: int) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if step != self._step:
            self.close()
            self._step, self._shown, self._since, self._began = step, -1, 0.0, now
        tenth = done * 10 // total if total else 0
        line = f"{step} {done:,}/{total:,}" if total else f"{step} {done:,}" if done else step
        if self._live:
            if 0 < done < total and now > self._began:
                line += f", {(now - self._began) / done * (total - done):.0f} s left"
            sys.stderr.write("\r" + line.ljust(self._line))
            self._line = len(line)
        elif tenth != self._shown or now - self._since > 30:
            sys.stderr.write(line + "\n")
            self._since = now
        self._shown = tenth
        sys.stderr.flush()

    def close(self) -> None:
        if self._live and self._line:
            sys.stderr.write("\n")
            self._line = 0
