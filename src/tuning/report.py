"""What a study has found, as tables and plots, on the screen and in its MLflow run."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from src.pictures.plots import label_log_axis
from src.tracking.runs import Run
from src.tuning.study import best_trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOP = 10


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """A row a trial in the order of their numbers: number, state, score, the searched values, seconds, and what else is known.

    The score of a pruned trial is its last one.
    """
    attributes = ("number", "state", "value", "params", "duration", "user_attrs", "datetime_start")
    table = study.trials_dataframe(attributes)
    if table.empty:
        return pd.DataFrame(columns=["number", "state", "score", "seconds"])
    table["seconds"] = pd.to_timedelta(table.pop("duration")).dt.total_seconds().round(1)
    table["state"] = table["state"].str.lower()
    names = {name: name.removeprefix("params_").removeprefix("user_attrs_") for name in table.columns}
    return table.rename(columns={**names, "value": "score", "datetime_start": "started"})


def best_table(study: optuna.Study) -> pd.DataFrame:
    """The ten best trials, the best first: number, state, score, the searched values, seconds; pruned ones come last."""
    table = trials_table(study)
    table = table[table["state"].isin(["complete", "pruned"])].sort_values(["state", "score"])
    values = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
    return table[["number", "state", "score", *values, "seconds"]].head(TOP)


def print_best(study: optuna.Study) -> None:
    """Print :func:`best_table`, or that there is nothing yet."""
    table = best_table(study)
    if table.empty:
        print(f"study {study.study_name!r}: no trial has ended yet")
        return
    print(f"study {study.study_name!r}, best trials of {_ended(study)}:")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}", na_rep="-"))


def _ended(study: optuna.Study) -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def record_trial(run: Run, study: optuna.Study, trial: FrozenTrial) -> None:
    """Write a finished trial's score and the best score up to it into the study's run, at the trial's number."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    scores = [one.value for one in complete if one.number <= trial.number and one.value is not None]
    values = {"best_score": min(scores)} if scores else {}
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        values["score"] = trial.value
    if values:
        run.metrics(values, trial.number)


def record_study(run: Run, study: optuna.Study) -> None:
    """Write the best values, the table of trials and the plots into the study's run."""
    tags = {"trials": str(_ended(study))}
    if best := best_trial(study):
        # As tags: they change with the next call, and MLflow's params cannot.
        tags |= {"best.trial": str(best.number), "best.score": str(best.value)}
        tags |= {f"best.{name}": str(value) for name, value in best.params.items()}
    run.tags(tags)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials_table(study).to_csv(folder / "trials.csv", index=False)
        save_plots(study, folder)
        run.artifact(folder)


def save_plots(study: optuna.Study, folder: Path) -> None:
    """Write history.png, and importances.png where there are two different scores to explain."""
    scores = {trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    if scores:
        _save(_history, study, folder / "history.png")
    if len(scores) < 2:
        print("importances need two finished trials with different scores: no plot of them yet")
        return
    _save(_importances, study, folder / "importances.png")


def _history(study: optuna.Study) -> "Axes":
    from optuna.visualization.matplotlib import plot_optimization_history

    axes = plot_optimization_history(study, target_name="validation score")
    trials = study.get_trials(deepcopy=False)
    axes.set(title=f"Study {study.study_name}: finished trials", xlim=(-0.5, max(len(trials), 2) - 0.5))
    axes.locator_params(axis="x", integer=True)
    axes.lines[0].set(drawstyle="steps-post", label="best so far")
    axes.legend(loc="best")
    scores = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    if max(scores) > 10 * min(scores) > 0:  # one bad trial would press all others to the ground
        axes.set_yscale("log")
        label_log_axis(axes)
    return axes


def _importances(study: optuna.Study) -> "Axes":
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization.matplotlib import plot_param_importances

    # Optuna's default, PED-ANOVA, looks at the best tenth: with twenty trials that is two, and each new one turns it over.
    axes = plot_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    axes.set_title(f"Study {study.study_name}: importance of the parameters", loc="left")
    axes.set(xlabel="share", ylabel="")
    axes.margins(x=0.12)
    if legend := axes.get_legend():
        legend.remove()
    return axes


def _save(draw: "Callable[[optuna.Study], Axes]", study: optuna.Study, path: Path) -> None:
    """Draw with Optuna and write the picture; neither its style nor its figure stays behind in matplotlib."""
    import matplotlib
    from matplotlib import pyplot

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the plots have been marked as experimental for years
        pyplot.switch_backend("agg")  # no window, even where there is a display
        figure: Any = draw(study).figure
        figure.savefig(path, dpi=110, bbox_inches="tight")
        pyplot.close(figure)
