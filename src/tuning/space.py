"""The search space, objectives and constraints of params.yaml in Optuna's terms."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ..config.params import Choices, IntRange, Params, SpaceEntry, alternatives, parameters
from ..core.errors import UserError
from ..evaluation.catalogue import CATALOGUE, QUICK_NUMBERS

NOT_SEARCHED = {one.name: one.fixed for one in parameters() if one.fixed}
"""Parameters of train that define how a trial is run and measured, each with the reason why it cannot be searched."""
COSTS = ("seconds_per_kimg", "peak_memory_mib", "generator_parameters")
"""Training time per thousand images without scoring; peak memory (on a GPU what PyTorch allocated there, otherwise the
resident memory of the process); number of weights of the generator. Lower is better."""
MEASURES = ("score", *QUICK_NUMBERS, *COSTS)
Direction = Literal["minimize", "maximize"]


def check(params: Params) -> None:
    """Raise UserError for an invalid search space, or for an objective or constraint that a trial does not measure."""
    if not params.tune.space:
        raise UserError("tune.space is empty: name at least one parameter of model or train to search")
    for name in params.tune.space:
        if name in NOT_SEARCHED:
            raise UserError(f"tune.space.{name} cannot be searched: {NOT_SEARCHED[name]}")
    objectives = params.tune.objectives
    if len(set(objectives)) < len(objectives):
        raise UserError(f"tune.objectives: {', '.join(objectives)} has a name twice")
    if len(objectives) > 1 and params.tune.sampler == "cmaes":
        raise UserError("tune.sampler: cmaes supports a single objective; with several use tpe, gp, random or qmc")
    for section, names in (("objectives", objectives), ("constraints", params.tune.constraints)):
        for name in names:
            _check_measure(params, section, name)


def _check_measure(params: Params, section: str, name: str) -> None:
    if name not in MEASURES:
        raise UserError(f"tune.{section}: {name} is not measured in a trial; allowed are {', '.join(MEASURES)}")
    entry = params.tune.space.get("model.conditioning")
    kinds = list(getattr(entry, "choices", [])) or [params.model.conditioning]
    if "none" not in kinds:
        return
    if name == "score" and len(kinds) > 1:
        raise UserError(
            f"tune.{section}: score is another measure where model.conditioning is none, so it cannot compare none with "
            "others; use frechet_classifier_distance, or leave none out"
        )
    if name in CATALOGUE and CATALOGUE[name].labelled:
        raise UserError(f"tune.{section}: {name} needs labels, which model.conditioning none does not use")


def direction(name: str) -> Direction:
    """The direction in which a measure improves."""
    return "maximize" if name in CATALOGUE and CATALOGUE[name].better == "higher" else "minimize"


def can_prune(objectives: list[str]) -> bool:
    """Whether trials can be pruned: Optuna needs a single objective, which training measures at each score."""
    return len(objectives) == 1 and objectives[0] not in COSTS


def set_constraints(trial: optuna.Trial, params: Params, measured: Mapping[str, float]) -> None:
    """Report to Optuna by how much each limit of ``tune.constraints`` is exceeded; 0 or less is feasible."""
    for name, limit in params.tune.constraints.items():
        if name in measured:
            value = measured[name]
            excess = limit.at_least - value if limit.at_least is not None else value - (limit.at_most or 0.0)
            trial.set_constraint(name, excess)


def draw(trial: optuna.Trial, params: Params) -> dict[str, Any]:
    """The values of a trial by dotted name, without parameters whose conditions do not hold (those keep params.yaml's)."""
    values, drawn = params.flat(), dict[str, Any]()
    for name, entry in params.tune.space.items():
        if _applies(entry, values):
            values[name] = drawn[name] = _suggest(trial, name, entry)
    return drawn


def current_values(params: Params) -> dict[str, Any]:
    """The values in params.yaml of the searched parameters whose conditions hold."""
    values = params.flat()
    return {name: values[name] for name, entry in params.tune.space.items() if _applies(entry, values)}


def _applies(entry: SpaceEntry, values: Mapping[str, Any]) -> bool:
    return all(values[name] in alternatives(wanted) for name, wanted in (entry.when or {}).items())


def _suggest(trial: optuna.Trial, name: str, entry: SpaceEntry) -> Any:
    if isinstance(entry, Choices):
        return decode(trial.suggest_categorical(name, [encode(value) for value in entry.choices]))
    suggest = trial.suggest_int if isinstance(entry, IntRange) else trial.suggest_float
    return suggest(name, **entry.model_dump(exclude={"when"}))


def distribution(entry: SpaceEntry) -> BaseDistribution:
    """The distribution from which an entry of the space is drawn."""
    if isinstance(entry, Choices):
        return CategoricalDistribution([encode(value) for value in entry.choices])
    kind = IntDistribution if isinstance(entry, IntRange) else FloatDistribution
    return kind(**entry.model_dump(exclude={"when"}))


def encode(value: Any) -> Any:
    """A value as it is stored by Optuna, which supports no lists."""
    return json.dumps(value) if isinstance(value, list) else value


def decode(value: Any) -> Any:
    """The value that :func:`encode` stored."""
    return json.loads(value) if isinstance(value, str) and value.startswith("[") else value


def decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a trial as values of params.yaml."""
    return {name: decode(value) for name, value in values.items()}


def fits(old: BaseDistribution, entry: SpaceEntry) -> bool:
    """Whether one study can contain both: the bounds of a range may change, its kind and a list of choices may not."""
    new = distribution(entry)
    if isinstance(new, IntDistribution | FloatDistribution):
        return isinstance(old, type(new)) and old.log == new.log
    return old == new


def outside(values: Mapping[str, Any], space: Mapping[str, SpaceEntry]) -> list[str]:
    """The names of the values that a trial could not have drawn."""
    return [name for name, value in values.items() if not _contains(space[name], value)]


def _contains(entry: SpaceEntry, value: Any) -> bool:
    try:
        optuna.create_trial(
            state=optuna.trial.TrialState.WAITING, params={"_": encode(value)}, distributions={"_": distribution(entry)}
        )
    except ValueError:
        return False
    return True
