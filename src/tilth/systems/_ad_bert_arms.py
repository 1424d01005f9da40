"""What the arms of the system `ad-bert` share: encoders, patients, rates; and word counts."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilth.data.sets import Source, digest_path
from tilth.data.task import Task
from tilth.errors import DataError
from tilth.evaluation.card import Invariant, ModelSource, Prepared
from tilth.evaluation.tasks import TaskModel, evaluate, fine_tune
from tilth.objectives.masked import Masked
from tilth.signals.calibration import area_under_curve
from tilth.store.digest import digest
from tilth.systems import _ad_bert_patients as patients_of
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.special import special_ids
from tilth.training.loop import fit
from tilth.zoo.gate import above_the_most_frequent


@dataclass(frozen=True)
class Inputs:
    """`bases`: the encoder as it was and adapted; `read`: tokens that it was trained on before, 0
    where nobody knows. `truth`: what was planted, of test patients. `texts`: those of the test, on
    which the adapted encoder names masked tokens; none at scale smoke."""

    bases: Mapping[str, Any]
    tokenizer: Any
    train: Task
    test: Task
    rates: Mapping[str, float]
    options: Mapping[str, Any]
    adapted_tokens: int
    read: int = 0
    texts: tuple[str, ...] = ()
    truth: tuple[bool, ...] = ()
    apart: bool = True
    dated: bool = True


# arm -> (encoder, pooling, whether the sections are joined and cut)
SHAPES = {
    "AD-BERT": ("adapted", "max", False),
    "not adapted": ("as it was", "max", False),
    "mean of sections": ("adapted", "mean", False),
    "beginning only": ("adapted", "max", True),
}
# What the adapted encoder must name of the masked tokens, in shares of the most frequent one's: one
# that learned no context names as many as that.
FLOOR = 2.0
OPTIONS = {"epochs": 5, "batch": 8, "segment": 48, "pieces": 10, "vector": "mean"}

_adapted: dict[str, tuple[Any, int]] = {}
_rates: dict[tuple, float] = {}


def opened(folder: str | None) -> tuple[Any, Any, ModelSource, tuple[Source, ...], int]:
    """(masked model, tokenizer, its source, its data, tokens it has read): the zoo's, or a user's
    folder."""
    from tilth import zoo
    from tilth.models.folder import load_model, load_tokenizer

    if folder is None:
        built = zoo.model("encoder-bio")
        source = ModelSource(built.name, built.digest, built.gate)
        model = load_model(built.folder, "masked", dtype="float32")
        tokenizer = load_tokenizer(built.folder)
        return model, tokenizer, source, tuple(built.sources), built.record["tokens"]
    source = ModelSource(Path(folder).name, digest_path(folder))
    return load_model(folder, "masked", dtype="float32"), load_tokenizer(folder), source, (), 0


def adapt(
    key: str, base: Any, tokenizer: Any, texts: Sequence[str], tokens: int, seed: int
) -> tuple[Any, int]:
    """(the encoder after masked language modelling on texts, the tokens); once a seed."""
    key = digest(key, tokens, seed, *texts)
    if key not in _adapted:
        model = copy.deepcopy(base)
        data = TokenDocuments.of([str(n) for n in range(len(texts))], texts, tokenizer)
        special = special_ids(tokenizer)
        objective = Masked(length=_length(model), mask=special.mask, special=(special.pad,))
        history = fit(model, objective, data, tokens=tokens, batch_tokens=1024, seed=seed,
                      learning_rate=1e-3)  # fmt: skip
        _adapted.clear()
        _adapted[key] = model, history.plan["tokens"]
    return _adapted[key]


def rate_for(
    key: tuple, make: Callable[[Task, float, int], Any], task: Task, rates: Sequence[float]
) -> float:
    """The rate with the best AUC on a third of the tuning patients; once a process."""
    if len(rates) == 1:
        return rates[0]
    if key not in _rates:
        both = task.with_splits({"train": 2.0, "test": 1.0})
        train, test = both.split("train"), both.split("test")
        _rates[key] = max(
            rates, key=lambda rate: evaluate(make(train, rate, 999), _like(make, test)).value
        )
    return _rates[key]


def _like(make: Any, task: Task) -> Task:
    """The test in the form that the arm reads: joined for the beginning only."""
    return patients_of.joined(task) if make.args[0] == "beginning only" else task


def counts_area(train: Task, test: Task) -> float:
    """AUC of TF-IDF and logistic regression on the joined texts of each set."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    made = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        LogisticRegression(C=10.0, max_iter=2000),
    )
    texts = [[" ".join(some) for some in task.table["texts"].to_pylist()] for task in (train, test)]
    made.fit(texts[0], train.table["label"].to_pylist())
    positive = made.classes_[1]
    labels = [label == positive for label in test.table["label"].to_pylist()]
    return area_under_curve(made.predict_proba(texts[1])[:, 1], labels)


