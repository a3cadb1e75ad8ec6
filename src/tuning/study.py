"""The study: all trials of a search, which outlive the processes that make them."""

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
from . import objectives
from .retries import next_attempts
from .space import NOT_SEARCHED, decoded, encode, fits, outside
from .storage import shown

FINGERPRINT, OBJECTIVES, IDENTITY, RUN_ID = "fingerprint", "objectives", "identity", "mlflow_run_id"
"""User attributes of a study; IDENTITY tells it from an earlier one of its name, and a trial too has the id of its MLflow
run under RUN_ID."""
UNCOMPARED = tuple(name for name in NOT_SEARCHED if name not in ("train.score_samples", "train.seed"))
"""Parameters of train that a trial does not take from params.yaml, or that change no score."""


def fingerprint(params: Params, data_hash: str, classifier_hash: str) -> dict[str, Any]:
    """Everything besides the searched values that a trial's score depends on, by name, as plain JSON values."""
    values = {
        name: value
        for name, value in params.flat().items()
        if name.startswith(("model.", "train.")) and name not in UNCOMPARED
    }
    budget = {"tune.kimg": params.tune.kimg, "tune.score_every_kimg": params.tune.score_every_kimg}
    measured = {"evaluate.nearest_k": params.evaluate.nearest_k, "tune.constraints": limits(params)}
    return {**values, **budget, **measured, "data.hash": data_hash, "classifier.hash": classifier_hash}


def limits(params: Params) -> dict[str, dict[str, float]]:
    """``tune.constraints`` as plain JSON values."""
    return {name: limit.model_dump(exclude_none=True) for name, limit in params.tune.constraints.items()}


def open_study(params: Params, base: Mapping[str, Any], storage: BaseStorage) -> optuna.Study:
    """The study ``tune.study``, new or with the trials of earlier calls; ``base`` is its :func:`fingerprint`.

    The study keeps the first fingerprint: where a trial has no value of its own for a parameter, it had that one.
    Raises UserError when its trials cannot be compared with new ones. The caller has the storage for itself.
    """
    name, wanted = params.tune.study, params.tune.objectives
    if all(summary.study_name != name for summary in optuna.get_all_study_summaries(storage)):
        directions = [objectives.direction(one) for one in wanted]
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
        study.set_metric_names(wanted)
        study.set_user_attr(OBJECTIVES, wanted)
        study.set_user_attr(IDENTITY, uuid.uuid4().hex)
        study.set_user_attr(FINGERPRINT, dict(base))
    study = existing_study(name, storage)
    if (stored := study.user_attrs.get(OBJECTIVES)) != wanted:
        before = ", ".join(stored or ["something else"])
        raise UserError(
            f"the study {name!r} compares its trials by {before}, and not by {', '.join(wanted)}; give tune.study (--study) "
            "another name"
        )
    _refuse_other_base(study, params, base)
    _refuse_other_kinds(study, params)
    return study


def existing_study(name: str, storage: BaseStorage) -> optuna.Study:
    """A study that must be there. Raises UserError where it is not."""
    try:
        return optuna.load_study(study_name=name, storage=storage, sampler=RandomSampler(), pruner=NopPruner())
    except KeyError:
        known = ", ".join(sorted(one.study_name for one in optuna.get_all_study_summaries(storage))) or "none"
        raise UserError(
            f"there is no study {name!r} here (there are: {known}); make it with `python -m src.tune --study {name}`"
        ) from None


def _refuse_other_base(study: optuna.Study, params: Params, base: Mapping[str, Any]) -> None:
    stored = study.user_attrs[FINGERPRINT]
    differing = [
        f"{name} {_short(stored.get(name))} (now {_short(base.get(name))})"
        for name in {**stored, **base}
        if name not in params.tune.space and stored.get(name) != base.get(name)
    ]
    if differing:
        raise UserError(
            f"the study {study.study_name!r} was made with {', '.join(differing)}: new scores could not be compared; "
            "change that back, or give tune.study (--study) another name"
        )


def _refuse_other_kinds(study: optuna.Study, params: Params) -> None:
    for trial in study.get_trials(deepcopy=False):
        for name, old in trial.distributions.items():
            entry = params.tune.space.get(name)
            if entry is not None and not fits(old, entry):
                raise UserError(
                    f"tune.space.{name} was {old} in the study {study.study_name!r} and is {_entry(entry)} now: only the "
                    "ends of a range can change; change it back, or give tune.study (--study) another name"
                )


