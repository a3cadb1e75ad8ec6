"""The best trials again, with other seeds: was it the values, or luck?

A confirmation is a study of its own, whose trials are pairs of a trial and a seed. So it is worked off like any other: by as
many workers, and whatever is killed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..config.params import Params
from ..core.errors import UserError
from . import objectives
from .report import ended, is_feasible
from .scheduling import FINISHED, retire_stale
from .space import current_values, decoded
from .storage import exclusively
from .study import FINGERPRINT, IDENTITY, OBJECTIVES, all_values, best_trials, objective_names

if TYPE_CHECKING:
    import pandas as pd

TRIAL, SEED = "trial", "train.seed"
CONFIRMED = "confirmed"
"""User attribute of a study: the trial with the best mean over seeds, and how many trials had ended by then."""
CONFIRMS = "confirms"
"""User attribute of a confirmation: the identity of the study whose trials it trains again."""
FEASIBLE = "feasible"


@dataclass(frozen=True)
class Candidate:
    """A trial of the search and its values."""

    number: int
    values: Mapping[str, Any]
    current: bool
    """whether these are params.yaml's own values"""


def candidates(study: optuna.Study, params: Params, top: int) -> list[Candidate]:
    """The ``top`` best trials, the best first, and the one with params.yaml's values, if it was tried."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    falling = study.directions[0] == optuna.study.StudyDirection.MINIMIZE
    kept = [trial for trial in complete if is_feasible(trial)]
    ranked = sorted(kept, key=lambda trial: trial.values[0] if falling else -trial.values[0])
    if len(study.directions) > 1:
        ranked = best_trials(study)
    current = current_values(params)
    ours = [trial for trial in study.get_trials(deepcopy=False, states=FINISHED) if decoded(trial.params) == current]
    chosen = {trial.number: trial for trial in (*ranked[:top], *ours[:1])}
    return [
        Candidate(number, all_values(study, trial), decoded(trial.params) == current)
        for number, trial in chosen.items()
    ]


def confirming_params(params: Params, kimg: float | None) -> Params:
    """The parameters for confirming trainings: as long as a trial, or ``kimg`` long and scored as in the train stage."""
    changes: dict[str, Any] = {"tune.pruner": "none"}
    if kimg is not None:
        changes |= {"tune.kimg": kimg, "tune.score_every_kimg": min(kimg, params.train.score_every_kimg)}
    return params.replace(changes)


def confirming_study(
    study: optuna.Study, storage: BaseStorage, params: Params, chosen: list[Candidate], seeds: int
) -> tuple[optuna.Study, int]:
    """The study of confirmations with a trial queued for each pair that it has not yet, and how many it has then in all."""
    name = f"{study.study_name}.confirm-{params.tune.kimg:g}kimg"
    names = list(objective_names(study))
    with exclusively(storage):
        directions = [objectives.direction(one) for one in names]
        made = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        _refuse_other_search(made, study)
        retire_stale(made, storage)
        made.set_user_attr(OBJECTIVES, names)
        made.set_user_attr(FINGERPRINT, study.user_attrs[FINGERPRINT])
        base = study.user_attrs[FINGERPRINT][SEED]
        pairs = [(one.number, base + 1 + seed) for one in chosen for seed in range(seeds)]
        known = {_pair(trial) for trial in made.get_trials(deepcopy=False) if trial.state != TrialState.FAIL}
        for number, seed in pairs:
            if (number, seed) not in known:
                made.enqueue_trial({TRIAL: number, SEED: seed})
        unfinished = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING)
        return made, len(made.get_trials(deepcopy=False, states=unfinished))


def _refuse_other_search(made: optuna.Study, search: optuna.Study) -> None:
    mine = search.user_attrs.get(IDENTITY, "")
    if made.user_attrs.get(CONFIRMS, mine) != mine:
        raise UserError(
            f"the study {made.study_name!r} confirms an earlier study of the name {search.study_name!r}, with other trials; "
            "delete it too, or give tune.study (--study) another name"
        )
    made.set_user_attr(CONFIRMS, mine)


def _pair(trial: FrozenTrial) -> tuple[Any, Any]:
    values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    return values.get(TRIAL), values.get(SEED)


def confirming_plan(search: optuna.Study) -> Callable[[optuna.Trial], dict[str, Any]]:
    """What a confirming trial trains with: the values of the trial of ``search`` that it names, and its seed."""

    def plan(trial: optuna.Trial) -> dict[str, Any]:
        number, seed = trial.suggest_int(TRIAL, 0, 2**31 - 1), trial.suggest_int(SEED, 0, 2**32 - 1)
        return {**all_values(search, search.get_trials(deepcopy=False)[number]), SEED: seed}

    return plan


def confirmed_table(made: optuna.Study, chosen: list[Candidate], search: optuna.Study) -> "pd.DataFrame":
    """A row a candidate, the best mean first: seeds, mean and standard deviation of the objectives, the value in the search."""
    import pandas as pd

    names, rows = objective_names(made), []
    done = made.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    pruned = made.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    for one in chosen:
        again = [trial for trial in done if trial.params[TRIAL] == one.number]
        values, first = [trial.values for trial in again], search.get_trials(deepcopy=False)[one.number]
        row: dict[str, Any] = {TRIAL: one.number, "values of": "params.yaml" if one.current else "search"}
        row |= {"seeds": len(values), "diverged": sum(trial.params[TRIAL] == one.number for trial in pruned)}
        for place, name in enumerate(names):
            column = pd.Series([some[place] for some in values], dtype=float)
            row |= {f"{name} mean": column.mean(), f"{name} std": column.std()}
            row[f"{name} in search"] = first.values[place] if first.values else None
        row[FEASIBLE] = all(is_feasible(trial) for trial in (first, *again))
        rows.append(row)
    falling = objectives.direction(names[0]) == "minimize"
    table = pd.DataFrame(rows).sort_values([FEASIBLE, "diverged", f"{names[0]} mean"], ascending=[False, True, falling])
    table = table.reset_index(drop=True)
    return table.drop(columns=FEASIBLE) if table[FEASIBLE].all() else table


def remember(search: optuna.Study, table: "pd.DataFrame") -> None:
    """Keep the best of :func:`confirmed_table` with the study, for :func:`confirmed_trial`.

    There is none on a Pareto front, nor where all are beyond a constraint.
    """
    kept = FEASIBLE not in table or table[FEASIBLE][0]
    best = int(table[TRIAL][0]) if len(search.directions) == 1 and kept else None
    search.set_user_attr(CONFIRMED, {TRIAL: best, "ended": ended(search)})


def is_confirmed(search: optuna.Study) -> bool:
    """Whether a confirmation has come to its end, and no trial has ended since then."""
    return bool(search.user_attrs.get(CONFIRMED, {}).get("ended") == ended(search))


def confirmed_trial(search: optuna.Study) -> int | None:
    """The trial with the best mean over seeds, if :func:`is_confirmed` and there is one."""
    trial: int | None = search.user_attrs[CONFIRMED][TRIAL] if is_confirmed(search) else None
    return trial


def refuse_confirmation(study: optuna.Study) -> None:
    """Raise UserError for a confirmation where a study is needed whose trials have values of their own."""
    if CONFIRMS in study.user_attrs:
        raise UserError(f"{study.study_name!r} confirms trials of another study: name that one with --study")
