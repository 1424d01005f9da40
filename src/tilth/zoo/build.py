"""Builds a zoo model once and keeps it in the cache, under a digest of all that it is made from.

    CACHE/zoo/NAME-DIGEST/model/     the Hugging Face folder
    CACHE/zoo/NAME-DIGEST/zoo.json   recipe, sources with licences, gate; then the manifest

The digest is of the recipe, the data, the objective's name, version and parameters, the teacher's
digest where there is one, and `VERSION`, which changes with this module. A build that was killed
goes on where its checkpoint is. A model that misses its gate is kept, with `gate` false: claims on
it are undecided.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError, nearest
from tilth.store.digest import digest_value
from tilth.types import Progress, silent
from tilth.zoo.table import ZOO, Recipe

if TYPE_CHECKING:
    from tilth.data.sets import Source
    from tilth.objectives.batch import Objective
    from tilth.tokens.documents import TokenDocuments
    from tilth.zoo.text import Text

log = logging.getLogger("tilth.zoo")
VERSION = 2
SEED = 0
# Models so small gain little from a second thread, and lose some where the machine has other work.
THREADS = 1


@dataclass(frozen=True)
class ZooModel:
    """A built model. `folder`: weights and tokenizer; `sources`: name, digest and licence."""

    name: str
    folder: Path
    digest: str
    gate: bool
    sources: tuple[Source, ...]

    @property
    def record(self) -> dict[str, Any]:
        """What `zoo.json` says: recipe, gate with both numbers, parameters, tokens."""
        from tilth.store.write import read_json

        return dict(read_json(self.folder.parent / "zoo.json"))


def recipe(name: str) -> Recipe:
    """The table's line. Raises UsageError with the nearest name."""
    if name not in ZOO:
        raise UsageError(f"the zoo has no model {name!r}", hint=nearest(name, ZOO))
    return ZOO[name]


def model(name: str, *, progress: Progress = silent) -> ZooModel:
    """The model of that name; built first, which takes minutes, where it is not in the cache, and
    before it the teacher of one that is distilled."""
    from tilth.store.lock import lock
    from tilth.store.manifest import is_complete
    from tilth.zoo.text import read

    made_by = recipe(name)
    text = read(made_by.sources, made_by.characters)
    teacher = model(made_by.teacher, progress=progress) if made_by.teacher else None
    taught = {"teacher": teacher.digest} if teacher else {}
    objective = _objective(made_by, teacher)
    key = digest_value(
        [
            VERSION, made_by.to_value(), [list(source) for source in text.sources],
            [objective.name, objective.version, {**objective.parameters(), **taught}],
            _settings(made_by),
        ]
    )  # fmt: skip
    folder = _place(name, key)
    if not is_complete(folder, {"digest": key}):
        with lock(folder):
            if not is_complete(folder, {"digest": key}):
                if progress is silent:
                    # Whoever runs a system that needs it would wait without knowing what for.
                    log.warning("the zoo has no %s for the data of this machine; it is built "
                                "first, up to 30 minutes (tilth zoo build %s shows how far)",
                                name, name)  # fmt: skip
                _build(folder, name, key, made_by, text, objective, progress)
    return _open(folder)


def find(name: str) -> ZooModel | None:
    """The newest built model of that name, whatever its digest; None where none was built."""
    from tilth.store.manifest import NAME, is_complete

    recipe(name)
    folders = [path for path in _place(name, "*").parent.glob(f"{name}-*") if is_complete(path)]
    folders.sort(key=lambda path: (path / NAME).stat().st_mtime)
    return _open(folders[-1]) if folders else None


def tokens(name: str, split: str = "train") -> TokenDocuments:
    """The text that a built model was trained on, or held-out text, in its own tokens."""
    from tilth.models.folder import load_tokenizer
    from tilth.tokens.documents import TokenDocuments
    from tilth.zoo.text import read

    if split not in ("train", "test"):
        raise UsageError(f"there is no split {split!r}", hint="train or test")
    made_by = recipe(name)
    tokenizer = load_tokenizer(model(name).folder)
    ids, texts = zip(*getattr(read(made_by.sources, made_by.characters), split))
    return TokenDocuments.of(ids, texts, tokenizer)


def _place(name: str, key: str) -> Path:
    from tilth.store.cache import cache_folder

    return cache_folder() / "zoo" / f"{name}-{key[:12]}"


