"""A scorer trained from text, with its calibration and what is known about it, in one folder.

FOLDER/scorer/           the scorer's own files
FOLDER/calibration.json  scores to probabilities; null where there is one class only
FOLDER/report.json       how good it is on texts that it was not fitted on
FOLDER/manifest.json     last
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tilth import lookup
from tilth.errors import DamagedError, DataError
from tilth.signals import calibration as calibrations
from tilth.signals.scorers import SCORERS
from tilth.store.cache import cache_folder
from tilth.store.digest import digest, digest_value
from tilth.store.manifest import NAME, is_complete, read_manifest, write_manifest
from tilth.store.write import TEMPORARY, read_json, write_json

KIND = {"kind": "trained scorer", "version": 1}
# Every fifth text, by its digest, is held out for calibration and the report.
FOLDS = 5
LEAST = 20  # texts; fewer of one class are all fitted on, and nothing is said about them
TOO_FEW = "{} positive and {} other texts are too few to hold a fifth out for calibration"
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class Trained(NamedTuple):
    """`calibration`: scores to probabilities of the positive class, None without two classes."""

    scorer: Any
    calibration: Any
    report: dict[str, Any]


def train(
    name: str,
    options: Mapping[str, Any],
    texts: Sequence[str],
    labels: Sequence[bool] | None = None,
    *,
    calibration: str = "platt",
) -> Trained:
    """Fit the scorer of this name on four fifths of the texts; calibrate it on the rest.

    Equal texts are on one side, by their digest. The report has quantiles of held-out scores, and
    with labels the area under the curve and the expected calibration error, measured on the half of
    the held-out texts that its calibration has not seen, in turn. Raises DataError where one side
    of the split lacks a class; few texts of one class are all fitted on, without a report.
    """
    scorer = lookup.construct("scorer", SCORERS, name, options)
    held_out = np.array([int(digest("held out", text)[:8], 16) % FOLDS == 0 for text in texts])
    few = len(texts) < LEAST or not held_out.any() or held_out.all()
    if few and labels is None:
        return Trained(scorer.fit(texts), None, {"scorer": name, "texts": len(texts)})
    inside = [text for text, out in zip(texts, held_out) if not out]
    outside = [text for text, out in zip(texts, held_out) if out]
    report: dict[str, Any] = {"scorer": name, "texts": len(inside), "held_out": len(outside)}
    if labels is None:
        scores = scorer.fit(inside).score(outside)
        return Trained(scorer, None, {**report, "quantiles": {"positive": quantiles(scores)}})
    wanted = np.asarray(labels, bool)
    if few or len(set(wanted[~held_out].tolist())) < 2:
        raise DataError(TOO_FEW.format(int(wanted.sum()), int((~wanted).sum())))
    scorer.fit(inside, wanted[~held_out])
    scores, truth = scorer.score(outside), wanted[held_out]
    halves = np.arange(len(scores)) % 2 == 0
    direction = scorer.direction
    try:
        made = calibrations.calibrate(calibration, scores, truth, direction)
        probabilities = np.empty(len(scores))
        for half in (halves, ~halves):
            other = calibrations.calibrate(calibration, scores[half], truth[half], direction)
            probabilities[~half] = other(scores[~half])
    except DataError:
        raise DataError(TOO_FEW.format(int(wanted.sum()), int((~wanted).sum()))) from None
    report |= {
        "positive": int(wanted[~held_out].sum()),
        "held_out_positive": int(truth.sum()),
        "area_under_curve": calibrations.area_under_curve(direction * scores, truth),
        "expected_calibration_error": calibrations.expected_calibration_error(probabilities, truth),
        "reliability": calibrations.reliability(probabilities, truth),
        "quantiles": {"positive": quantiles(scores[truth]), "other": quantiles(scores[~truth])},
    }
    return Trained(scorer, made, report)


def quantiles(scores: np.ndarray) -> dict[str, float]:
    """Quantiles of scores by their share, as JSON values."""
    return dict(zip(map(str, QUANTILES), np.quantile(scores, QUANTILES).tolist()))


def save(folder: str | Path, trained: Trained, **fields: Any) -> None:
    """Write all of it; `fields` (where the text came from) go into the manifest."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).unlink(missing_ok=True)
    trained.scorer.save(folder / "scorer")
    made = trained.calibration
    write_json(folder / "calibration.json", None if made is None else calibrations.to_json(made))
    write_json(folder / "report.json", trained.report)
    inside = (read_manifest(folder / "scorer") or {})["files"]
    files = ["calibration.json", "report.json", f"scorer/{NAME}", *(f"scorer/{f}" for f in inside)]
    write_manifest(folder, files, **KIND, **fields)


def load(folder: str | Path) -> Trained:
    """A trained scorer, or the scorer alone where that is what the folder holds.

    Raises DamagedError where it is neither, or unfinished.
    """
    folder = Path(folder)
    if not is_complete(folder, KIND):
        return Trained(_load_scorer(folder), None, {})
    value = read_json(folder / "calibration.json")
    made = None if value is None else calibrations.from_json(value)
    return Trained(_load_scorer(folder / "scorer"), made, read_json(folder / "report.json"))


def _load_scorer(folder: Path) -> Any:
    name = (read_manifest(folder) or {}).get("scorer")
    if not isinstance(name, str):
        raise DamagedError("holds no scorer", where=str(folder))
    return lookup.load("scorer", SCORERS, name).load(folder)


def folder_digest(folder: str | Path) -> str:
    """One name for all that a folder with a manifest holds."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise DamagedError("holds no finished scorer", where=str(folder))
    return digest_value(manifest)


@functools.lru_cache(maxsize=8)
def loaded(folder: str, state: str) -> Trained:
    """`load`, once a process; `state` is the digest of the folder, so that a new one is read."""
    return load(folder)


def cached(key: str, make: Callable[[], tuple[Trained, dict[str, Any]]]) -> Path:
    """The folder of what `make` trains and says about it, made once and kept under this key.

    Two processes may both make it: they make the same, and the first one's stays.
    """
    folder = cache_folder() / "scorers" / key
    if is_complete(folder, KIND):
        return folder
    temporary = folder.with_name(f"{key}{TEMPORARY}{os.getpid()}")
    trained, fields = make()
    try:
        save(temporary, trained, **fields)
        if folder.exists() and not is_complete(folder, KIND):
            shutil.rmtree(folder)
        with contextlib.suppress(OSError):
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
