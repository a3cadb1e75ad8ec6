"""A worker: takes one trial after the other until the study has what it needs."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..core import interrupts
from ..core.interrupts import Stopped
from .retries import REASON
from .scheduling import FINISHED, Turn, next_turn, retire_stale
from .storage import exclusively
from .study import make_pruner, make_sampler
from .trial import TIMEOUT, Setting, TrialRun

POLL_SECONDS = 1.0
MOST_FAILURES = 3
"""So many trials in a row that end with an error are no accident."""


@dataclass(frozen=True)
class Goal:
    """When a worker is done."""

    trials: int
    """finished ones in the whole study, complete or pruned"""
    deadline: float
    """on the clock of ``time.monotonic``; no trial begins after it"""
    queued_only: bool
    """whether only trials that wait in the queue are made, and none is drawn"""


def work(
    study: optuna.Study,
    storage: BaseStorage,
    setting: Setting,
    goal: Goal,
    ended: Callable[[FrozenTrial], None],
) -> None:
    """Run trials until the study has its number of them, or the time is up. ``ended`` receives each one.

    A trial that ends with an error is marked as failed, and others go on; the third in a row raises it. Raises Stopped for
    a signal. In both cases, and when the time is up, the trial under way is queued to go on from its checkpoint.
    """
    failures = 0
    while time.monotonic() < goal.deadline:
        interrupts.check()
        with ExitStack() as claim:
            claim.enter_context(exclusively(storage))
            retire_stale(study, storage)
            turn = next_turn(study, goal.trials, queued_only=goal.queued_only)
            if turn is Turn.DONE:
                return
            if turn is Turn.GO:
                error = _run_one(study, storage, setting, claim.close, ended)
                failures = failures + 1 if error else 0
                if error and failures == MOST_FAILURES:
                    raise error
                continue
        time.sleep(min(POLL_SECONDS, max(0.0, goal.deadline - time.monotonic())))


def _run_one(
    study: optuna.Study,
    storage: BaseStorage,
    setting: Setting,
    begun: Callable[[], None],
    ended: Callable[[FrozenTrial], None],
) -> Exception | None:
    """One trial on Optuna's own engine, which sends the heartbeats; returns the error it ended with, if any."""
    study.sampler, study.pruner = make_sampler(study, setting.params), make_pruner(setting.params)
    run = TrialRun(setting, begun)
    problem: Exception | None = None
    try:
        study.optimize(run, n_trials=1)
    except Stopped as stopped:
        if run.number < 0:  # a trial that was just being asked for has no worker, and is found by that
            raise
        run.close(finished=False)
        with exclusively(storage):
            retire_stale(study, storage)
            trial = study.get_trials(deepcopy=False)[run.number]
        ended(trial)
        if stopped.reason != TIMEOUT:
            raise
        return None
    except Exception as error:
        problem = error
    if run.number < 0:  # the sampler or the storage failed, before there was a trial
        assert problem is not None
        raise problem
    trial = study.get_trials(deepcopy=False)[run.number]
    if REASON not in trial.user_attrs and isinstance(problem, ValueError):
        problem = None  # it was taken for dead, and somebody else has it
    run.close(finished=problem is not None or trial.state in FINISHED)
    ended(trial)
    if problem is not None and trial.state != TrialState.FAIL:
        raise problem
    return problem