def clinical(
    model: str | None, seed: int, patients: int, test: int, adapt_tokens: int, options: dict,
    tried: tuple,
) -> Prepared:  # fmt: skip
    """Patients drawn from real sections; a base from the zoo, or a user's."""
    base, tokenizer, source, sources, read = opened(model)
    pools, findings, clinical = _notes()
    adapted, tokens = adapt(source.digest, base, tokenizer, (*pools["train"].texts(), *findings),
                            adapt_tokens, seed)  # fmt: skip
    bases = {"as it was": base, "adapted": adapted}
    drawn = patients_of.simulate(pools["train"], patients, seed, "train")
    held = patients_of.simulate(pools["test"], test, seed, "test")
    train = patients_of.as_task(drawn, "patients")
    tuning = patients_of.as_task(patients_of.simulate(pools["train"], 100, 999, "tune"), "tune")
    chosen = {
        name: rate_for((source.digest, name, tried, str(options)), functools.partial(
            tuned, name, bases, tokenizer, options), tuning, tried)
        for name in SHAPES
    }  # fmt: skip
    apart = not set(pools["train"].texts()) & set(pools["test"].texts())
    known = all(section.day <= 0 for patient in [*drawn, *held]
                for section in patients_of.up_to_index(patient.sections))  # fmt: skip
    inputs = Inputs(bases, tokenizer, train, patients_of.as_task(held, "patients"), chosen, options,
                    tokens, read, tuple(pools["test"].texts()), tuple(patients_of.planted(held)),
                    apart, known)  # fmt: skip
    return Prepared(inputs, (*clinical, *sources), (source,))


@functools.lru_cache(maxsize=1)
def _notes() -> tuple:
    return patients_of.notes()


def smoke(seed: int) -> Prepared:
    from tilth.zoo import tiny

    base, tokenizer, _ = tiny("masked")
    words = "file name list object string return value error path read".split()
    others = [f"{one} {other} of the {third}" for one in words for other in words
              for third in words[:3]]  # fmt: skip
    pools = patients_of.Pools([f"the class {text}" for text in others[:60]], others)
    task = patients_of.as_task(patients_of.simulate(pools, 24, seed, "train"), "made")
    held = patients_of.simulate(pools, 24, seed, "test")
    options = {**OPTIONS, "epochs": 3.5, "segment": 16, "pieces": 9}
    return Prepared(Inputs(
        {"as it was": base, "adapted": base}, tokenizer, task, patients_of.as_task(held, "made"),
        dict.fromkeys(SHAPES, 5e-3), options, 0, truth=tuple(patients_of.planted(held)),
    ))  # fmt: skip


def own(
    data: Task, model: str | None, seed: int, adapt_tokens: int, options: dict, tried: tuple
) -> Prepared:
    if len(data.labels) != 2:
        raise DataError(f"has {len(data.labels)} labels; two are needed", where=data.name)
    names = [name for name in data.splits() if name]
    if "train" in names and len(names) > 1:
        train, test = data.split("train"), data.split(next(n for n in names if n != "train"))
    else:
        both = data.with_splits({"train": 2.0, "test": 1.0}, seed)
        train, test = both.split("train"), both.split("test")
    base, tokenizer, source, sources, read = opened(model)
    texts, others = (
        tuple(text for some in side.table["texts"].to_pylist() for text in some)
        for side in (train, test)
    )
    adapted, tokens = adapt(source.digest, base, tokenizer, texts, adapt_tokens, seed)
    if set(test.labels) != set(data.labels):
        raise DataError("the test needs both labels, as the training does", where=data.name)
    bases = {"as it was": base, "adapted": adapted}
    chosen = {
        name: rate_for((source.digest, train.digest, name, tried, str(options)), functools.partial(
            tuned, name, bases, tokenizer, options), train, tried)
        for name in SHAPES
    }  # fmt: skip
    inputs = Inputs(bases, tokenizer, train, test, chosen, options, tokens, read, others)
    return Prepared(inputs, (*data.sources, *sources), (source,))


def tuned(
    name: str, bases: Mapping[str, Any], tokenizer: Any, options: Mapping[str, Any], task: Task,
    rate: float, seed: int,
) -> TaskModel:  # fmt: skip
    encoder, pooling, cut = SHAPES[name]
    given = dict(options)
    if cut:
        # As many tokens as two sections have, from the beginning.
        task, given["pieces"] = patients_of.joined(task), 2
    return fine_tune(bases[encoder], task, tokenizer=tokenizer, learning_rate=rate, seed=seed,
                     pooling=pooling, **given)  # fmt: skip


def left_the_floor(inputs: Inputs) -> Iterator[Invariant]:
    """Whether the adapted encoder learned more than which token is the most frequent."""
    if not inputs.texts:
        return
    model, special = inputs.bases["adapted"], special_ids(inputs.tokenizer)
    ids = [str(n) for n in range(len(inputs.texts))]
    found = above_the_most_frequent(
        model, TokenDocuments.of(ids, list(inputs.texts), inputs.tokenizer), length=_length(model),
        mask=int(special.mask or 0), least_ratio=FLOOR, seed=0,
    )  # fmt: skip
    yield Invariant(f"the adapted encoder names {FLOOR:g} times as many masked tokens as one who "
                    "names the most frequent always", found["passed"])  # fmt: skip


def _length(model: Any) -> int:
    return min(64, model.config.max_position_embeddings - 2)
