"""The search space of params.yaml in Optuna's words."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from src.errors import UserError
from src.params import Choices, IntRange, Params, SpaceEntry

NOT_SEARCHED = {
    "train.kimg": "the length of a trial is tune.kimg",
    "train.score_every_kimg": "a trial's scores are taken every tune.score_every_kimg",
    "train.log_every_kimg": "it changes no score",
    "train.device": "it is the same for all trials",
    "train.score_samples": "scores of different sample counts cannot be compared",
    "train.seed": "the search would pick luck",
    "train.compile": "it changes no score",
    "train.deterministic": "it changes no score",
    "train.checkpoint_minutes": "a trial saves no checkpoints",
    "train.max_rollbacks": "a trial that diverges is pruned",
}
"""Parameters of train that say how a trial is run and measured, not what is tried, each with the reason."""


def distributions(params: Params) -> dict[str, BaseDistribution]:
    """What every trial draws from, by dotted name.

    Raises UserError for an empty space, or a parameter that belongs to the measurement and not to the search.
    """
    space = params.tune.space
    if not space:
        raise UserError("tune.space is empty: name at least one parameter of model or train to search")
    for name in space:
        if name in NOT_SEARCHED:
            raise UserError(f"tune.space.{name} cannot be searched: {NOT_SEARCHED[name]}")
    return {name: _distribution(entry) for name, entry in space.items()}


def _distribution(entry: SpaceEntry) -> BaseDistribution:
    if isinstance(entry, Choices):
        return CategoricalDistribution(entry.choices)
    if isinstance(entry, IntRange):
        return IntDistribution(entry.low, entry.high, log=entry.log, step=entry.step)
    return FloatDistribution(entry.low, entry.high, log=entry.log, step=entry.step)


def same_kind(old: BaseDistribution, new: BaseDistribution) -> bool:
    """Whether one study can hold both: the ends of a range may move, its kind and a list of choices may not."""
    if isinstance(old, FloatDistribution | IntDistribution) and isinstance(new, FloatDistribution | IntDistribution):
        return type(old) is type(new) and old.log == new.log
    return old == new


def current_values(params: Params) -> dict[str, Any]:
    """What params.yaml says now for the parameters of the space."""
    values = params.flat()
    return {name: values[name] for name in params.tune.space}


def outside(values: Mapping[str, Any], space: Mapping[str, SpaceEntry]) -> list[str]:
    """Those names of the space whose value a trial could not have drawn."""
    return [name for name, entry in space.items() if not _holds(entry, values.get(name))]


def _holds(entry: SpaceEntry, value: Any) -> bool:
    if isinstance(entry, Choices):
        return value in entry.choices
    if not isinstance(value, int | float) or not entry.low <= value <= entry.high:
        return False
    if entry.log or entry.step is None:
        return True
    steps = (value - entry.low) / entry.step
    return math.isclose(steps, round(steps), abs_tol=1e-8)
