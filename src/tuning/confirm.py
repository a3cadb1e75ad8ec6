"""Confirmation: the best trials are trained again with other seeds, and the best one is written into params.yaml.

A confirmation is a study whose trials are pairs of a trial and a seed, so it can be interrupted and shared among workers like
any other.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..config.edit import write_params
from ..config.params import Params, read_text
from ..core import paths
from ..core.errors import UserError
from .retries import FINISHED, retry_stale
from .space import current_values, decoded, direction
from .storage import exclusively
from .study import (
    FINGERPRINT,
    IDENTITY,
    all_values,
    best_trials,
    create_study,
    finished,
    is_feasible,
    objective_names,
    trial_number,
)

if TYPE_CHECKING:
    import pandas as pd

TRIAL, SEED, FEASIBLE = "trial", "train.seed", "feasible"
CONFIRMED = "confirmed"
"""User attribute of a study: the trial with the best mean over seeds, and the number of finished trials at that time."""
CONFIRMS = "confirms"
"""User attribute of a confirmation: the identity of the study whose trials it trains."""


def candidates(study: optuna.Study, params: Params, top: int) -> dict[int, str]:
    """The numbers of the ``top`` best trials, and of the trial with params.yaml's values; each with where they are from."""
    trials = study.get_trials(deepcopy=False, states=FINISHED)
    sign = -1 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1
    feasible = [trial for trial in trials if trial.state == TrialState.COMPLETE and is_feasible(trial)]
    ranked = sorted(feasible, key=lambda trial: sign * trial.values[0])
    if len(study.directions) > 1:
        ranked = best_trials(study)
    current = current_values(params)
    ours = [trial for trial in trials if decoded(trial.params) == current]
    return {
        trial.number: "params.yaml" if decoded(trial.params) == current else "search"
        for trial in (*ranked[:top], *ours[:1])
    }


def confirming_params(params: Params, kimg: float | None) -> Params:
    """The parameters of confirming runs: as long as a trial, or ``kimg`` long and scored as in the train stage."""
    changes: dict[str, Any] = {"tune.pruner": "none"}
    if kimg is not None:
        changes |= {"tune.kimg": kimg, "tune.score_every_kimg": min(kimg, params.train.score_every_kimg)}
    return params.replace(changes)


def confirming_study(
    study: optuna.Study, storage: BaseStorage, params: Params, chosen: Mapping[int, str], seeds: int
) -> tuple[optuna.Study, int]:
    """The study of confirmations, with a trial for each pair of a candidate and a seed, and its number of trials."""
    name = f"{study.study_name}.confirm-{params.tune.kimg:g}kimg"
    base, mine = study.user_attrs[FINGERPRINT], study.user_attrs.get(IDENTITY, "")
    with exclusively(storage):
        made = create_study(name, objective_names(study), storage, {FINGERPRINT: base, CONFIRMS: mine})
        if made.user_attrs.get(CONFIRMS, mine) != mine:
            raise UserError(
                f"the study {name!r} confirms an earlier study named {study.study_name!r}, with other trials; delete it too, "
                "or give tune.study (--study) another name"
            )
        retry_stale(made, storage)
        known = {_pair(trial) for trial in made.get_trials(deepcopy=False) if trial.state != TrialState.FAIL}
        for pair in [(number, base[SEED] + 1 + seed) for number in chosen for seed in range(seeds)]:
            if pair not in known:
                values = dict(zip((TRIAL, SEED), pair, strict=True))
                made.enqueue_trial(values, user_attrs=values)
        return made, sum(trial.state != TrialState.FAIL for trial in made.get_trials(deepcopy=False))


def _pair(trial: FrozenTrial) -> tuple[Any, Any]:
    # Optuna has no public access to the values of an enqueued trial, so they are user attributes too.
    values = {**trial.user_attrs, **trial.params}
    return values.get(TRIAL), values.get(SEED)


def confirming_plan(search: optuna.Study) -> Callable[[optuna.Trial], dict[str, Any]]:
    """Draws the values of a confirming trial: those of the trial of ``search`` that it names, with its seed."""

    def plan(trial: optuna.Trial) -> dict[str, Any]:
        number, seed = trial.suggest_int(TRIAL, 0, 2**31 - 1), trial.suggest_int(SEED, 0, 2**32 - 1)
        return {**all_values(search, trial_number(search, number)), SEED: seed}

    return plan


