"""What a study has found, as text and tables."""

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..config.fields import as_yaml
from ..config.params import Params
from .retries import FINISHED, INTERRUPTED, KILLS, REASON, THREADS, WORKER, next_attempts
from .space import current_values, decode
from .study import RUN_ID, all_values, best_trials, finished, is_feasible, objective_names, run_length

if TYPE_CHECKING:
    import pandas as pd

TOP = 10
STATES = ("complete", "pruned", "failed", "interrupted", "running", "waiting")


def state_name(trial: FrozenTrial, retried: Collection[int]) -> str:
    """One of STATES; ``interrupted`` is a failed attempt that is ``retried``."""
    if trial.state == TrialState.FAIL:
        return "interrupted" if trial.number in retried or trial.user_attrs.get(INTERRUPTED) else "failed"
    return trial.state.name.lower()


def state_counts(study: optuna.Study) -> dict[str, int]:
    """The number of trials in each of STATES."""
    trials = study.get_trials(deepcopy=False)
    retried = next_attempts(trials)
    counts = Counter(state_name(trial, retried) for trial in trials)
    return {name: counts[name] for name in STATES}


def trials_table(study: optuna.Study) -> "pd.DataFrame":
    """A row for each trial by number: state, objectives, searched values, seconds, and what else is known.

    The objective of a pruned trial is its last score. Seconds are those of the last attempt.
    """
    import pandas as pd

    trials = study.get_trials(deepcopy=False)
    names, retried = objective_names(study), next_attempts(trials)
    columns = ["number", "state", *names, *_searched(study), "seconds", "started", "feasible", REASON, "retried_as"]
    rows = [
        {
            **trial.user_attrs,
            "number": trial.number,
            "state": state_name(trial, retried),
            **dict(zip(names, trial.values or [None] * len(names), strict=False)),
            **{name: decode(value) for name, value in trial.params.items()},
            "seconds": round(trial.duration.total_seconds(), 1) if trial.duration and trial.state in FINISHED else None,
            "started": trial.datetime_start,
            "feasible": is_feasible(trial) if trial.state == TrialState.COMPLETE else None,
            "retried_as": retried.get(trial.number),
        }
        for trial in trials
    ]
    return pd.DataFrame(rows, columns=[*columns, KILLS, "origin", WORKER, "host", THREADS, RUN_ID])


def _searched(study: optuna.Study) -> list[str]:
    return list(dict.fromkeys(name for trial in study.get_trials(deepcopy=False) for name in trial.params))


def best_table(study: optuna.Study) -> "pd.DataFrame":
    """The ten best trials, pruned ones last; with several objectives the Pareto front."""
    table, names = trials_table(study), objective_names(study)
    shown = ["number", "state", *names, *_searched(study), "seconds"]
    if len(names) > 1:
        return table[table["number"].isin([trial.number for trial in best_trials(study)])].sort_values(names[0])[shown]
    table = table[table["state"].isin(["complete", "pruned"])]
    rising = study.direction == optuna.study.StudyDirection.MINIMIZE
    infeasible = table["feasible"].eq(False)  # a pruned trial has None
    ordered = table.assign(infeasible=infeasible).sort_values(
        ["state", "infeasible", names[0]], ascending=[True, True, rising]
    )
    return ordered[[*shown, "feasible"] if infeasible.any() else shown].head(TOP)


def space_table(params: Params) -> "pd.DataFrame":
    """A row for each searched parameter: its range or choices, and its value in params.yaml."""
    import pandas as pd

    current = current_values(params)
    return pd.DataFrame(
        {"parameter": name, **entry.model_dump(exclude_defaults=True), "params.yaml": current.get(name, "-")}
        for name, entry in params.tune.space.items()
    )


def formatted(table: "pd.DataFrame") -> str:
    """A table for the terminal."""
    return table.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-")


def description(study: optuna.Study) -> str:
    """The description of a study in MLflow, as Markdown."""
    table = best_table(study)
    rows = [list(table.columns), ["---"] * len(table.columns), *table.itertuples(index=False)]
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    text = "\n".join([f"{_counts(study)}.", "", f"{_title(study)}:", "", *lines, ""])
    if best_trials(study):
        text += f"\nWrite the best values into params.yaml: `python -m src.tune --study {study.study_name} --apply`"
    return text


def _cell(value: Any) -> str:
    import pandas as pd

    return "-" if pd.isna(value) else f"{value:.4g}" if isinstance(value, float) else str(value)


def _title(study: optuna.Study) -> str:
    return f"{'Pareto front' if len(study.directions) > 1 else 'best trials'} of {finished(study)}"


def _counts(study: optuna.Study) -> str:
    return ", ".join(f"{count} {name}" for name, count in state_counts(study).items())


def objectives_text(study: optuna.Study, trial: FrozenTrial) -> str:
    """The objectives of a trial in words."""
    pairs = zip(objective_names(study), trial.values or [], strict=False)
    return ", ".join(f"{name} {value:.4g}" for name, value in pairs) or "no score"


def print_best(study: optuna.Study) -> None:
    """Print :func:`best_table`."""
    table = best_table(study)
    if table.empty:
        print(f"study {study.study_name!r}: no finished trials yet")
        return
    print(f"study {study.study_name!r}, {_title(study)}:")
    print(formatted(table))
    if not best_trials(study):
        print("no trial satisfies tune.constraints")


def print_status(study: optuna.Study) -> None:
    """Print the number of trials in each state, the best so far, and the running ones."""
    print(f"study {study.study_name!r}: {_counts(study)}")
    for trial in best_trials(study):
        print(f"best: trial {trial.number}, {objectives_text(study, trial)}")
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        where = f"{trial.user_attrs.get(WORKER, 'unknown')} on {trial.user_attrs.get('host', 'unknown')}"
        began = f", since {trial.datetime_start:%Y-%m-%d %H:%M:%S}" if trial.datetime_start else ""
        print(f"running: trial {trial.number}, worker {where}{began}, {len(trial.intermediate_values)} scores")


def print_trial(study: optuna.Study, trial: FrozenTrial) -> None:
    """Print everything known about a trial, and the command that repeats it."""
    for name, value in trials_table(study).iloc[trial.number].dropna().items():
        print(f"{name}: {value}")
    for number, score in trial.intermediate_values.items():
        print(f"{objective_names(study)[0]} at score {number}: {score:.6g}")
    for name, excess in trial.constraints.items():
        print(f"constraint {name}: {'satisfied' if excess <= 0 else f'exceeded by {excess:.4g}'}")
    values = {**all_values(study, trial), **run_length(study)}
    # On a CPU, sums are split among the threads, and each split rounds differently.
    threads = f"OMP_NUM_THREADS={trial.user_attrs[THREADS]} " if trial.user_attrs.get(THREADS) else ""
    print("the same run as a DVC experiment:")
    print(
        f"{threads}dvc exp run train "
        + " ".join(f"-S '{name}={as_yaml(value).replace(' ', '')}'" for name, value in values.items())
    )
