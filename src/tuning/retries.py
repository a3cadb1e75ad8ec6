"""Trials that did not come to their end, and are tried again with the same values."""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

WORKER, KILLS, REASON = "worker", "kills", "reason"
"""User attributes of a trial: the worker that has it, how many workers died with it, and why it ended before its end."""
MAX_KILLS = 3
"""A trial that was under way when so many workers died may be what kills them (memory), and is not tried again."""


def retry_killed(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial whose worker died, unless it has done so too often."""
    kills = trial.user_attrs.get(KILLS, 0) + 1
    if kills < MAX_KILLS:
        try_again(study, trial, kills)


def try_again(study: optuna.Study, trial: FrozenTrial, kills: int = 0) -> None:
    """Queue a trial's values anew, with the scores it has reported: it goes on from its own checkpoint.

    As Optuna's RetryHeartbeatStaleTrialCallback does, whose attributes it uses.
    """
    kills = kills or trial.user_attrs.get(KILLS, 0)
    history = [*trial.system_attrs.get("retry_history", []), trial.number]
    kept = {name: value for name, value in trial.user_attrs.items() if name not in (WORKER, REASON)}
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


def retried_as(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int | None:
    """The number of the next attempt at a failed trial."""
    later = (one.number for one in trials if one.system_attrs.get("retry_history", [])[-1:] == [trial.number])
    return next(later, None)
