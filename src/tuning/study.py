"""The study: all trials of a search, which outlive the processes that run them."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..config.params import Params
from ..core.errors import UserError
from . import space
from .retries import FINISHED, next_attempts

FINGERPRINT, OBJECTIVES, IDENTITY, RUN_ID = "fingerprint", "objectives", "identity", "mlflow_run_id"
"""User attributes of a study; IDENTITY distinguishes it from an earlier one of the same name. RUN_ID is also a user attribute
of a trial: its own MLflow run."""
SEARCHED = ("model.", "train.")
OTHER_NAME = "give tune.study (--study) another name"
UNCOMPARED = tuple(name for name in space.NOT_SEARCHED if name not in ("train.score_samples", "train.seed"))
"""Parameters of train that a trial does not take from params.yaml, or that change no score."""


def fingerprint(params: Params, data_hash: str, classifier_hash: str) -> dict[str, Any]:
    """Everything except the searched values that the score of a trial depends on, by name, as plain JSON values."""
    tune = params.tune
    return {
        **{
            name: value for name, value in params.flat().items() if name.startswith(SEARCHED) and name not in UNCOMPARED
        },
        "tune.kimg": tune.kimg,
        "tune.score_every_kimg": tune.score_every_kimg,
        "evaluate.nearest_k": params.evaluate.nearest_k,
        "tune.constraints": {name: limit.model_dump(exclude_none=True) for name, limit in tune.constraints.items()},
        "data.hash": data_hash,
        "classifier.hash": classifier_hash,
    }


def open_study(params: Params, base: Mapping[str, Any], storage: BaseStorage) -> optuna.Study:
    """Create the study ``tune.study``, or open it with the trials of earlier calls; ``base`` is its :func:`fingerprint`.

    The study keeps its first fingerprint, which contains the values of parameters that a trial did not draw. Raises
    UserError when its trials cannot be compared with new ones. The caller holds the storage's lock.
    """
    name, wanted = params.tune.study, params.tune.objectives
    study = create_study(name, wanted, storage, {IDENTITY: uuid.uuid4().hex, FINGERPRINT: dict(base)})
    if (stored := study.user_attrs.get(OBJECTIVES)) != wanted:
        before = ", ".join(stored or ["something else"])
        raise UserError(f"the study {name!r} compares its trials by {before}, not by {', '.join(wanted)}; {OTHER_NAME}")
    first = study.user_attrs[FINGERPRINT]
    differing = [
        f"{name} {_short(first.get(name))} (now {_short(base.get(name))})"
        for name in {**first, **base}
        if name not in params.tune.space and first.get(name) != base.get(name)
    ]
    if differing:
        raise UserError(
            f"the study {name!r} was created with {', '.join(differing)}, so new scores are not comparable; "
            f"restore these values, or {OTHER_NAME}"
        )
    drawn = {one: old for trial in study.get_trials(deepcopy=False) for one, old in trial.distributions.items()}
    for one, entry in params.tune.space.items():
        if one in drawn and not space.fits(drawn[one], entry):
            raise UserError(
                f"tune.space.{one} was {drawn[one]} in the study {name!r} and is "
                f"{json.dumps(entry.model_dump(exclude_unset=True))} now: only the bounds of a range can change; restore it, "
                f"or {OTHER_NAME}"
            )
    return study


def create_study(
    name: str, objectives: Sequence[str], storage: BaseStorage, attributes: Mapping[str, Any]
) -> optuna.Study:
    """Create a study with user attributes, unless it exists."""
    directions = [space.direction(one) for one in objectives]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
    # Also completes one whose process was killed while it created it.
    if OBJECTIVES not in study.user_attrs and not study.get_trials(deepcopy=False):
        study.set_metric_names(list(objectives))
        for attribute, value in {**attributes, OBJECTIVES: list(objectives)}.items():
            study.set_user_attr(attribute, value)
    return existing_study(name, storage)


def existing_study(name: str, storage: BaseStorage) -> optuna.Study:
    """Open a study. Raises UserError if it does not exist."""
    try:
        return optuna.load_study(study_name=name, storage=storage, sampler=RandomSampler(), pruner=NopPruner())
    except KeyError:
        known = ", ".join(sorted(optuna.get_all_study_names(storage))) or "none"
        raise UserError(
            f"there is no study named {name!r} (existing studies: {known}); `python -m src.tune --study {name}` creates it"
        ) from None


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else "unknown" if value is None else str(value)


def make_sampler(study: optuna.Study, params: Params) -> BaseSampler:
    """The sampler for the study's next trial.

    Optuna does not store a sampler's random state. With a seed derived from ``tune.seed`` and the number of trials, workers
    draw different values, and an interrupted study draws the same values as an uninterrupted one.
    """
    trials = study.get_trials(deepcopy=False)
    number = len(trials) - len(next_attempts(trials))
    seed = int.from_bytes(hashlib.sha256(f"{params.tune.seed} {number}".encode()).digest()[:4], "big")
    match params.tune.sampler:
        case "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        case "cmaes":
            # Its state is stored in the study; categorical and conditional parameters are drawn by TPE.
            independent = TPESampler(seed=seed)
            return CmaEsSampler(seed=seed, independent_sampler=independent, warn_independent_sampling=False)
        case "qmc":
            # All workers share one sequence, and so its seed; the position in it is stored in the study.
            return QMCSampler(
                seed=params.tune.seed,
                scramble=True,
                independent_sampler=RandomSampler(seed=seed),
                warn_independent_sampling=False,
            )
        case "random":
            return RandomSampler(seed=seed)
        case _:
            conditional = any(entry.when for entry in params.tune.space.values())
            return TPESampler(seed=seed, group=conditional, multivariate=True)


def make_pruner(params: Params) -> BasePruner:
    """The pruner; its steps are the validation scores of a trial, from 1. None if trials cannot be pruned."""
    tune = params.tune
    scores = max(1, round(tune.kimg / tune.score_every_kimg))
    if tune.pruner == "none" or not space.can_prune(tune.objectives):
        return NopPruner()
    if tune.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=scores)
    # No pruning in the first third: trials with low rates or strong dropout start slowly, and may still win.
    return MedianPruner(n_startup_trials=5, n_warmup_steps=1 + scores // 3)


def enqueue(study: optuna.Study, values: Mapping[str, Any], params: Params, **attributes: Any) -> list[str]:
    """Enqueue a trial with these values, unless it exists; returns the names that are outside the space.

    If there are any, nothing is enqueued.
    """
    beyond = space.outside(values, params.tune.space)
    if not beyond:
        stored = {name: space.encode(value) for name, value in values.items()}
        study.enqueue_trial(stored, user_attrs=attributes, skip_if_exists=True)
    return beyond


def finished(study: optuna.Study) -> int:
    """The number of trials that are complete or pruned."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a complete trial satisfies the study's constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best complete trial that satisfies the constraints, or the Pareto front; empty if there is none."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.values[0])
    try:
        return [study.best_trial]
    except ValueError:  # no trial is feasible
        return []


def objective_names(study: optuna.Study) -> list[str]:
    """The names of the study's objectives."""
    return study.user_attrs.get(OBJECTIVES) or ["score"]


def trial_number(study: optuna.Study, number: int) -> FrozenTrial:
    """A trial by its number. Raises UserError if the study does not have it."""
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        numbers = f"0 to {len(trials) - 1}" if trials else "none yet"
        raise UserError(f"the study {study.study_name!r} has no trial {number}; it has {numbers}")
    return trials[number]


def all_values(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """All values of model and train that a trial was trained with, except for its length."""
    return {**base_values(study), **space.decoded(trial.params)}


def base_values(study: optuna.Study) -> dict[str, Any]:
    """The values of the parameters of model and train in the study, for trials that did not draw them."""
    return {name: value for name, value in study.user_attrs[FINGERPRINT].items() if name.startswith(SEARCHED)}


def run_length(study: optuna.Study) -> dict[str, float]:
    """``train.kimg`` and ``train.score_every_kimg`` of the study's trials."""
    return {f"train.{name}": study.user_attrs[FINGERPRINT][f"tune.{name}"] for name in ("kimg", "score_every_kimg")}
