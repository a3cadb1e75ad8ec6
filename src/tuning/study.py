"""The study: all trials of a search, in a file that outlives the process and that several processes may share."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from src.errors import UserError
from src.params import Params
from src.tracking.leftovers import abandon
from src.tracking.runs import run_exists
from src.tracking.store import project_root
from src.tuning.space import NOT_SEARCHED, distributions, outside, same_kind

FINGERPRINT = "fingerprint"
RUN_ID = "mlflow_run_id"
"""User attributes of a study; a trial has the id of its own run under the same name."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
UNCOMPARED = tuple(name for name in NOT_SEARCHED if name not in ("train.score_samples", "train.seed"))
"""Parameters of train that a trial does not take from params.yaml, or that change no score."""


def journal() -> Path:
    """The file with all studies of the project."""
    return project_root() / "mlruns" / "optuna.journal"


def fingerprint(params: Params, data_hash: str, classifier_hash: str) -> dict[str, Any]:
    """Everything besides the searched values that a trial's score depends on, by name, as plain JSON values."""
    values = {
        name: value
        for name, value in params.flat().items()
        if name.startswith(("model.", "train.")) and name not in UNCOMPARED
    }
    budget = {"tune.kimg": params.tune.kimg, "tune.score_every_kimg": params.tune.score_every_kimg}
    return {**values, **budget, "data.hash": data_hash, "classifier.hash": classifier_hash}


def open_study(params: Params, base: Mapping[str, Any], *, create: bool = True) -> optuna.Study:
    """The study ``tune.study``, new or with the trials of earlier calls; ``base`` is its :func:`fingerprint`.

    The study keeps the first fingerprint: where a trial has no value of its own for a parameter, it had that one.
    Raises UserError when the study does not exist and may not be created, when its trials cannot be compared with new
    ones, or when the file is corrupt.
    """
    name, storage = params.tune.study, _storage()
    known = any(summary.study_name == name for summary in optuna.get_all_study_summaries(storage))
    if not known and not create:
        raise UserError(f"there is no study {name!r} in {journal()}; make it with `python -m src.tune --trials 20`")
    study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
    if FINGERPRINT not in study.user_attrs:
        study.set_user_attr(FINGERPRINT, dict(base))
    _refuse_other_base(study, params, base)
    _refuse_other_kinds(study, params)
    # Optuna does not store the sampler's random state: with the bare seed, each call would draw the first call's values.
    study.sampler = TPESampler(seed=params.tune.seed + len(study.get_trials(deepcopy=False)))
    # A third of the length is for warming up: who starts slowly, with low rates or strong dropout, may still win.
    study.pruner = MedianPruner(n_startup_trials=5, n_warmup_steps=round(params.tune.kimg / 3))
    return study


def _storage() -> JournalStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = journal()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); move it away to start new studies") from None


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
            "change that back, or give tune.study another name"
        )


def _refuse_other_kinds(study: optuna.Study, params: Params) -> None:
    wanted = distributions(params)
    for trial in study.get_trials(deepcopy=False):
        for name, old in trial.distributions.items():
            if name in wanted and not same_kind(old, wanted[name]):
                raise UserError(
                    f"tune.space.{name} was {old} in the study {study.study_name!r} and is {wanted[name]} now: only the "
                    "ends of a range can change; change it back, or give tune.study another name"
                )


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else "unknown" if value is None else str(value)


def enqueue(study: optuna.Study, values: Mapping[str, Any], params: Params, *, again: bool = False) -> list[str]:
    """Let the next trial take ``values``, once only unless ``again``; returns the names that lie outside the space.

    With any of those, nothing is enqueued.
    """
    beyond = outside(values, params.tune.space)
    if not beyond:
        study.enqueue_trial({name: values[name] for name in params.tune.space}, skip_if_exists=not again)
    return beyond


def retire_stale(study: optuna.Study, params: Params) -> list[FrozenTrial]:
    """Mark the trials of processes of this machine that are gone as failed, and enqueue their values again.

    A process that was killed leaves its trial running for ever: a journal has no heartbeat.
    """
    stale = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if trial.user_attrs.get("host") == platform.node() and not _alive(trial.user_attrs["pid"])
    ]
    for trial in stale:
        study.tell(trial.number, state=TrialState.FAIL)
        enqueue(study, trial.params, params, again=True)
        run_id = trial.user_attrs.get(RUN_ID, "")
        if run_id and run_exists(run_id):
            abandon(run_id, "its process is gone")
    return stale


def _alive(pid: int) -> bool:
    if pid == os.getpid():  # in a container the numbers start over: it is not this process, which has not begun a trial
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The finished trial with the lowest score, or None as long as there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return study.best_trial if complete else None


def best_values(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """All values of model and train that the trial was made with, the length of the training aside."""
    base = {
        name: value for name, value in study.user_attrs[FINGERPRINT].items() if name.startswith(("model.", "train."))
    }
    return {**base, **trial.params}