def _open(folder: Path) -> ZooModel:
    from tilth.data.sets import Source
    from tilth.store.write import read_json

    said = read_json(folder / "zoo.json")
    return ZooModel(
        said["name"], folder / "model", said["digest"], said["gate"]["passed"],
        tuple(Source(*source) for source in said["sources"]),
    )  # fmt: skip


def _build(
    folder: Path, name: str, key: str, made_by: Recipe, text: Text, objective: Objective,
    progress: Progress,
) -> None:  # fmt: skip
    import torch

    from tilth.models.decoder import count_parameters
    from tilth.models.folder import save_model
    from tilth.store.manifest import NAME, write_manifest
    from tilth.store.write import write_json
    from tilth.tokens import bpe
    from tilth.tokens.documents import TokenDocuments
    from tilth.training.loop import fit
    from tilth.zoo import gate
    from tilth.zoo.text import read

    (folder / NAME).unlink(missing_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        progress("tokenizer", 0, 0)
        learned_from = (
            text
            if made_by.tokenizer == made_by.sources
            # As much of each document for all recipes, so that they share one tokenizer.
            else read(made_by.tokenizer, Recipe.characters)
        )
        tokenizer = bpe.train(learned_from.texts(), made_by.vocabulary, special=(bpe.PAD, bpe.MASK))
        bpe.save(tokenizer, folder / "tokenizer")
        train, test = (
            TokenDocuments.of(*zip(*getattr(text, split)), tokenizer) for split in ("train", "test")
        )
        built = _fresh(made_by, tokenizer.get_vocab_size())
        history = fit(
            built, objective, train, tokens=made_by.tokens, batch_tokens=made_by.batch_tokens,
            learning_rate=made_by.learning_rate, schedule=made_by.schedule, seed=SEED,
            threads=THREADS, checkpoint=folder / "checkpoint", progress=progress,
        )  # fmt: skip
        progress("gate", 0, 0)
        if made_by.kind == "causal":
            passed = gate.below_the_ngram(
                built, objective, train, test, tokens=history.plan["tokens"], seed=SEED
            )
        else:
            passed = gate.above_the_most_frequent(
                built, test, length=made_by.context, mask=tokenizer.token_to_id(bpe.MASK),
                least_ratio=made_by.least_ratio, seed=SEED,
            )  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    save_model(built, folder / "model", folder / "tokenizer")
    record = {
        "name": name,
        "digest": key,
        "recipe": made_by.to_value(),
        "sources": [list(source) for source in text.sources],
        "gate": passed,
        "parameters": count_parameters(built),
        "tokens": history.plan["tokens"],
        "loss": history.loss,
        "versions": {"torch": torch.__version__},
    }
    write_json(folder / "zoo.json", record)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    files = [path for path in (folder / "model").iterdir() if path.is_file()]
    listed = [path.relative_to(folder).as_posix() for path in files]
    write_manifest(folder, [*listed, "zoo.json"], kind="zoo", digest=key)


def _fresh(made_by: Recipe, vocabulary: int) -> Any:
    from tilth.models import decoder, encoders

    if made_by.kind == "causal":
        return decoder.build(
            made_by.size, vocabulary=vocabulary, context=made_by.context, seed=SEED,
            spread=made_by.spread,
        )  # fmt: skip
    return encoders.build_encoder(
        made_by.size, vocabulary=vocabulary, context=made_by.context, kind=made_by.encoder, pad=1,
        seed=SEED, settings=_settings(made_by),
    )  # fmt: skip


def _settings(made_by: Recipe) -> dict[str, Any]:
    from tilth.models.encoders import NEAR

    return dict(NEAR) if made_by.kind == "masked" and made_by.near else {}


def _objective(made_by: Recipe, teacher: ZooModel | None) -> Objective:
    """What the recipe trains with; PAD and MASK are the ids 1 and 2 of every zoo tokenizer."""
    if teacher is not None:
        from tilth.objectives.distil import Distil

        return Distil(
            teacher=str(teacher.folder), length=made_by.context, temperature=1.0, share=1.0
        )
    if made_by.kind == "causal":
        from tilth.objectives.causal import Causal

        return Causal(length=made_by.context)
    from tilth.objectives.masked import Masked

    return Masked(length=made_by.context, rate=made_by.rate, mask=2, special=(1,))
