"""Trials that did not come to their end, and are tried again with the same values."""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

WORKER, KILLS, REASON, THREADS = "worker", "kills", "reason", "threads"
"""User attributes of a trial: the worker that has it, how many workers died with it, why it ended before its end, and
with how many of PyTorch's threads it was trained."""
INTERRUPTED = "interrupted"
"""One more: it was stopped by a signal or the clock, which is no fault of its own."""
MAX_KILLS = 3
"""A trial that was under way when so many workers died may be what kills them (memory), and is not tried again."""


def retry_lost(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Queue a failed trial anew, if it was interrupted or its worker died, though not too often; whether it was queued.

    One that failed with an error of its own is not tried again.
    """
    interrupted = trial.user_attrs.get(INTERRUPTED, False)
    kills = trial.user_attrs.get(KILLS, 0) + (not interrupted)
    if kills >= MAX_KILLS or (REASON in trial.user_attrs and not interrupted):
        return False
    _try_again(study, trial, kills)
    return True


def _try_again(study: optuna.Study, trial: FrozenTrial, kills: int) -> None:
    """Queue a trial's values anew, with the scores it has reported: it goes on from its own checkpoint.

    As Optuna's RetryHeartbeatStaleTrialCallback does, whose attributes it uses.
    """
    history = [*trial.system_attrs.get("retry_history", []), trial.number]
    kept = {name: value for name, value in trial.user_attrs.items() if name not in (WORKER, REASON, INTERRUPTED)}
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={**kept, KILLS: kills},
            system_attrs={**trial.system_attrs, "failed_trial": history[0], "retry_history": history},
            intermediate_values=trial.intermediate_values,
        )
    )


def first_number(trial: FrozenTrial) -> int:
    """The number of a trial's first attempt."""
    return int(trial.system_attrs.get("failed_trial", trial.number))


def next_attempts(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """The number of the next attempt by the number of the one that did not come to its end."""
    histories = ((one.number, one.system_attrs.get("retry_history")) for one in trials)
    return {history[-1]: number for number, history in histories if history}