def _entry(entry: Any) -> str:
    return json.dumps(entry.model_dump(exclude_unset=True))


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else "unknown" if value is None else str(value)


def make_sampler(study: optuna.Study, params: Params) -> BaseSampler:
    """The sampler for the study's next trial.

    Optuna does not store a sampler's random state. With a seed made from ``tune.seed`` and the trials so far, every worker
    draws something else, and a study that was interrupted draws what it would have drawn without that.
    """
    trials = study.get_trials(deepcopy=False)
    number = len(trials) - len(next_attempts(trials))
    seed = int.from_bytes(hashlib.sha256(f"{params.tune.seed} {number}".encode()).digest()[:4], "big")
    match params.tune.sampler:
        case "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        case "cmaes":
            # Restarted by what it keeps in the study; what it cannot draw (words, conditions), TPE does.
            independent = TPESampler(seed=seed)
            return CmaEsSampler(seed=seed, independent_sampler=independent, warn_independent_sampling=False)
        case "qmc":
            # The sequence is one for all workers, and so is its seed; the place in it is kept in the study.
            independent_sampler = RandomSampler(seed=seed)
            return QMCSampler(
                seed=params.tune.seed,
                scramble=True,
                independent_sampler=independent_sampler,
                warn_independent_sampling=False,
            )
        case "random":
            return RandomSampler(seed=seed)
        case _:
            conditional = any(entry.when for entry in params.tune.space.values())
            return TPESampler(seed=seed, group=conditional, multivariate=True)


def make_pruner(params: Params) -> BasePruner:
    """The pruner, which counts a trial's scores: the first is 1. None for objectives that are known at the end only."""
    tune = params.tune
    scores = max(1, round(tune.kimg / tune.score_every_kimg))
    if tune.pruner == "none" or not objectives.can_prune(tune.objectives):
        return NopPruner()
    if tune.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=scores)
    # A third of the length is for warming up: who starts slowly, with low rates or strong dropout, may still win.
    return MedianPruner(n_startup_trials=5, n_warmup_steps=1 + scores // 3)


def enqueue(study: optuna.Study, values: Mapping[str, Any], params: Params, **attributes: Any) -> list[str]:
    """Let the next trial take ``values``, once only; returns the names that lie outside the space.

    With any of those, nothing is enqueued.
    """
    beyond = outside(values, params.tune.space)
    if not beyond:
        stored = {name: encode(value) for name, value in values.items()}
        study.enqueue_trial(stored, user_attrs=attributes, skip_if_exists=True)
    return beyond


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trial with the best value, or the Pareto front; none beyond a constraint, none as long as there is none."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.values[0])
    try:
        return [study.best_trial]
    except ValueError:  # none keeps within the constraints
        return []


def objective_names(study: optuna.Study) -> Sequence[str]:
    """What the study's trials are compared by."""
    return study.user_attrs.get(OBJECTIVES) or ["score"]


def trial_number(study: optuna.Study, number: int) -> FrozenTrial:
    """A trial by its number. Raises UserError for one that the study does not have."""
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        numbers = f"0 to {len(trials) - 1}" if trials else "none yet"
        raise UserError(f"the study {study.study_name!r} has no trial {number}; it has {numbers}")
    return trials[number]


def all_values(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """All values of model and train that the trial was made with, the length of the training aside."""
    return {**base_values(study), **decoded(trial.params)}


def base_values(study: optuna.Study) -> dict[str, Any]:
    """What a trial of the study has for the parameters of model and train that it did not draw."""
    fingerprint = study.user_attrs[FINGERPRINT]
    return {name: value for name, value in fingerprint.items() if name.startswith(("model.", "train."))}


def length_of_trials(study: optuna.Study) -> dict[str, float]:
    """``train.kimg`` and ``train.score_every_kimg`` of the study's trials."""
    fingerprint = study.user_attrs[FINGERPRINT]
    return {f"train.{name}": fingerprint[f"tune.{name}"] for name in ("kimg", "score_every_kimg")}


def described(study: optuna.Study, storage_url: str | None) -> str:
    """The study and where it is, for people."""
    return f"study {study.study_name!r} in {shown(storage_url)}"
