"""A study in MLflow: one run, the parent of its trials' runs, with tables and Optuna's plots."""

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from math import log10
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib.ticker import MaxNLocator
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..config.params import Params
from ..reports.plots import few_ticks, label_log_axis
from ..tracking.origin import Origin
from ..tracking.runs import Run, child_runs, new_run, reopened_run, run_exists
from ..tracking.store import connect
from ..tracking.sync import abandon
from .report import description, trials_table
from .retries import FINISHED, first_number
from .storage import exclusively
from .study import FINGERPRINT, RUN_ID, best_trials, finished, is_feasible, objective_names

RECORDED = "recorded"
"""User attribute of a study: the number of its trials in the curves of the MLflow run."""
WIDE = 10
"""Values are plotted on a logarithmic scale from this ratio of the largest to the smallest."""
PAGE = "<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>{0}</title><h1>{0}</h1>\n{1}\n</html>"
Plot = tuple[str, str, str, dict[str, Any], bool]
"""File name, title, the function of Optuna's two libraries with its arguments, and whether the vertical axis is logarithmic."""


@contextmanager
def study_run(
    study: optuna.Study, storage: BaseStorage, params: Params, experiment: str, tags: Mapping[str, str]
) -> Iterator[Run]:
    """Open the study's MLflow run, or create one if there is none or it was deleted."""
    tune = params.tune
    space = {name: entry.model_dump(exclude_defaults=True) for name, entry in tune.space.items()}
    choices = {"tune.sampler": tune.sampler, "tune.pruner": tune.pruner}
    with exclusively(storage):
        run_id = study.user_attrs.get(RUN_ID, "")
        if not (run_id and run_exists(connect(), run_id)):
            if run_id:
                print(f"the MLflow run {run_id} of study {study.study_name!r} was deleted; it is replaced by a new one")
            logged = {
                **study.user_attrs[FINGERPRINT],
                **{f"tune.space.{name}": entry for name, entry in space.items()},
                **choices,
                "tune.objectives": ", ".join(tune.objectives),
                "tune.seed": tune.seed,
            }
            with new_run(experiment, Origin.here(study.study_name, logged, tags)) as run:
                run_id = run.run_id
            study.set_user_attr(RUN_ID, run_id)
            study.set_user_attr(RECORDED, 0)
    with reopened_run(run_id) as run:
        # Ranges, sampler and pruner can change between calls, unlike MLflow's params: the tags have the latest.
        run.tags({**tags, "study": study.study_name, "tune.space": json.dumps(space), **choices})
        yield run


def record_progress(run: Run, study: optuna.Study, storage: BaseStorage) -> None:
    """Log the finished trials that are not in the curves yet, in the order in which they finished.

    ``best_NAME`` (with one objective) is the best value so far of trials within the constraints.
    """
    names = objective_names(study)
    best = max if study.directions[0] == StudyDirection.MAXIMIZE else min
    with exclusively(storage, "curves"):
        done = sorted(study.get_trials(deepcopy=False, states=FINISHED), key=_end)
        recorded = study.user_attrs.get(RECORDED, 0)
        for place in range(recorded, len(done)):
            complete = [trial for trial in done[: place + 1] if trial.state == TrialState.COMPLETE]
            feasible = [trial.values[0] for trial in complete if is_feasible(trial)]
            ended = done[place].state == TrialState.COMPLETE
            values = dict(zip(names, done[place].values, strict=True)) if ended else {}
            if len(names) == 1 and feasible:
                values[f"best_{names[0]}"] = best(feasible)
            if values:
                run.metrics(values, place + 1)
        if recorded < len(done):
            study.set_user_attr(RECORDED, len(done))


def _end(trial: FrozenTrial) -> float:
    return trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0


