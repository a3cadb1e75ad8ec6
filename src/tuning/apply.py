"""From a study into params.yaml."""

import difflib
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from ..config.edit import write_params
from ..config.params import Params, read_text
from ..core import paths
from ..core.errors import UserError
from .confirm import confirmed_trial, is_confirmed, refuse_confirmation
from .study import all_values, best_trials, trial_number


def apply(study: optuna.Study, params: Params, number: int | None) -> None:
    """Write a trial's values into params.yaml and show the difference. UserError when there is none to take."""
    refuse_confirmation(study)
    trial, why = chosen_trial(study, number)
    current: dict[str, Any] = params.flat()
    changes = {name: value for name, value in all_values(study, trial).items() if value != current[name]}
    if not changes:
        print(f"params.yaml has the values of trial {trial.number}, {why}, already")
        return
    before = read_text(paths.PARAMS)
    write_params(changes)
    print(f"params.yaml has the values of trial {trial.number} now, {why}:")
    lines = difflib.unified_diff(before.splitlines(), read_text(paths.PARAMS).splitlines(), lineterm="", n=0)
    print("\n".join(line for line in lines if not line.startswith(("---", "+++", "@@"))))
    print("train, score and register with them: dvc repro")


def chosen_trial(study: optuna.Study, number: int | None) -> tuple[FrozenTrial, str]:
    """The trial to apply, and why it is that one."""
    if number is not None:
        return trial_number(study, number), "as asked"
    if (confirmed := confirmed_trial(study)) is not None:
        return trial_number(study, confirmed), "the best one over several seeds"
    best = best_trials(study)
    if len(best) == 1 and is_confirmed(study):
        raise UserError(
            "with other seeds no confirmed trial keeps within tune.constraints: say which with --apply --trial N"
        )
    if not best:
        raise UserError(
            f"the study {study.study_name!r} has no finished trial within its constraints: nothing to apply"
        )
    if len(best) > 1:
        numbers = ", ".join(str(trial.number) for trial in best)
        raise UserError(f"the Pareto front has the trials {numbers}: say which with --apply --trial N")
    return best[0], "the best one"
