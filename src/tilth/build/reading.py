"""Texts for a training: documents of any kind, a run or corpus folder, a named set; and a split.

Whole groups are held out, by a digest of their names, before anything is fitted; groups with a text
in common, or nearly so (`corpus.near_texts`), are one. A run folder's own split is kept. One text
alone is cut near its end: the last part is held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilth.corpus.near_texts import near_families
from tilth.corpus.split import components
from tilth.errors import DataError
from tilth.store.digest import digest

Row = tuple[str, str]  # id, text


@dataclass
class Texts:
    """Rows to train on and held-out ones; `digest` of all; `unread`: what could not be read;
    `repeated`: how many texts nearly equal another one, and were kept on its side of the split."""

    train: list[Row]
    test: list[Row]
    digest: str
    unread: list[dict[str, str]] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    repeated: int = 0


def read(
    inputs: Sequence[str | Path], *, held_out: float = 0.05, text_column: str = "", seed: int = 0
) -> Texts:
    """The texts of `inputs`, the share `held_out` of their groups apart (0: none).

    Raises UsageError for a path that is none, DataError where no text is left to train on.
    """
    rows, unread, splits, licences = _rows(inputs, text_column)
    rows = [row for row in rows if row[2].strip()]
    name = ", ".join(str(path) for path in inputs)
    if not rows:
        why = f": {unread[0]['source']}, {unread[0]['reason']}" if unread else ""
        raise DataError(f"there is no text to train on{why}", where=name)
    repeated = 0
    made_of = digest("texts", *[part for id, _, text in rows for part in (id, text)])
    if splits and held_out > 0:
        test = [(id, text) for id, _, text in rows if splits[id] == "test"]
        train = [(id, text) for id, _, text in rows if splits[id] != "test"]
    else:
        if held_out > 0:
            groups, repeated = together([row[1] for row in rows], [row[2] for row in rows])
            rows = [(id, group, text) for (id, _, text), group in zip(rows, groups)]
        train, test = split(rows, held_out, seed)
    if not train:
        raise DataError("all text is held out", where=name, hint="--set held_out=0.05")
    return Texts(train, test, made_of, unread, licences, repeated)


def together(groups: Sequence[str], texts: Sequence[str]) -> tuple[list[str], int]:
    """The group of each text, those that hold near-duplicates made one; how many texts repeat
    another one, or nearly so.

    A group that was joined has the first of the names.
    """
    family = near_families(texts)
    repeated = len(family) - len(set(family.tolist()))
    if not repeated:
        return list(groups), 0
    numbers = components(groups, list(map(str, family))).tolist()
    names: dict[int, str] = {}
    for number, group in zip(numbers, groups):
        names[number] = min(group, names.get(number, group))
    return [names[number] for number in numbers], repeated


def again(
    place: str, scored: Texts | None, held_out: float, text_column: str, seed: int
) -> Texts:  # fmt: skip
    """Old text that a continued model learns again: `train`; what is scored of it is not in it.

    `scored`: texts that are scored already; without them a share is held out to be. Raises
    DataError where none is left to learn.
    """
    share = 0 if scored else held_out
    found = read([place], held_out=share, text_column=text_column, seed=seed)
    if scored is not None:
        found.train = without(found.train, scored.train)
        if not found.train:
            raise DataError("every text of it is to be scored (--old)", where=place)
    return found


def without(rows: list[Row], others: list[Row]) -> list[Row]:
    """The rows whose text is not among `others`, nor nearly so."""
    family = near_families([text for _, text in (*others, *rows)]).tolist()
    known = set(family[: len(others)])
    return [row for row, name in zip(rows, family[len(others) :]) if name not in known]


def split(
    rows: list[tuple[str, str, str]], share: float, seed: int = 0
) -> tuple[list[Row], list[Row]]:
    """(train, test) of rows of id, group, text; at least one group is held out where share > 0."""
    if share <= 0:
        return [(id, text) for id, _, text in rows], []
    groups = sorted({group for _, group, _ in rows}, key=lambda g: (digest("held", seed, g), g))
    if len(groups) == 1:
        return _cut(rows, share)
    chosen = set(groups[: max(1, round(share * len(groups)))])
    sides: tuple[list[Row], list[Row]] = ([], [])
    for id, group, text in rows:
        sides[group in chosen].append((id, text))
    return sides


def _cut(rows: list[tuple[str, str, str]], share: float) -> tuple[list[Row], list[Row]]:
    """One group: its last rows, or the end of its only text, after a line end."""
    if len(rows) > 1:
        kept = max(1, round((1 - share) * len(rows)))
        kept = min(kept, len(rows) - 1)
        family = near_families([text for _, _, text in rows]).tolist()
        known = set(family[:kept])
        sides: tuple[list[Row], list[Row]] = ([], [])
        for number, (id, _, text) in enumerate(rows):
            sides[number >= kept and family[number] not in known].append((id, text))
        return sides
    id, _, text = rows[0]
    place = round((1 - share) * len(text))
    found = text.rfind("\n", 0, place) + 1 or text.rfind(" ", 0, place) + 1 or place
    return [(id, text[:found])], [(f"{id}-end", text[found:])] if text[found:].strip() else []


def _rows(
    inputs: Sequence[str | Path], text_column: str
) -> tuple[list[tuple[str, str, str]], list[dict[str, str]], dict[str, str], list[str]]:
    """Rows of id, group, text; what could not be read; the split of a run's; licences."""
    from tilth.data.named import SETS
    from tilth.documents.document import Problem
    from tilth.documents.inputs import plan
    from tilth.documents.read import read_unit

    rows: list[tuple[str, str, str]] = []
    unread: list[Problem] = []
    splits: dict[str, str] = {}
    licences: list[str] = []
    paths: list[str | Path] = []
    for given in inputs:
        corpus = _corpus(Path(given))
        if corpus is not None:
            kept = None if corpus.decisions() is None else True
            for side in ("train", "test") if kept else (None,):
                for document in corpus.documents(kept=kept, split=side):
                    rows.append((document.id, document.group, document.text))
                    if side:
                        splits[document.id] = side
        elif not Path(given).exists() and str(given) in SETS:
            from tilth.data.sets import open_data

            place: Any = open_data(str(given), "corpus")
            rows += [(d.id, d.group, d.text) for d in place.documents(unread)]
            licences += [source.licence for source in place.sources]
        else:
            paths.append(given)
    if paths:
        units, problems = plan(paths, text_column=text_column or None)
        unread += problems
        for unit in units:
            for found in read_unit(unit):
                if isinstance(found, Problem):
                    unread.append(found)
                else:
                    rows.append((found.id, found.group, found.text))
    listed = [{"source": p.source, "reason": p.reason, "detail": p.detail} for p in unread]
    return rows, listed, splits if len(splits) == len(rows) else {}, licences


def _corpus(path: Path) -> Any:
    """The corpus of a corpus folder or a run folder; None for any other path."""
    if not any((folder / "lineage.jsonl").is_file() for folder in (path / "corpus", path)):
        return None
    from tilth.build.run import open_corpus

    return open_corpus(path)
