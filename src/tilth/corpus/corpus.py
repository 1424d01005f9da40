"""The Corpus: a folder of layers. Each step adds a layer or columns; none edits an earlier one.

    corpus = Corpus("my-corpus")
    corpus.add(["letters/"])
    corpus.transform(Chain([Repair(), StripHeaders()]), "clean")
    corpus.measure([Length(), Language()])
    corpus.find_duplicates()
    corpus.select(Rule({"long enough": "words >= 50"}))
    corpus.split(share=0.05)
    for document in corpus.documents(kept=True, split="train"): ...
    corpus.why("letters/0017.txt")

Every step may be killed and called again; the bytes are the same for any number of workers and any
order of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus import layers, lineage, outcomes
from tilth.corpus.blocks import (
    manifest_digest,
    read_block,
    read_group,
    read_table,
    require_manifest,
)
from tilth.corpus.duplicates import Duplicates, ExactDuplicates
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.outcomes import Decision
from tilth.corpus.rules import Rule, decide
from tilth.corpus.split import components, split_by_component
from tilth.corpus.transforms.base import Again, fitted
from tilth.documents.document import Document, Problem
from tilth.documents.inputs import Unit, plan
from tilth.errors import DataError, UsageError, nearest
from tilth.store.digest import ID_LENGTH, digest_value
from tilth.types import Executor, Progress, Signal, Transform, silent

FIRST_LAYER = "documents"
# Where the results of a step lie in the folder of their layer, and which are named name@digest.
PLACES = {"measure": "signals", "duplicates": "duplicates", "select": "decisions", "split": "split"}
NAMED = ("signals", "duplicates")
SPLITS = ("train", "test", "none")
# So much of an id is enough to ask for a document by.
SHORTEST_ID = 6


class Corpus:
    """Opens a corpus folder, or begins a new one. `executor` decides where blocks are made."""

    def __init__(
        self,
        folder: str | Path,
        *,
        executor: Executor | None = None,
        progress: Progress = silent,
        block_bytes: int = layers.BLOCK_BYTES,
    ) -> None:
        # Absolute, since a worker process may have been started in another place.
        self.folder = Path(folder).absolute()
        self.executor = executor or LocalExecutor()
        self.progress = progress
        self.block_bytes = block_bytes
        self._made: list[lineage.Key] = []

    @property
    def layers(self) -> list[str]:
        """Names of the layers in the order in which they were made."""
        names = dict.fromkeys(entry["layer"] for entry in lineage.read_lineage(self.folder))
        return [name for name in names if (self.layer_folder(name) / "manifest.json").is_file()]

    def layer_folder(self, layer: str | None = None) -> Path:
        """The folder of a layer; of the last one without a name."""
        if layer is None:
            names = self.layers
            if not names:
                raise DataError("the corpus holds no documents yet", where=str(self.folder))
            layer = names[-1]
        return self.folder / "layers" / layer

    # Steps, in the order in which a corpus grows.

    def add(self, inputs: Sequence[str | Path], **options: Any) -> None:
        """Read files and folders to the first layer; see `documents.inputs.plan` for options.

        Called again, it reads only blocks that changed; what is not named again is dropped.
        """
        units, problems = plan(inputs, progress=self.progress, **options)
        self.add_units(units, problems)

    def add_units(self, units: Sequence[Unit], problems: Sequence[Problem] = ()) -> None:
        """The same for units already planned. Raises DataError where nothing could be read."""
        folder = self.layer_folder(FIRST_LAYER)
        listed = sorted((vars(p).copy() for p in problems), key=lambda p: p["source"])
        manifest = layers.read_units(
            folder, units, self.executor, block_bytes=self.block_bytes, progress=self.progress
        )
        layers.write_problems(folder, listed)
        self._record(
            "read", FIRST_LAYER, manifest, inputs=len(units), problems=digest_value(listed)
        )
        if manifest["rows"] == 0:
            reasons = sorted({p.reason for p in self.problems()}) or ["there was no file"]
            raise DataError("no document could be read: " + ", ".join(reasons))

    def transform(
        self, transform: Transform, layer: str = "clean", *, source: str | None = None
    ) -> None:
        """A new layer made from the last one (or from `source`)."""
        if source is None:
            known = self.layers
            before = known[: known.index(layer)] if layer in known else known
            source = before[-1] if before else None
        first = self.layer_folder(source)
        seen = Again(lambda: (batch for _, batch in self.batches(layer=first.name)))
        manifest = layers.transform_layer(
            first, self.layer_folder(layer), fitted(transform, seen), self.executor, self.progress
        )
        self._record("transform", layer, manifest, source=source)

    def measure(self, signals: Iterable[Signal], layer: str | None = None) -> None:
        """Columns for every document of a layer; what was measured before is not measured again."""
        folder = self.layer_folder(layer)
        for signal in signals:
            manifest = layers.measure_layer(folder, signal, self.executor, self.progress)
            self._record("measure", folder.name, manifest)

    def find_duplicates(
        self, method: Duplicates | None = None, layer: str | None = None
    ) -> dict[str, int]:
        """Columns that name families of duplicates (see `tilth.corpus.duplicates`); drops nothing.

        The last method counts. Returns numbers: documents in families, edges, ...
        """
        folder = self.layer_folder(layer)
        method = method or ExactDuplicates()
        found = layers.duplicate_clusters(folder, method, self.executor, self.progress)
        known = {key: found[key] for key in ("made_by", "parameters", "rows")}
        output = found["files"]["table.parquet"]["sha256"]
        self._note("duplicates", folder.name, **known, output=output)
        return dict(found["statistics"])

    def select(self, rule: Rule, layer: str | None = None) -> pa.Table:
        """Decide with a rule over the measured columns; measures nothing again."""
        folder = self.layer_folder(layer)
        decisions = decide(self.columns(folder.name), rule)
        self._keep_table("select", "decisions", folder, rule.parameters(), decisions)
        return decisions

    def split(self, share: float = 0.05, seed: int = 0, layer: str | None = None) -> pa.Table:
        """Hold out about `share` of the kept bytes by origin and group, closed under duplicates.

        Column `split`: `train`, `test`, or `none` for a document whose duplicate is in training
        while its own group is held out; it is used for neither.
        """
        folder = self.layer_folder(layer)
        table = self.columns(folder.name)
        identity = read_table(folder, ["id", "origin", "group"])
        component = components(
            identity.column("origin").to_pylist(), identity.column("group").to_pylist()
        )
        sizes = np.ones(table.num_rows)
        if "bytes" in table.column_names:
            sizes = 1.0 + np.asarray(table.column("bytes"))
        decisions = self.decisions(folder.name)
        kept = np.ones(table.num_rows, dtype=bool)
        if decisions is not None:
            kept = decisions.column("kept").to_numpy()
        ids = table.column("id").to_pylist()
        held_out = split_by_component(component, ids, sizes * kept, share, seed)
        names = np.where(held_out, "test", "train").astype(object)
        if "cluster" in table.column_names:
            cluster = np.array([c or "" for c in table.column("cluster").to_pylist()])
            in_training = set(cluster[~held_out & kept].tolist()) - {""}
            crossing = held_out & np.isin(cluster, list(in_training))
            names[crossing] = "none"
        result = pa.table({"id": table.column("id"), "split": pa.array(names, pa.string())})
        self._keep_table("split", "split", folder, {"share": share, "seed": seed}, result)
        return result

    def _keep_table(
        self, step: str, kind: str, folder: Path, parameters: dict[str, Any], table: pa.Table
    ) -> None:
        target = folder / kind / digest_value(parameters)[:12]
        fields = {
            "kind": kind,
            "parameters": parameters,
            # Rows are aligned with this state of the layer and with no other.
            "layer": manifest_digest(require_manifest(folder)),
        }
        manifest = layers.write_one_table(target, table, fields)
        self._note(
            step, folder.name, made_by=f"{kind}@{target.name}",
            parameters=parameters, output=manifest["files"]["table.parquet"]["sha256"],
        )  # fmt: skip

    def _record(self, step: str, layer: str, manifest: dict[str, Any], **fields: Any) -> None:
        known = {key: manifest[key] for key in ("made_by", "parameters") if key in manifest}
        self._note(
            step, layer, **known, **fields, rows=manifest["rows"],
            output=manifest_digest(manifest),
        )  # fmt: skip

    def _note(self, step: str, layer: str, **fields: Any) -> None:
        self._made.append(lineage.record(self.folder, step, layer, **fields))

    # Reading.

    def columns(self, layer: str | None = None) -> pa.Table:
        """One row a document: id, source, position, all measured columns, those of duplicates.

        What was measured before documents were added is left out until it is measured again.
        """
        folder = self.layer_folder(layer)
        table = read_table(folder, ["id", "source", "position", "format", "group", "origin"])
        order = require_manifest(folder)["order"]
        for entry in self._latest(folder.name, "measure"):
            signal = folder / "signals" / entry["made_by"]
            # Measured on an earlier state of the layer, and not since: such columns say nothing.
            if require_manifest(signal)["order"] == order:
                measured = read_table(signal)
                for name in measured.column_names[1:]:
                    table = table.append_column(name, measured.column(name))
        for entry in self._latest(folder.name, "duplicates"):
            method = folder / "duplicates" / entry["made_by"]
            if require_manifest(method / "fingerprints")["order"] == order:
                found = layers.read_one_table(method)
                for name in found.column_names[1:]:
                    table = table.append_column(name, found.column(name))
        return table

    def edges(self, layer: str | None = None) -> pa.Table:
        """Pairs of duplicates that the last search found: id, other, similarity."""
        folder = self.layer_folder(layer)
        return layers.read_edges(folder, self._latest(folder.name, "duplicates"))

    def _latest(self, layer: str, step: str) -> list[dict[str, Any]]:
        """The last record of each part (signal, method) of a step on a layer."""
        last = {
            entry["made_by"].split("@")[0]: entry
            for entry in lineage.read_lineage(self.folder)
            if entry["step"] == step and entry["layer"] == layer
        }
        return list(last.values())

    def decisions(self, layer: str | None = None) -> pa.Table | None:
        """What the last rule decided on the layer; None before any rule."""
        return self._last_table(layer, "select", "decisions")

    def splits(self, layer: str | None = None) -> pa.Table | None:
        """Which documents are held out; None before a split."""
        return self._last_table(layer, "split", "split")

    def _last_table(self, layer: str | None, step: str, kind: str) -> pa.Table | None:
        folder = self.layer_folder(layer)
        entries = self._latest(folder.name, step)
        if not entries:
            return None
        target = folder / kind / entries[-1]["made_by"].split("@")[1]
        if require_manifest(target)["layer"] != manifest_digest(require_manifest(folder)):
            raise UsageError(
                f"documents were added since the last {step}", hint=f"run the {step} again"
            )
        return layers.read_one_table(target)

    def batches(
        self,
        columns: Sequence[str] | None = None,
        *,
        layer: str | None = None,
        kept: bool | None = None,
        split: str | None = None,
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """(block id, batch) in order; only kept (or dropped) documents, only of one split."""
        folder = self.layer_folder(layer)
        mask = self._mask(folder.name, kept, split)
        at = 0
        for block in require_manifest(folder)["order"]:
            for batch in read_block(folder, block, columns):
                if mask is not None:
                    here = mask[at : at + batch.num_rows]
                    at += batch.num_rows
                    batch = batch if here.all() else batch.filter(pa.array(here))
                yield block, batch

    def _mask(self, layer: str, kept: bool | None, split: str | None) -> np.ndarray | None:
        masks = []
        if kept is not None:
            decisions = self.decisions(layer)
            if decisions is None:
                raise UsageError("no rule was applied to this corpus yet", where=str(self.folder))
            masks.append(decisions.column("kept").to_numpy() == kept)
        if split is not None:
            splits = self.splits(layer)
            if splits is None:
                raise UsageError("this corpus was not split yet", where=str(self.folder))
            if split not in SPLITS:
                raise UsageError(f"there is no split {split!r}", hint=nearest(split, SPLITS))
            masks.append(np.asarray(pc.equal(splits.column("split"), split)))
        return np.logical_and.reduce(masks) if masks else None

    def documents(
        self,
        *,
        layer: str | None = None,
        kept: bool | None = None,
        split: str | None = None,
    ) -> Iterator[Document]:
        """Documents one by one; see `batches`."""
        for _, batch in self.batches(layer=layer, kept=kept, split=split):
            for row in batch.to_pylist():
                yield Document.from_row(row)

    def get(self, id: str) -> Document:
        """The document with this id, or with an id that begins so, in any layer, last first."""
        if len(id) < SHORTEST_ID:
            raise UsageError(f"{id!r} is too short for an id", hint=f"{SHORTEST_ID} digits or more")
        for layer in reversed(self.layers):
            found = next(iter(self._find(layer, [id])), None)
            if found is not None:
                return found
        raise UsageError(f"no document has the id {id!r}", where=str(self.folder))

    def get_many(self, ids: Sequence[str], layer: str | None = None) -> dict[str, Document]:
        """Documents of one layer by id; ids that are not there are left out."""
        folder = self.layer_folder(layer)
        return {document.id: document for document in self._find(folder.name, ids)}

    def _find(self, layer: str, ids: Sequence[str]) -> Iterator[Document]:
        # Ids are read first: they are narrow, and only row groups with a hit are read whole.
        folder = self.layer_folder(layer)
        whole = pa.array([id for id in ids if len(id) == ID_LENGTH], pa.string())
        starts = [id for id in ids if len(id) < ID_LENGTH]
        for block in require_manifest(folder)["order"]:
            for number, names in enumerate(read_block(folder, block, ["id"])):
                hit = np.asarray(pc.is_in(names.column("id"), value_set=whole))
                for start in starts:
                    hit = hit | np.asarray(pc.starts_with(names.column("id"), start))
                if hit.any():
                    batch = read_group(folder, block, number)
                    for row in batch.take(pa.array(np.flatnonzero(hit))).to_pylist():
                        yield Document.from_row(row)

    def problems(self) -> list[Problem]:
        """What could not be read, each with its reason."""
        return layers.read_problems(self.layer_folder(FIRST_LAYER))

    def outcomes(self) -> list[Decision]:
        """One decision for every document of the last layer and every problem, by source."""
        return outcomes.outcomes(self)

    def why(self, target: str) -> list[Decision]:
        """What happened to the documents of a source, or to the one with this id."""
        return outcomes.why(self, target)

    def dropped(self) -> list[Decision]:
        """Every document that was not kept, with its reasons, and what could not be read."""
        return outcomes.outcomes(self, dropped=True)

    def stats(self) -> dict[str, Any]:
        """Counts by layer, by reason, by problem; a JSON value."""
        return outcomes.stats(self)

    def quantiles(self, layer: str | None = None) -> dict[str, dict[str, float | None]]:
        """Quantiles of every measured number of a layer."""
        folder = self.layer_folder(layer)
        result: dict[str, dict[str, float | None]] = {}
        order = require_manifest(folder)["order"]
        for entry in self._latest(folder.name, "measure"):
            signal = folder / "signals" / entry["made_by"]
            if require_manifest(signal)["order"] == order:
                result.update(layers.read_quantiles(signal))
        return result

    def drop_others(self) -> None:
        """Forget all that was not made through this object: other layers, signals, decisions.

        For a build: the same plan then leaves the same bytes, whatever was tried before.
        """
        kept = lineage.keep(self.folder, self._made)
        wanted = {self.folder / "layers" / entry["layer"] for entry in kept}
        for entry in kept:
            layer, kind = self.folder / "layers" / entry["layer"], PLACES.get(entry["step"])
            if kind is not None:
                name = entry["made_by"]
                wanted.add(layer / kind / (name if kind in NAMED else name.split("@")[1]))
        layers.drop_folders(self.folder / "layers", wanted, tuple(PLACES.values()))

    @property
    def digest(self) -> str:
        """One name for the state of the corpus: its lineage names what every step left."""
        return digest_value(lineage.read_lineage(self.folder))