def confirmed_table(made: optuna.Study, chosen: Mapping[int, str], search: optuna.Study) -> "pd.DataFrame":
    """A row for each candidate, the best mean first: seeds, mean and standard deviation, and the value in the search."""
    import pandas as pd

    names, rows = objective_names(made), []
    for number, origin in chosen.items():
        ended = [trial for trial in made.get_trials(deepcopy=False, states=FINISHED) if trial.params[TRIAL] == number]
        again = [trial for trial in ended if trial.state == TrialState.COMPLETE]
        first = trial_number(search, number)
        row = {TRIAL: number, "values of": origin, "seeds": len(again), "diverged": len(ended) - len(again)}
        for place, name in enumerate(names):
            column = pd.Series([trial.values[place] for trial in again], dtype=float)
            row |= {f"{name} mean": column.mean(), f"{name} std": column.std()}
            row[f"{name} in search"] = first.values[place] if first.values else None
        row[FEASIBLE] = all(is_feasible(trial) for trial in (first, *again))
        rows.append(row)
    order = [False, True, direction(names[0]) == "minimize"]
    table = pd.DataFrame(rows).sort_values(
        [FEASIBLE, "diverged", f"{names[0]} mean"], ascending=order, ignore_index=True
    )
    return table.drop(columns=FEASIBLE) if table[FEASIBLE].all() else table


def remember(search: optuna.Study, table: "pd.DataFrame") -> None:
    """Store the best trial of :func:`confirmed_table` in the study, for :func:`chosen_trial`.

    There is none on a Pareto front, nor if no trial satisfies the constraints.
    """
    feasible = FEASIBLE not in table or table[FEASIBLE][0]
    best = int(table[TRIAL][0]) if len(search.directions) == 1 and feasible else None
    search.set_user_attr(CONFIRMED, {TRIAL: best, "ended": finished(search)})


def is_confirmed(search: optuna.Study) -> bool:
    """Whether a confirmation is complete, and no trial has finished since."""
    return bool(search.user_attrs.get(CONFIRMED, {}).get("ended") == finished(search))


def refuse_confirmation(study: optuna.Study) -> None:
    """Raise UserError for a confirmation, whose trials have no values of their own."""
    if CONFIRMS in study.user_attrs:
        raise UserError(f"{study.study_name!r} confirms the trials of another study: name that one with --study")


def chosen_trial(study: optuna.Study, number: int | None) -> tuple[FrozenTrial, str]:
    """The trial to apply, and why. Raises UserError if there is none, or if it is not unique."""
    if number is not None:
        return trial_number(study, number), "as requested"
    best, confirmed = best_trials(study), is_confirmed(study)
    if confirmed and (found := study.user_attrs[CONFIRMED][TRIAL]) is not None:
        return trial_number(study, found), "the best over several seeds"
    if len(best) == 1 and confirmed:
        raise UserError(
            "no confirmed trial satisfies tune.constraints with other seeds: choose one with --apply --trial N"
        )
    if not best:
        raise UserError(f"the study {study.study_name!r} has no finished trial within its constraints to apply")
    if len(best) > 1:
        numbers = ", ".join(str(trial.number) for trial in best)
        raise UserError(f"the Pareto front consists of trials {numbers}: choose one with --apply --trial N")
    return best[0], "the best one"


def apply(study: optuna.Study, params: Params, number: int | None) -> None:
    """Write the values of :func:`chosen_trial` into params.yaml and print the difference."""
    refuse_confirmation(study)
    trial, why = chosen_trial(study, number)
    current: dict[str, Any] = params.flat()
    changes = {name: value for name, value in all_values(study, trial).items() if value != current[name]}
    if not changes:
        print(f"params.yaml already has the values of trial {trial.number}, {why}")
        return
    before = read_text(paths.PARAMS)
    write_params(changes)
    print(f"params.yaml now has the values of trial {trial.number}, {why}:")
    lines = difflib.unified_diff(before.splitlines(), read_text(paths.PARAMS).splitlines(), lineterm="", n=0)
    print("\n".join(line for line in lines if not line.startswith(("---", "+++", "@@"))))
    print("train, evaluate and register with them: dvc repro")
