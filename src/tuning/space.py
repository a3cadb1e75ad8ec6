"""The search space of params.yaml in Optuna's words."""

import json
import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from ..config.params import Choices, IntRange, Params, SpaceEntry, alternatives, parameters
from ..core.errors import UserError

NOT_SEARCHED = {one.name: one.fixed for one in parameters() if one.fixed}
"""Parameters of train that say how a trial is run and measured, not what is tried, each with the reason."""


def check(params: Params) -> None:
    """Raise UserError for an empty space, or a parameter that belongs to the measurement and not to the search."""
    if not params.tune.space:
        raise UserError("tune.space is empty: name at least one parameter of model or train to search")
    for name in params.tune.space:
        if name in NOT_SEARCHED:
            raise UserError(f"tune.space.{name} cannot be searched: {NOT_SEARCHED[name]}")


def draw(trial: optuna.Trial, params: Params) -> dict[str, Any]:
    """A trial's values by dotted name; those whose conditions do not hold are left out, and keep params.yaml's value."""
    values, drawn = params.flat(), dict[str, Any]()
    for name, entry in params.tune.space.items():
        if _applies(entry, values):
            values[name] = drawn[name] = _suggest(trial, name, entry)
    return drawn


def _applies(entry: SpaceEntry, values: Mapping[str, Any]) -> bool:
    return all(values[name] in alternatives(wanted) for name, wanted in (entry.when or {}).items())


def _suggest(trial: optuna.Trial, name: str, entry: SpaceEntry) -> Any:
    if isinstance(entry, Choices):
        return decode(trial.suggest_categorical(name, [encode(value) for value in entry.choices]))
    if isinstance(entry, IntRange):
        return trial.suggest_int(name, entry.low, entry.high, log=entry.log, step=entry.step)
    return trial.suggest_float(name, entry.low, entry.high, log=entry.log, step=entry.step)


def encode(value: Any) -> Any:
    """A value as Optuna stores it, which knows no lists."""
    return json.dumps(value) if isinstance(value, list) else value


def decode(value: Any) -> Any:
    """The value that :func:`encode` has stored."""
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's parameters as values of params.yaml."""
    return {name: decode(value) for name, value in values.items()}


def fits(old: BaseDistribution, entry: SpaceEntry) -> bool:
    """Whether one study can hold both: the ends of a range may move, its kind and a list of choices may not."""
    if isinstance(entry, Choices):
        choices = getattr(old, "choices", None)
        return choices is not None and list(choices) == [encode(value) for value in entry.choices]
    kind = IntDistribution if isinstance(entry, IntRange) else FloatDistribution
    return isinstance(old, kind) and old.log == entry.log


def current_values(params: Params) -> dict[str, Any]:
    """What params.yaml says now for the parameters of the space whose conditions hold."""
    values = params.flat()
    return {name: values[name] for name, entry in params.tune.space.items() if _applies(entry, values)}


def outside(values: Mapping[str, Any], space: Mapping[str, SpaceEntry]) -> list[str]:
    """Those of the values that a trial could not have drawn."""
    return [name for name, value in values.items() if not _holds(space[name], value)]


def _holds(entry: SpaceEntry, value: Any) -> bool:
    if isinstance(entry, Choices):
        return value in entry.choices
    if not isinstance(value, int | float) or not entry.low <= value <= entry.high:
        return False
    if entry.log or entry.step is None:
        return True
    steps = (value - entry.low) / entry.step
    return math.isclose(steps, round(steps), abs_tol=1e-8)
