"""What makes a paper a row: its card, its claims, its arms. The nouns that a system is written in.

A system is a module with five names (`System`); the method itself lives in a room. For example:

    CARD = Card(slug="spgc", title="A standardized ...", year=2018, family="corpus",
                claim="...", data_kind="corpus", part="[transforms.headers] in a plan",
                modules=("tilth.corpus.transforms.headers",))
    CLAIMS = (Claim(metric="body F1", method="markers", baseline="two markers", margin=0.01,
                    kind="counted", primary=True),)

    def prepare(scale, data, model, seed, *, books=20):    # books: `--set books=40`
        ...
        return Prepared(inputs, data=(Source("books_pg_raw", digest, licence),))

    def markers(inputs, seed):
        return Measured({"body F1": one_number_a_book}, tokens=0, products={"kept": kept})

    ARMS = {"markers": markers, "two markers": two_markers}

    def invariants(inputs, measured):
        yield Invariant("counts add up", measured["markers"].products["kept"] == ...)

A margin and the primary claim are committed before the first run at scale `small`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from tilth.data.sets import Source
from tilth.errors import TilthError, nearest

if TYPE_CHECKING:
    import numpy

SCALES = ("smoke", "small", "own")

# How many seeds a claim needs before it may be judged.
MINIMUM_SEEDS = {"learned": 5, "counted": 3, "timed": 3, "exact": 3}

MODEL_KINDS = ("none", "causal", "masked", "seq2seq", "encoder", "any")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a paper is, in our own words.

    `claim`: one or two sentences of ours. `data_kind`: what `--data` takes: `none`, `corpus`, or a
    kind of Task. `model_kind`: what `--model` takes, one of `MODEL_KINDS`. `part`: what a user
    types or names to apply the method without the comparison, as `transform headers`. `modules`:
    where the method lives; a change there makes a result stale. `arxiv`: only where sure.
    `simulated`: what is made by code with known truth, empty where all data are real. `when`,
    `when_not`, `not_covered`: sentences for the page of the method, ours too.
    """

    slug: str
    title: str
    year: int
    family: str
    claim: str
    part: str
    modules: tuple[str, ...] = ()
    data_kind: str = "none"
    model_kind: str = "none"
    arxiv: str | None = None
    simulated: str = ""
    when: str = ""
    when_not: str = ""
    not_covered: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """`method` beats `baseline` on `metric` by more than `margin`.

    `direction`: +1 where more is better, -1 where less is. `margin` is in the metric's unit and
    never depends on the direction: 0.01 means better by more than 0.01; a negative margin means
    not worse by more than that. With `relative` the difference is a factor minus 1: method over
    baseline, or baseline over method where less is better (0.2: 1.2 times as good).
    `kind`: `learned` (5 seeds), `counted` (3), `timed` (3, each the median of 9 interleaved
    repeats) or `exact` (a size or a count that no sample or seed can change; no interval).
    `equal`: the budget that both arms must spend alike, `tokens` or `flops`, checked within 1 %.
    `paper`: the paper's own difference, None where it is not known for sure.
    """

    metric: str
    method: str
    baseline: str
    margin: float
    kind: Literal["learned", "counted", "timed", "exact"]
    direction: Literal[1, -1] = 1
    primary: bool = False
    unit: str = ""
    relative: bool = False
    equal: Literal["", "tokens", "flops"] = ""
    paper: float | None = None

    def sentence(self) -> str:
        """The claim in one line."""
        amount = f"{abs(self.margin):.3g}" + (f" {self.unit}" if self.unit else "")
        if self.relative:
            amount = f"a factor of {1 + abs(self.margin):.3g}"
        than = f"{self.method} against {self.baseline}: {self.metric}"
        if self.margin < 0:
            return f"{than} is worse by less than {amount}"
        word = "higher" if self.direction > 0 else "lower"
        return f"{than} is {word}" + (f" by more than {amount}" if self.margin else "")


class Invariant(NamedTuple):
    """Something that must be true exactly, whatever the data."""

    name: str
    holds: bool


