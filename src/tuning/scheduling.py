"""Whose turn it is: which trial comes next, and which ones were left behind and are tried again.

All of this happens while the caller has the storage for itself (:func:`src.tuning.storage.exclusively`), so that no trial is
begun twice and no budget overrun, however many workers there are.
"""

import enum

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from .retries import WORKER, next_attempts, retry_lost
from .storage import lives

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Turn(enum.Enum):
    """What a worker is to do."""

    GO = "begin a trial"
    WAIT = "others have the last ones; one that is left behind would be taken over"
    DONE = "the study has its trials"


def next_turn(study: optuna.Study, target: int, *, queued_only: bool = False) -> Turn:
    """Whether one more trial is needed until ``target`` of them have finished, complete or pruned.

    With ``queued_only`` that is one which waits in the queue, or none.
    """
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    running = states.count(TrialState.RUNNING)
    missing = sum(states.count(state) for state in FINISHED) + running < target
    if missing and (TrialState.WAITING in states or not queued_only):
        return Turn.GO
    return Turn.WAIT if running else Turn.DONE


def left_behind(study: optuna.Study, storage: BaseStorage, dead: str = "") -> list[FrozenTrial]:
    """The running trials whose worker is gone, as far as that can be told without heartbeats; as in :func:`retire_stale`."""
    server = isinstance(storage, RDBStorage)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    workers = {trial.number: trial.user_attrs.get(WORKER) for trial in running}
    gone = {number for number, name in workers.items() if name in (None, dead) or not (server or lives(name))}
    return [trial for trial in running if trial.number in gone]


def retire_stale(study: optuna.Study, storage: BaseStorage, dead: str = "") -> list[FrozenTrial]:
    """Mark the trials of workers that are gone as failed, and queue what did not come to its end again; returns that.

    In a journal a worker is known by its :class:`~src.tuning.storage.Mark`, on a server by its heartbeat; ``dead`` is one that
    the caller knows to be gone. A trial without a worker was killed at its very start: the caller has the storage, so
    nobody is just beginning one. A worker may also have died after it marked its trial as failed, and before it queued it.
    """
    for trial in left_behind(study, storage, dead):
        study.tell(trial.number, state=TrialState.FAIL)
    if isinstance(storage, RDBStorage):
        optuna.storages.fail_stale_trials(study)
    trials = study.get_trials(deepcopy=False)
    known = next_attempts(trials)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in known]
    return [trial for trial in failed if retry_lost(study, trial)]
