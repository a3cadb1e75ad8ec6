"""What a study has found, as tables."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..config.params import Params
from .retries import KILLS, REASON, THREADS, WORKER, next_attempts
from .scheduling import FINISHED
from .space import current_values, decode
from .study import RUN_ID, all_values, best_trials, length_of_trials, objective_names

if TYPE_CHECKING:
    import pandas as pd

TOP = 10
INTERRUPTED = "interrupted"
STATES = ("complete", "pruned", "failed", INTERRUPTED, "running", "waiting")


def state_name(trial: FrozenTrial, later: Collection[int]) -> str:
    """One of STATES; ``interrupted`` is an attempt that another one goes on with, as those in ``later``."""
    if trial.state == TrialState.FAIL:
        return INTERRUPTED if trial.number in later else "failed"
    return trial.state.name.lower()


def state_counts(study: optuna.Study) -> dict[str, int]:
    """How many trials are in which of STATES."""
    trials = study.get_trials(deepcopy=False)
    later = next_attempts(trials)
    counts = Counter(state_name(trial, later) for trial in trials)
    return {name: counts[name] for name in STATES}


def trials_table(study: optuna.Study) -> "pd.DataFrame":
    """A row a trial in the order of their numbers: state, objectives, searched values, seconds, and what else is known.

    The objective of a pruned trial is its last one. Seconds are those of the last attempt at the trial.
    """
    import pandas as pd

    trials = study.get_trials(deepcopy=False)
    names, values, later = objective_names(study), _searched(trials), next_attempts(trials)
    columns = ["number", "state", *names, *values, "seconds", "started", "feasible", REASON, "retried_as", KILLS]
    columns += ["origin", WORKER, "host", THREADS, RUN_ID]
    return pd.DataFrame([_row(trial, later, names) for trial in trials], columns=columns)


def _row(trial: FrozenTrial, later: Mapping[int, int], names: Sequence[str]) -> dict[str, Any]:
    duration = trial.duration if trial.state in FINISHED else None
    objectives = trial.values or [None] * len(names)
    return {
        "number": trial.number,
        "state": state_name(trial, later),
        **dict(zip(names, objectives, strict=False)),
        **{name: decode(value) for name, value in trial.params.items()},
        "seconds": None if duration is None else round(duration.total_seconds(), 1),
        "started": trial.datetime_start,
        "feasible": is_feasible(trial) if trial.state == TrialState.COMPLETE else None,
        **{name: trial.user_attrs.get(name) for name in (REASON, KILLS, "origin", WORKER, "host", THREADS, RUN_ID)},
        "retried_as": later.get(trial.number),
    }


def space_table(params: Params) -> "pd.DataFrame":
    """A row a searched parameter: its range or choices, and what params.yaml says now."""
    import pandas as pd

    current = current_values(params)
    rows = [
        {"parameter": name, **entry.model_dump(exclude_defaults=True), "params.yaml": current.get(name, "-")}
        for name, entry in params.tune.space.items()
    ]
    return pd.DataFrame(rows)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a complete trial keeps within the study's constraints."""
    return all(value <= 0 for value in trial.constraints.values())


def _searched(trials: Sequence[FrozenTrial]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def best_table(study: optuna.Study) -> "pd.DataFrame":
    """The ten best trials, the best first, pruned ones last; with several objectives the Pareto front."""
    table, names = trials_table(study), list(objective_names(study))
    shown = ["number", "state", *names, *_searched(study.get_trials(deepcopy=False)), "seconds"]
    if len(names) > 1:
        return table[table["number"].isin([trial.number for trial in best_trials(study)])].sort_values(names[0])[shown]
    table = table[table["state"].isin(["complete", "pruned"])]
    falling = study.direction == optuna.study.StudyDirection.MAXIMIZE
    beyond = (table["feasible"] == False).rename("beyond")  # noqa: E712 - None means that it is not known
    ordered = table.assign(beyond=beyond).sort_values(
        ["state", "beyond", names[0]], ascending=[True, True, not falling]
    )
    return ordered[shown if not beyond.any() else [*shown, "feasible"]].head(TOP)


def description(study: optuna.Study) -> str:
    """What a person who opens the study in MLflow reads first, as Markdown."""
    lines = [f"{_counts(study)}.", "", _what(study) + ":", "", markdown(best_table(study)), ""]
    if best_trials(study):
        lines.append(f"Into params.yaml with the best: `python -m src.tune --study {study.study_name} --apply`")
    return "\n".join(lines)


def markdown(table: "pd.DataFrame") -> str:
    """A table as Markdown, with four significant digits."""
    cells = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    lines = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _what(study: optuna.Study) -> str:
    return f"{'the Pareto front' if len(study.directions) > 1 else 'best trials'} of {ended(study)}"


def _counts(study: optuna.Study) -> str:
    return ", ".join(f"{count} {name}" for name, count in state_counts(study).items())


def print_best(study: optuna.Study) -> None:
    """Print :func:`best_table`, or that there is nothing yet."""
    table = best_table(study)
    if table.empty:
        print(f"study {study.study_name!r}: no trial has ended yet")
        return
    print(f"study {study.study_name!r}, {_what(study)}:")
    print(formatted(table))
    if not best_trials(study):
        print("no trial keeps within tune.constraints")


def formatted(table: "pd.DataFrame") -> str:
    """A table for the screen."""
    return table.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-")


def ended(study: optuna.Study) -> int:
    """How many trials are complete or pruned."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def print_status(study: optuna.Study) -> None:
    """Print how many trials are in which state, the best so far, and what runs where."""
    print(f"study {study.study_name!r}: {_counts(study)}")
    for trial in best_trials(study):
        print(f"best: trial {trial.number}, {objectives_text(study, trial)}")
    for trial in study.get_trials(deepcopy=False):
        if trial.state == TrialState.RUNNING:
            where = f"{trial.user_attrs.get(WORKER, 'unknown')} on {trial.user_attrs.get('host', 'unknown')}"
            began = f", since {trial.datetime_start:%Y-%m-%d %H:%M:%S}" if trial.datetime_start else ""
            scores = trial.intermediate_values
            print(f"running: trial {trial.number}, worker {where}{began}, {len(scores)} scores")


def objectives_text(study: optuna.Study, trial: FrozenTrial) -> str:
    """A trial's objectives in words."""
    values = trial.values or []
    return (
        ", ".join(f"{name} {value:.4g}" for name, value in zip(objective_names(study), values, strict=False)) or "none"
    )


def print_trial(study: optuna.Study, trial: FrozenTrial) -> None:
    """Print all that is known of a trial, and the command that trains it again."""
    row = trials_table(study).iloc[trial.number].dropna()
    for name, value in row.items():
        print(f"{name}: {value}")
    for number, score in trial.intermediate_values.items():
        print(f"{objective_names(study)[0]} at score {number}: {score:.6g}")
    for name, value in trial.constraints.items():
        print(f"constraint {name}: {'kept' if value <= 0 else f'exceeded by {value:.4g}'}")
    values = {**all_values(study, trial), **length_of_trials(study)}
    threads = trial.user_attrs.get(THREADS)
    # On a CPU sums are split among the threads, and each split rounds in its own way.
    with_threads = f"OMP_NUM_THREADS={threads} " if threads else ""
    print("the same training as a DVC experiment:")
    print(
        f"{with_threads}dvc exp run train " + " ".join(f"-S '{name}={_plain(value)}'" for name, value in values.items())
    )


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")
