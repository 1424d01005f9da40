"""What trains, how fast, and with what decay: rules on parameter names.

A rule's pattern is a shell pattern (`*`, `?`, `[...]`) on the full name of a parameter, as
`model.layers.0.*`; the last rule that matches decides all of it. A parameter that no rule matches
trains as without a policy: if it requires a gradient, with decay where it is a matrix. A tied
weight has several names and is met by each of them. An objective's own modules are called
`objective.NAME.…`. Frozen parameters are not in the optimiser; nothing is kept for them.

`layerwise` makes the rules of layer-wise rate decay (Howard and Ruder, 2018; Clark et al., 2020);
masks keep entries at exactly 0 (as in static sparse training; Mocanu et al., 2018).
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError, nearest
from tilth.objectives.batch import Objective
from tilth.store.digest import digest

if TYPE_CHECKING:
    import torch

ZEROS = "zeros"


@dataclass(frozen=True)
class PolicyRule:
    """`rate` is a factor on the learning rate; `decay` None means that of the training.

    `mask`: None, `"zeros"` (entries that are 0 when the training starts stay 0), or a mapping from
    parameter name to a bool tensor of its shape, True where the entry lives.
    """

    pattern: str
    trainable: bool = True
    rate: float = 1.0
    decay: float | None = None
    mask: str | Mapping[str, torch.Tensor] | None = None


@dataclass(frozen=True)
class Policy:
    """Rules, in order; the last one that matches a name counts."""

    rules: Sequence[PolicyRule] = ()

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule.rate < 0 or (rule.decay is not None and rule.decay < 0):
                raise UsageError("rate and decay are at least 0", where=f"policy {rule.pattern!r}")
            if isinstance(rule.mask, str) and rule.mask != ZEROS:
                raise UsageError(f"{rule.mask!r} is no mask", hint=f"{ZEROS!r} or a mapping")

    def rule_for(self, names: Sequence[str]) -> PolicyRule | None:
        """The last rule that matches one of a parameter's names."""
        for rule in reversed(self.rules):
            if any(fnmatch.fnmatchcase(name, rule.pattern) for name in names):
                return rule
        return None

    def to_value(self) -> list[Any]:
        """JSON that is equal for equal policies; given masks by their digest."""
        made = []
        for rule in self.rules:
            mask = rule.mask
            if mask is not None and not isinstance(mask, str):
                mask = digest(*[part for name in sorted(mask) for part in _bytes(name, mask[name])])
            made.append([rule.pattern, rule.trainable, rule.rate, rule.decay, mask])
        return made


def _bytes(name: str, mask: torch.Tensor) -> tuple[str, bytes]:
    return name, mask.cpu().numpy().tobytes()


@dataclass
class Trained:
    """A parameter that trains: its names (the first counts), rate factor, decay and mask."""

    names: tuple[str, ...]
    parameter: torch.nn.Parameter
    rate: float = 1.0
    decay: float = 0.0
    mask: torch.Tensor | None = None

    @property
    def name(self) -> str:
        return self.names[0]


def modules_of(model: torch.nn.Module, objective: Objective | None = None) -> dict[str, Any]:
    """All modules of a training: prefix of their names -> module. The model's prefix is empty."""
    own = getattr(objective, "modules", None) or {}
    return {"": model, **{f"objective.{name}.": module for name, module in own.items()}}


def names_of(
    model: torch.nn.Module, objective: Objective | None = None
) -> dict[torch.nn.Parameter, tuple[str, ...]]:
    """Every parameter once, with all its names, in the order of the modules."""
    found: dict[torch.nn.Parameter, list[str]] = {}
    for prefix, module in modules_of(model, objective).items():
        for name, parameter in module.named_parameters(remove_duplicate=False):
            found.setdefault(parameter, []).append(prefix + name)
    return {parameter: tuple(names) for parameter, names in found.items()}