class ModelSource(NamedTuple):
    """A base model that went into a result; `gate` says whether it passed its stated gate."""

    name: str
    digest: str
    gate: bool = True


@dataclass(frozen=True)
class Prepared:
    """What all arms of one seed share. `inputs` is whatever the arms need; arms do not change it.

    `driver` names the generator behind the texts, where there is one.
    """

    inputs: Any
    data: tuple[Source, ...] = ()
    models: tuple[ModelSource, ...] = ()
    driver: str = "none"


@dataclass(frozen=True)
class Ratio:
    """A metric that is a ratio of sums over examples: bits per byte, micro precision."""

    numerators: numpy.ndarray
    denominators: numpy.ndarray


@dataclass(frozen=True)
class Measured:
    """What one arm gives for one seed.

    `metrics`: name -> one value an example (any sequence of numbers), in the same order for every
    arm, and for every seed where the examples are the same; or a `Ratio`; or, where it is not a
    mean over examples, one number. `timed`: name -> function without arguments; the runner calls
    it 9 times in turn with the other arms and takes the median of its seconds, or of the numbers
    that it returns. `tokens`, `flops`: spent, all stages of the arm together. `parameters`: those
    that learned, where a model did: a claim about learning with fewer than 2 tokens a parameter is
    not decided; 0 asks for nothing. `products`: anything the invariants look at.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    timed: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    tokens: int = 0
    flops: float = 0.0
    parameters: int = 0
    products: Mapping[str, Any] = field(default_factory=dict)


class System(Protocol):
    """The names of a system module. `SEEDS` (an int) may be added to ask for more than the least.

    `prepare(scale, data, model, seed, *, option=default, ...)`: `data` is None (take the system's
    own: at `smoke` the Python installation or made data), a `SetPath` or a `Task`; `model` is None
    or a folder; the keyword-only options are what `--set` takes.
    `invariants(inputs, measured)`: of the first seed; `measured` maps each arm to its Measured.
    """

    CARD: Card
    CLAIMS: tuple[Claim, ...]
    ARMS: Mapping[str, Callable[[Any, int], Measured]]

    def prepare(
        self, scale: str, data: Any, model: str | None, seed: int, **options: Any
    ) -> Prepared: ...

    def invariants(self, inputs: Any, measured: Mapping[str, Measured]) -> Iterable[Invariant]: ...


def check_system(system: System) -> None:
    """Refuse a system whose card and claims do not fit its arms. Raises TilthError, in one line."""
    for name in ("CARD", "CLAIMS", "ARMS", "prepare", "invariants"):
        if not hasattr(system, name):
            raise TilthError(f"a system needs {name}", where=getattr(system, "__name__", "system"))
    slug = system.CARD.slug

    def require(good: bool, what: str, hint: str = "") -> None:
        if not good:
            raise TilthError(what, where=f"system {slug}", hint=hint)

    require(bool(system.CARD.claim.strip()), "the card has no claim")
    require(bool(system.CARD.part.strip()), "the card names no part that a user can apply")
    model_kind = system.CARD.model_kind
    require(
        model_kind in MODEL_KINDS, f"no model kind {model_kind!r}", nearest(model_kind, MODEL_KINDS)
    )
    primary = sum(claim.primary for claim in system.CLAIMS)
    require(primary == 1, f"exactly one claim must be primary, not {primary}")
    seen = set()
    for claim in system.CLAIMS:
        for arm in (claim.method, claim.baseline):
            require(arm in system.ARMS, f"no arm {arm!r}", nearest(arm, system.ARMS))
        require(claim.method != claim.baseline, f"{claim.method!r} is compared with itself")
        require(claim.direction in (1, -1), "direction is +1 or -1")
        require(math.isfinite(claim.margin), "a margin is a finite number")
        require(
            claim.kind in MINIMUM_SEEDS,
            f"no kind {claim.kind!r}",
            nearest(claim.kind, MINIMUM_SEEDS),
        )
        key = (claim.metric, claim.method, claim.baseline)
        require(key not in seen, f"the claim {claim.sentence()!r} is there twice")
        seen.add(key)