def record_study(run: Run, study: optuna.Study, texts: Mapping[str, str] | None = None) -> None:
    """Log the best values, the table of trials and the plots, and ``texts`` by file name."""
    tags = {"trials": str(finished(study)), "mlflow.note.content": description(study)}
    if best := best_trials(study):
        # As tags, since they change with the next call, which MLflow's params cannot.
        tags["best.trial"] = ", ".join(str(trial.number) for trial in best)
    if len(best) == 1:
        values = {**dict(zip(objective_names(study), best[0].values, strict=True)), **best[0].params}
        tags |= {f"best.{name}": str(value) for name, value in values.items()}
    run.tags(tags)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials_table(study).to_csv(folder / "trials.csv", index=False)
        for file, text in (texts or {}).items():
            (folder / file).write_text(text, encoding="utf-8")
        (folder / "plots").mkdir()
        for missing in save_plots(study, folder / "plots"):
            print(missing)
        run.artifact(folder)


def end_orphans(run: Run, study: optuna.Study, storage: BaseStorage) -> None:
    """Mark running MLflow runs as killed whose trial has ended or lost its worker before it knew the run."""
    with exclusively(storage):
        unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        expected = {trial.user_attrs.get(RUN_ID) for trial in unfinished}
        numbers = {str(number) for trial in unfinished for number in (trial.number, first_number(trial))}
        for run_id, tags in child_runs(run.client, run.run_id, "RUNNING"):
            if tags.get("study") == study.study_name and run_id not in expected and tags.get("trial") not in numbers:
                abandon(run_id, "its process died")


def save_plots(study: optuna.Study, folder: Path) -> list[str]:
    """Write a PNG for each plot and ``plots.html``; returns a sentence for each plot that cannot be drawn yet.

    With one objective: history, importances, parallel coordinates, slices, intermediate values. With several: the Pareto
    front, and all but the last one for each objective.
    """
    shown = optuna.create_study(directions=study.directions)
    shown.add_trials(study.get_trials(deepcopy=False, states=FINISHED))  # which keep their numbers
    missing, parts = list[str](), list[str]()
    for name, title, function, words, log in _plots(shown, objective_names(study)):
        if "needs" in words:
            missing.append(f"{title}: no plot yet, it needs {words['needs']}")
            continue
        try:
            with warnings.catch_warnings(), matplotlib.rc_context():
                warnings.simplefilter("ignore")  # the plots have been experimental for years
                _save_png(shown, title, function, words, log, folder / f"{name}.png")
                figure = getattr(optuna.visualization, function)(shown, **words)
        except (RuntimeError, ValueError) as error:  # for example fANOVA, when all trials have the same values
            missing.append(f"{title}: no plot, {error}")
            continue
        figure.update_layout(title=None, height=max(450, figure.layout.height or 0), template="plotly_white")
        figure.update_traces(line_shape="hv", selector={"mode": "lines"})  # the best value so far
        if log:
            figure.update_yaxes(type="log")
        parts.append(f"<h2>{escape(title)}</h2>\n{figure.to_html(full_html=False, include_plotlyjs=not parts)}")
    if parts:
        page = PAGE.format(escape(f"Study {study.study_name}"), "\n".join(parts))
        (folder / "plots.html").write_text(page, encoding="utf-8")
    return missing


