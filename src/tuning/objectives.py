"""What trials are compared by: numbers of the validation score, and what a training costs."""

from collections.abc import Mapping
from typing import Literal

import optuna

from ..config.params import Params
from ..core.errors import UserError
from ..evaluation.catalogue import CATALOGUE, QUICK_NUMBERS

COSTS = ("seconds_per_kimg", "peak_memory_mib", "generator_parameters")
"""Training time for a thousand images, scoring left out; the trial's peak memory (on a GPU what PyTorch allocated there,
otherwise the process's resident memory); the generator's weights. Lower is better."""
MEASURES = ("score", *QUICK_NUMBERS, *COSTS)
Direction = Literal["minimize", "maximize"]


def direction(name: str) -> Direction:
    """Which way a measure is better."""
    return "maximize" if name in CATALOGUE and CATALOGUE[name].better == "higher" else "minimize"


def check(params: Params) -> None:
    """Raise UserError for an objective or constraint that no trial of this study would have."""
    objectives = params.tune.objectives
    if len(set(objectives)) < len(objectives):
        raise UserError(f"tune.objectives: {', '.join(objectives)} has a name twice")
    if len(objectives) > 1 and params.tune.sampler == "cmaes":
        raise UserError("tune.sampler: cmaes knows one objective only; with several take tpe, gp, random or qmc")
    for place, names in (("objectives", objectives), ("constraints", params.tune.constraints)):
        for name in names:
            if name not in MEASURES:
                raise UserError(f"tune.{place}: {name} is not measured in a trial; allowed are {', '.join(MEASURES)}")
            kinds = _values(params, "model.conditioning")
            unlabelled = "none" in kinds
            if name == "score" and unlabelled and len(kinds) > 1:
                raise UserError(
                    f"tune.{place}: score is another number where model.conditioning is none, so it cannot compare none with "
                    "others; take frechet_classifier_distance, or leave none out"
                )
            if unlabelled and name in CATALOGUE and CATALOGUE[name].labelled:
                raise UserError(f"tune.{place}: {name} is about labels, which model.conditioning none does not use")


def _values(params: Params, name: str) -> list[object]:
    entry = params.tune.space.get(name)
    return list(getattr(entry, "choices", [])) or [params.flat()[name]]


def can_prune(objectives: list[str]) -> bool:
    """Whether trials can be compared on the way: with one objective, which the training measures at each score."""
    return len(objectives) == 1 and objectives[0] not in COSTS


def set_constraints(trial: optuna.Trial, params: Params, measured: Mapping[str, float]) -> None:
    """Tell Optuna by how much each limit of ``tune.constraints`` is exceeded, as far as it has been measured."""
    for name, limit in params.tune.constraints.items():
        if name in measured:
            trial.set_constraint(name, excess(measured[name], limit.at_least, limit.at_most))


def excess(value: float, at_least: float | None, at_most: float | None) -> float:
    """How far a value lies beyond its limit; 0 or less is allowed."""
    return at_least - value if at_least is not None else value - at_most if at_most is not None else 0.0
