"""The learning curve of a training: `curve.json` and `curve.svg`, the same bytes each time."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.store.write import read_json, write_bytes, write_json
from tilth.training.history import History, Point

LARGEST_PLOT = 2000
# Seconds between two drawings of a curve for people, and how many times the last one took.
SECONDS, SHARE = 5.0, 30


def smooth(values: Sequence[float], half_life: float = 10.0) -> np.ndarray:
    """Exponential mean, corrected for its start; `half_life` in points."""
    keep = 0.5 ** (1.0 / half_life)
    result = np.empty(len(values))
    mean = weight = 0.0
    for number, value in enumerate(values):
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        result[number] = mean / weight
    return result


def draw(history: History, *, title: str = "Training") -> bytes:
    """An SVG: loss of each step, its smoothed line, and the learning rate below."""
    import matplotlib
    from matplotlib.figure import Figure

    points = history.points[:: max(1, len(history.points) // LARGEST_PLOT)]
    tokens = [point.tokens for point in points]
    losses = [point.loss for point in points]
    with matplotlib.rc_context({"svg.hashsalt": "tilth", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        above.plot(tokens, losses, color="0.75", linewidth=0.8, label="each step")
        above.plot(tokens, smooth(losses), color="tab:green", label="smoothed")
        above.set(ylabel="loss, nats per token", title=title)
        above.legend(frameon=False)
        below.plot(tokens, [point.learning_rate for point in points], color="tab:gray")
        below.set(xlabel="tokens", ylabel="rate", ylim=(0, None))
        sink = io.BytesIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def write_curve(folder: str | Path, history: History, **fields: Any) -> None:
    """`curve.json` (the history, with `fields` beside it) and `curve.svg` in a folder."""
    folder = Path(folder)
    write_json(folder / "curve.json", {**fields, **history.to_dict()})
    write_bytes(folder / "curve.svg", draw(history))


def live(
    folder: str | Path, *, every: int = 50, seconds: float = 0.0, **fields: Any
) -> Callable[[Point], None]:
    """For `fit(on_step=...)`: both files are drawn anew after every so many steps, to look at.

    `seconds`: at least so much time lies between two drawings, and always `SHARE` times what the
    last one took, so that looking never costs more than a few per cent; with `every=1` time alone
    decides. Files are replaced whole: whoever reads one sees the old or the new one.

    Of a training that goes on, the points from before are taken from the `curve.json` in the
    folder. Write the whole history with `write_curve` at the end.
    """
    folder = Path(folder)
    points: list[Point] = []
    due = time.monotonic() + seconds

    def on_step(point: Point) -> None:
        nonlocal due
        if not points and (folder / "curve.json").is_file():
            stored = [Point(**one) for one in read_json(folder / "curve.json")["points"]]
            points.extend(one for one in stored if one.step < point.step)
        points.append(point)
        begun = time.monotonic()
        if point.step % every == 0 and begun >= due:
            write_curve(folder, History({}, points, 0), **fields)
            if seconds:
                ended = time.monotonic()
                due = ended + max(seconds, SHARE * (ended - begun))

    return on_step