def _plots(study: optuna.Study, names: list[str]) -> Iterator[Plot]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    some = {} if complete else {"needs": "a finished trial"}
    several = len(names) > 1
    if several:
        yield "pareto_front", "Pareto front", "plot_pareto_front", {"target_names": names, **some}, False
    for place, name in enumerate(names):
        suffix, of = (f"_{name}", f" of {name}") if several else ("", "")
        values = [trial.values[place] for trial in complete]
        two = {} if len(set(values)) > 1 else {"needs": "two finished trials with different values"}
        wide = _wide(values)
        # With a target of its own, Optuna draws no line of the best value so far.
        plain: dict[str, Any] = {"target_name": name}
        if several:
            plain["target"] = lambda trial, place=place: trial.values[place]
        scaled = plain
        if wide:
            scaled = {"target_name": f"log10 {name}", "target": lambda trial, place=place: log10(trial.values[place])}
        yield f"history{suffix}", f"History{of}", "plot_optimization_history", {**plain, **some}, wide
        # Optuna's default, PED-ANOVA, considers the best tenth of the trials: of twenty two, which each new one changes.
        fanova = {"evaluator": optuna.importance.FanovaImportanceEvaluator(seed=0), **plain, **two}
        title = f"Importance of the parameters{of.replace(' of ', ' for ')}"
        yield f"importances{suffix}", title, "plot_param_importances", fanova, False
        title = f"Parallel coordinates{of}"
        yield f"parallel_coordinate{suffix}", title, "plot_parallel_coordinate", {**scaled, **two}, False
        yield f"slice{suffix}", f"Slices{of}", "plot_slice", {**scaled, **some}, False
    if not several:
        scores = [one for trial in study.get_trials(deepcopy=False) for one in trial.intermediate_values.values()]
        scored = {} if scores else {"needs": "a trial with intermediate values"}
        yield "intermediate_values", "Intermediate values", "plot_intermediate_values", scored, _wide(scores)


def _wide(values: list[float]) -> bool:
    return min(values, default=0) > 0 and max(values) > WIDE * min(values)


def _save_png(study: optuna.Study, title: str, function: str, words: dict[str, Any], log: bool, path: Path) -> None:
    """Draw and save a plot of Optuna, which changes matplotlib's style and leaves its figure open."""
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as library

    pyplot.switch_backend("agg")  # no window
    panels = list(np.ravel(getattr(library, function)(study, **words)))  # slices are an array of axes
    figure = panels[0].figure
    _adjust(panels, function, study)
    for axes in panels:
        for place in ("left", "center"):
            axes.set_title("", loc=place)
        if log:
            axes.set_yscale("log")
            label_log_axis(axes)
    figure.suptitle(title)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


def _adjust(panels: list[Any], function: str, study: optuna.Study) -> None:
    """Make the labels of a plot readable, and remove legends that cover it."""
    axes, figure = panels[0], panels[0].figure
    match function:
        case "plot_optimization_history":
            axes.locator_params(axis="x", integer=True)
            for line in axes.lines[:1]:
                line.set(drawstyle="steps-post", label="best so far")
            axes.legend(loc="best")
        case "plot_param_importances":
            axes.set(xlabel="share", ylabel="")
            axes.margins(x=0.12)
        case "plot_intermediate_values":
            axes.set(xlabel="number of the score", ylabel="score")
            axes.locator_params(axis="x", integer=True)
        case "plot_slice":
            figure.set_size_inches(3.2 * (1 + len(panels)), 4.5)
            for panel in panels:
                few_ticks(panel.xaxis)
            figure.axes[-1].yaxis.set_major_locator(MaxNLocator(integer=True))  # numbers of trials
        case "plot_parallel_coordinate":
            grey = "0.9"  # the lines of the worst trials are nearly white
            axes.set_facecolor(grey)
            figure.set_size_inches(2.4 * (1 + len(axes.get_xticks())), 6)
            for scale in figure.axes[2:]:  # after the objective and the colour bar
                few_ticks(scale.yaxis)
                scale.tick_params(length=6, labelsize=9)
                for label in scale.get_yticklabels():  # lines cross them
                    label.set_bbox({"facecolor": grey, "alpha": 0.8, "edgecolor": "none", "pad": 1})
            axes.tick_params(axis="x", labelrotation=0, pad=10)
            names = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
            axes.set_xticklabels([_short(label.get_text(), names) for label in axes.get_xticklabels()])
    if function in ("plot_param_importances", "plot_intermediate_values") and (legend := axes.get_legend()):
        legend.remove()


def _short(label: str, names: list[str]) -> str:
    """A parameter without its section; Optuna truncates long names."""
    whole = next((name for name in names if name.startswith(label.removesuffix("..."))), label)
    return whole.partition(".")[2] or whole
