"""Whether another trial starts, and which trials are retried because their worker died or was stopped.

Callers hold the storage's lock (:func:`src.tuning.storage.exclusively`), so that no trial starts twice and no budget is
exceeded by any number of workers. Optuna's MaxTrialsCallback only stops a study after trials have finished, so parallel
workers would exceed the budget; its heartbeats and ``fail_stale_trials`` do not work with a journal.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import optuna
from optuna.storages import BaseStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from .storage import is_alive

WORKER, KILLS, REASON, THREADS = "worker", "kills", "reason", "threads"
"""User attributes of a trial: its worker, the number of workers that died with it, why it ended early, and the number of
PyTorch threads it was trained with."""
PROGRESS, SCORE = "progress", "last_score"
"""User attributes of a running trial: its share of steps, from 0 to 1, and its last score as text."""
INTERRUPTED = "interrupted"
"""User attribute: the trial was stopped by a signal or the timeout, not by an error of its own."""
MAX_KILLS = 3
"""A trial whose worker died this often may be the cause (memory), and is not retried."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def next_turn(study: optuna.Study, target: int, *, queued_only: bool = False) -> Literal["start", "wait", "done"]:
    """Whether one more trial is needed until ``target`` trials are complete or pruned; with ``queued_only`` from the queue.

    A worker waits while others run the last trials, which might have to be retried.
    """
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    running = states.count(TrialState.RUNNING)
    missing = sum(states.count(state) for state in FINISHED) + running < target
    if missing and (TrialState.WAITING in states or not queued_only):
        return "start"
    return "wait" if running else "done"


def stale_trials(study: optuna.Study, storage: BaseStorage, dead: str = "") -> list[FrozenTrial]:
    """The running trials whose worker is dead, as far as this can be told without heartbeats; see :func:`retry_stale`."""
    server = isinstance(storage, RDBStorage)

    def stale(worker: str | None) -> bool:
        return worker in (None, dead) or not (server or is_alive(str(worker)))

    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial for trial in running if stale(trial.user_attrs.get(WORKER))]


def retry_stale(study: optuna.Study, storage: BaseStorage, dead: str = "") -> list[FrozenTrial]:
    """Mark running trials of dead workers as failed, and enqueue interrupted trials again; returns the latter.

    In a journal a worker is known by its lock file, on a server by its heartbeats; ``dead`` is one that the caller knows to
    be dead. A trial without a worker was killed at its start, since only the holder of the lock starts trials. A worker may
    also have died after it marked its trial as failed, so all failed trials are checked.
    """
    for trial in stale_trials(study, storage, dead):
        study.tell(trial.number, state=TrialState.FAIL)
    optuna.storages.fail_stale_trials(study)  # by heartbeats; does nothing with a journal
    trials = study.get_trials(deepcopy=False)
    retried = next_attempts(trials)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in retried]
    return [trial for trial in failed if retry(study, trial)]


def retry(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Enqueue a failed trial again with its reported scores, unless it failed by itself or too often; whether it was.

    It finds its checkpoint by the number of its first attempt.
    """
    interrupted = trial.user_attrs.get(INTERRUPTED, False)
    kills = trial.user_attrs.get(KILLS, 0) + (not interrupted)
    if kills >= MAX_KILLS or (REASON in trial.user_attrs and not interrupted):
        return False
    again = copy.deepcopy(trial)
    kept = {name: value for name, value in trial.user_attrs.items() if name not in (WORKER, REASON, INTERRUPTED)}
    again.user_attrs = {**kept, KILLS: kills}
    RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, again)
    return True


def first_number(trial: FrozenTrial) -> int:
    """The number of the first attempt at a trial."""
    number = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if number is None else number


def next_attempts(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """The number of the next attempt by the number of the failed one."""
    histories = ((RetryHeartbeatStaleTrialCallback.retry_history(one), one.number) for one in trials)
    return {history[-1]: number for history, number in histories if history}
