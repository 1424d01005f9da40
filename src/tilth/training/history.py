"""What happens in a training: its points, where it is, what is left of it at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tilth.training.order import Cursor


@dataclass(frozen=True)
class Point:
    """One step: tokens consumed up to its end, loss in nats per target, rate, gradient norm."""

    step: int
    tokens: int
    loss: float
    learning_rate: float
    gradient_norm: float


@dataclass
class State:
    """Where a training is: with weights, moments and generators, all that a checkpoint holds.

    `skipped`: [step, reason] of each step that the guard left out. `dropped` and `counted` are
    those of the `RowOrder`.
    """

    step: int = 0
    tokens: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    dropped: int = 0
    counted: tuple[int, int] = (-1, -1)
    points: list[Point] = field(default_factory=list)
    skipped: list[list[Any]] = field(default_factory=list)

    @classmethod
    def of(cls, value: dict[str, Any]) -> State:
        """The state that a checkpoint's JSON says."""
        return cls(
            value["step"], value["tokens"], Cursor(**value["cursor"]), value["dropped"],
            tuple(value["counted"]), [Point(**point) for point in value["points"]],
            value["skipped"],
        )  # fmt: skip


@dataclass
class History:
    """What happened: the plan, one point a step, what the objective dropped, steps left out."""

    plan: dict[str, Any]
    points: list[Point]
    dropped_tokens: int
    skipped: list[list[Any]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Mean training loss over the last tenth of the steps, nats per target."""
        last = self.points[-max(1, len(self.points) // 10) :]
        return sum(point.loss for point in last) / len(last)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value without times or host facts."""
        points = [asdict(point) for point in self.points]
        made = {"plan": self.plan, "points": points, "dropped_tokens": self.dropped_tokens}
        return {**made, "skipped": self.skipped}
