"""Named data sets: where they lie on this machine, whether they are what the name stands for.

`open_set(name)` gives a Task, or for a corpus its path; `open_data` the same for what a user gave,
of the kind that is wanted. A set is looked for in `$TILTH_DATA`, in a checkout's neighbour and in
the cache; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.data.named import SETS, NamedSet
from tilth.errors import DamagedError, DataError, UsageError, nearest
from tilth.store.cache import data_folders
from tilth.store.digest import digest, sha256_file

if TYPE_CHECKING:
    from tilth.data.task import Task
    from tilth.documents.document import Document, Problem


class Source(NamedTuple):
    """Data that went into a result. `licence` is `not stated` where nobody says."""

    name: str
    digest: str
    licence: str


@dataclass(frozen=True)
class SetPath:
    """Where a data set lies: a file, a folder, or a corpus or run folder that tilth made."""

    name: str
    path: Path
    kind: str
    licence: str
    address: str
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What a result says of it."""
        return (Source(self.name, self.digest, self.licence),)

    def documents(
        self, problems: list[Problem] | None = None, **options: Any
    ) -> Iterator[Document]:
        """Its documents, read here and now; what cannot be read is added to `problems`.

        Of a corpus that tilth made: those that its rule kept, all where none was applied.
        `options` as for `documents.inputs.plan`.
        """
        from tilth.documents.document import Problem
        from tilth.documents.inputs import plan
        from tilth.documents.read import read_unit

        problems = [] if problems is None else problems
        if (folder := _corpus_folder(self.path)) is not None:
            from tilth.corpus.corpus import Corpus

            corpus = Corpus(folder)
            yield from corpus.documents(kept=None if corpus.decisions() is None else True)
            return
        units, unread = plan(self.path, **{**self.options, **options})
        problems += unread
        for unit in units:
            for found in read_unit(unit):
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    yield found


def named(name: str) -> NamedSet:
    """The table's line. Raises UsageError with the nearest name."""
    if name not in SETS:
        raise UsageError(f"no data set is called {name!r}", hint=nearest(name, SETS))
    return SETS[name]


def find_set(name: str, *, verify: bool = True) -> SetPath:
    """Where a named set lies.

    Raises DataError where it is on none of the folders, and DamagedError where the files are not
    those that the name stands for.
    """
    known = named(name)
    for folder in data_folders():
        path = folder / (known.folder or name)
        if not path.is_dir():
            continue
        if verify and digest_path(path) != known.digest:
            raise DamagedError(
                f"is not the set that the name {name!r} stands for", where=str(path),
                hint="give its path, not its name, to use it as data of your own",
            )  # fmt: skip
        return SetPath(name, path, known.kind, known.licence, known.address, known.digest)
    raise DataError(
        f"data set {name!r} is not on this machine",
        where=known.address,
        hint=f"put it into a folder {name} and type: export TILTH_DATA=the folder above it",
    )


def open_set(name: str) -> SetPath | Task:
    """A named set: a Task, or for a corpus, and for files that a system reads itself, its path."""
    from tilth.data import labelled, readers

    place = find_set(name)
    known = named(name)
    path = place.path / known.file if known.file else place.path
    if known.kind in ("corpus", "files"):
        return replace(place, path=path, options=known.options)
    said = {"name": name, "licence": known.licence, **known.options}
    if known.kind == "rank":
        return readers.read_beir(path, **said)
    if known.kind == "classify" and not known.files and "columns" not in said:
        return readers.read_classify(path, **said)
    given = {split: place.path / file for split, file in known.files.items()} or path
    return labelled.read_task(given, known.kind, **said)


def open_data(given: str, kind: str, columns: Mapping[str, str] | None = None) -> SetPath | Task:
    """What a user gave, a name or a path, where `kind` (`corpus` or a kind of Task) is wanted.

    `columns`: wanted column -> column of the file. Raises UsageError, in one line that shows the
    columns expected, where it is of another kind.
    """
    from tilth.data import labelled, readers

    path = Path(given)
    if given in SETS and not path.exists():
        if SETS[given].kind != kind:
            raise UsageError(f"{given} is a set of kind {SETS[given].kind}, not {kind}",
                             hint=expected(kind))  # fmt: skip
        return open_set(given)
    if not path.exists():
        raise UsageError(f"{given!r} is neither a path nor a named set", hint=nearest(given, SETS))
    if kind == "corpus":
        found = _corpus_digest(path)
        return SetPath(path.resolve().name, path, kind, "not stated", "", found)
    try:
        if kind == "rank":
            return readers.read_beir(path)
        if labelled.columns_of(kind):
            return labelled.read_task(path, kind, columns)
    except DataError as error:
        raise UsageError(error.what, where=error.where, hint=expected(kind)) from None
    raise UsageError(f"data of kind {kind} cannot be given", hint=expected(kind))


def expected(kind: str) -> str:
    """What `--data` takes for a kind, in one line."""
    table = "it takes CSV, TSV, JSON, JSONL or Parquet with columns "
    more = ", and if there are any id, group, split; other names: --set data.{}=COLUMN"
    shapes: dict[str, str] = {
        "none": "it takes no data",
        "corpus": "it takes a file or folder of documents",
        "classify": f"{table}text, label{more.format('text')}",
        "multilabel": f"{table}text, labels (a list, or values parted by |){more.format('labels')}",
        "tag": "it takes CoNLL (a token and its tag a line, a blank line after a sentence), or "
        f"a table with columns tokens, tags (lists){more.format('tags')}",
        "choose": f"{table}text, choices (a list), answer (number from 0, letter or text)"
        + more.format("choices"),
        "pair": f"{table}text, other, label{more.format('other')}",
        "bag": f"{table}texts (a list), label; or text, label, group, a row each text"
        + more.format("text"),
        "generate": f"{table}messages (role, content), or prompt, answer{more.format('prompt')}",
        "regress": f"{table}text, target (a number), for pairs other{more.format('target')}",
        "rank": "it takes a BEIR folder: corpus.jsonl (_id, title, text), queries.jsonl (_id, "
        "text), qrels.tsv (query-id, corpus-id, score)",
    }
    return shapes.get(kind, f"it takes a {kind} task")


def _corpus_folder(path: Path) -> Path | None:
    """The corpus in a corpus folder or a run folder; None for any other path."""
    found = [folder for folder in (path, path / "corpus") if (folder / "layers").is_dir()]
    return found[0] if found else None


def _corpus_digest(path: Path) -> str:
    folder = _corpus_folder(path)
    if folder is None:
        return digest_path(path)
    from tilth.corpus.corpus import Corpus

    return Corpus(folder).digest


def digest_path(path: str | Path) -> str:
    """The digest of a file, or of all files below a folder with their names."""
    path = Path(path)
    if path.is_file():
        return digest(path.name, sha256_file(path))
    parts: list[Any] = []
    for file in sorted(f for f in path.rglob("*") if f.is_file()):
        parts += [file.relative_to(path).as_posix(), sha256_file(file)]
    return digest(*parts)