@contextlib.contextmanager
def applied(
    policy: Policy | None,
    model: torch.nn.Module,
    objective: Objective | None = None,
    weight_decay: float = 0.1,
) -> Iterator[list[Trained]]:
    """What trains under a policy; afterwards each parameter requires what it required before.

    Masked entries are set to 0 at once. Raises UsageError for a pattern that matches nothing and
    where nothing is left to train, DataError for a mask that does not fit.
    """
    named = names_of(model, objective)
    before = {parameter: parameter.requires_grad for parameter in named}
    _check_patterns(policy, [name for names in named.values() for name in names])
    try:
        made = []
        for parameter, names in named.items():
            rule = policy.rule_for(names) if policy else None
            if rule is not None:
                parameter.requires_grad_(rule.trainable and rule.rate > 0)
            if not parameter.requires_grad:
                continue
            decay = weight_decay if parameter.dim() >= 2 else 0.0
            one = Trained(names, parameter, 1.0, decay)
            if rule is not None:
                one.rate = rule.rate
                one.decay = decay if rule.decay is None else rule.decay
                one.mask = _mask(rule, one)
            made.append(one)
        if not made:
            raise UsageError("no parameter of the model is trainable")
        hold_masks(made)
        yield made
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)


def _check_patterns(policy: Policy | None, names: Sequence[str]) -> None:
    for rule in policy.rules if policy else ():
        if not fnmatch.filter(names, rule.pattern):
            raise UsageError(
                f"no parameter is called {rule.pattern!r}", where="policy",
                hint=nearest(rule.pattern, names),
            )  # fmt: skip


def _mask(rule: PolicyRule, one: Trained) -> torch.Tensor | None:
    if rule.mask is None:
        return None
    if rule.mask == ZEROS:
        return one.parameter.detach() != 0
    assert not isinstance(rule.mask, str)
    for name in one.names:
        if name in rule.mask:
            mask = rule.mask[name]
            if mask.shape != one.parameter.shape or mask.dtype.is_floating_point:
                raise DataError(
                    f"the mask is {tuple(mask.shape)} of {mask.dtype}, the parameter "
                    f"{tuple(one.parameter.shape)}", where=name, hint="a bool tensor of its shape",
                )  # fmt: skip
            return mask.to(one.parameter.device).bool()
    return None


def hold_masks(trained: Sequence[Trained], *, gradients: bool = False) -> None:
    """Set masked entries of the weights, or of their gradients, to exactly 0."""
    for one in trained:
        if one.mask is not None:
            place = one.parameter.grad if gradients else one.parameter.data
            if place is not None:
                place.masked_fill_(~one.mask, 0.0)


def groups(trained: Sequence[Trained]) -> list[dict[str, Any]]:
    """The groups of an optimiser, matrices first; `rate` is the factor of a group."""
    made: dict[tuple[float, float], dict[str, Any]] = {}
    for one in sorted(trained, key=lambda one: one.parameter.dim() < 2):
        group = made.setdefault(
            (one.rate, one.decay), {"params": [], "rate": one.rate, "weight_decay": one.decay}
        )
        group["params"].append(one.parameter)
    return list(made.values())


def layerwise(model: torch.nn.Module, factor: float) -> Policy:
    """Rates that fall by `factor` a layer, from 1 above the last layer down to the embeddings.

    Layers are the numbers of the longest list of blocks; what lies in no numbered block has rate 1
    if it comes after the blocks, else `factor` to the power of layers + 1.
    """
    if not 0 < factor <= 1:
        raise UsageError(f"a factor of {factor} does not lie from 0 to 1")
    named = names_of(model)
    blocks = {names[0]: block_of(names[0]) for names in named.values()}
    layers = 1 + max((block for block in blocks.values() if block is not None), default=-1)
    if layers == 0:
        raise UsageError("the model has no numbered layers")
    rules, passed = [], False
    for name, block in blocks.items():
        passed = passed or block is not None
        depth = layers - block if block is not None else (0 if passed else layers + 1)
        rules.append(PolicyRule(literal(name), rate=factor**depth))
    return Policy(rules)


def block_of(name: str) -> int | None:
    """The number of the block that a parameter lies in; None outside of the blocks."""
    match = re.search(r"\.(\d+)\.", name)
    return int(match[1]) if match else None


def literal(name: str) -> str:
    """A pattern that matches this name only."""
    return re.sub(r"([\[\]*?])", r"[\1]", name)
