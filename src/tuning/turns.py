"""Whose turn it is: which trial comes next, and which ones were left behind and are tried again.

All of this happens while the caller has the storage for itself (:func:`src.tuning.storage.exclusively`), so that no trial is
begun twice and no budget overrun, however many workers there are.
"""

import enum

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from src.tuning.retries import WORKER, retry_killed
from src.tuning.storage import lives

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Turn(enum.Enum):
    """What a worker is to do."""

    GO = "begin a trial"
    WAIT = "others have the last ones; one that is left behind would be taken over"
    DONE = "the study has its trials"


def next_turn(study: optuna.Study, target: int) -> Turn:
    """Whether one more trial is needed until ``target`` of them have finished, complete or pruned."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    running = states.count(TrialState.RUNNING)
    if sum(states.count(state) for state in FINISHED) + running < target:
        return Turn.GO
    return Turn.WAIT if running else Turn.DONE


def retire_stale(study: optuna.Study, storage: BaseStorage, dead: str = "") -> list[FrozenTrial]:
    """Mark the trials of workers that are gone as failed and put them back into the queue; returns those trials.

    In a journal a worker is known by its :class:`~src.tuning.storage.Mark`, on a server by its heartbeat; ``dead`` is one that
    the caller knows to be gone. A trial without a worker was killed at its very start: the caller has the storage, so
    nobody is just beginning one.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    server = isinstance(storage, RDBStorage)
    stale = []
    for trial in running:
        worker = trial.user_attrs.get(WORKER)
        if worker is None or worker == dead or not (server or lives(worker)):
            study.tell(trial.number, state=TrialState.FAIL)
            retry_killed(study, trial)
            stale.append(trial)
    if server:
        optuna.storages.fail_stale_trials(study)
        left = {trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
        stale += [trial for trial in running if trial.number not in left and trial not in stale]
    return stale
