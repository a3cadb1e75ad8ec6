"""Optuna's plots of a study: a PNG for each, and all of them on one interactive page."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from math import log10
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from ..reports.plots import few_ticks, label_log_axis
from .retries import FINISHED
from .study import objective_names

WIDE = 10
"""Values are plotted on a logarithmic scale from this ratio of the largest to the smallest."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font: 15px sans-serif; max-width: 1150px; margin: 1.5em auto}} h2 {{margin-top: 2em}}</style>
<script>{library}</script></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""
Plot = tuple[str, str, str, Callable[[Any], Any]]
"""File name, title, what is missing for it (or nothing), and a function that draws it with one of Optuna's two libraries."""


def save_plots(study: optuna.Study, folder: Path) -> list[str]:
    """Write a PNG for each plot and ``plots.html``; returns a sentence for each plot that cannot be drawn yet.

    With one objective: history, importances, parallel coordinates, slices, intermediate values. With several: the Pareto
    front, and all but the last one for each objective.
    """
    from optuna.visualization import matplotlib as static
    from plotly.offline import get_plotlyjs

    finished = optuna.create_study(directions=study.directions)
    finished.add_trials(study.get_trials(deepcopy=False, states=FINISHED))  # with the same numbers
    missing, parts = list[str](), list[str]()
    for name, title, needed, plot in _plots(finished, objective_names(study)):
        if needed:
            missing.append(f"{title}: no plot yet, it needs {needed}")
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the plots have been experimental for years
                _save_png(partial(plot, static), title, folder / f"{name}.png")
                figure = plot(optuna.visualization)
        except (RuntimeError, ValueError) as error:  # for example fANOVA, when all trials have the same values
            missing.append(f"{title}: no plot, {error}")
            continue
        figure.update_layout(title=None, height=max(450, figure.layout.height or 0), template="plotly_white")
        parts.append(f"<h2>{escape(title)}</h2>\n{figure.to_html(full_html=False, include_plotlyjs=False)}")
    if parts:
        page = PAGE.format(title=escape(f"Study {study.study_name}"), library=get_plotlyjs(), body="\n".join(parts))
        (folder / "plots.html").write_text(page, encoding="utf-8")
    return missing


def _plots(study: optuna.Study, names: list[str]) -> Iterator[Plot]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    none_yet = "" if complete else "a finished trial"
    several = len(names) > 1
    if several:
        front = partial(_plot, "plot_pareto_front", study, target_names=names)
        yield "pareto_front", "Pareto front", none_yet, front
    for place, name in enumerate(names):
        suffix, of = (f"_{name}", f" of {name}") if several else ("", "")
        values = [trial.values[place] for trial in complete]
        different = "" if len(set(values)) > 1 else "two finished trials with different values"
        wide = _wide(values)
        # With a target of its own, Optuna draws no line of the best value so far.
        plain: dict[str, Any] = {"target_name": name, **({"target": _target(place, log=False)} if several else {})}
        logs = {"target": _target(place, log=True), "target_name": f"log10 {name}"} if wide else plain
        yield f"history{suffix}", f"History{of}", none_yet, partial(_history, study, plain, wide)
        title = f"Importance of the parameters{of.replace(' of ', ' for ')}"
        yield f"importances{suffix}", title, different, partial(_importances, study, plain)
        yield f"parallel_coordinate{suffix}", f"Parallel coordinates{of}", different, partial(_parallel, study, logs)
        yield f"slice{suffix}", f"Slices{of}", none_yet, partial(_slices, study, logs)
    if not several:
        scores = [one for trial in study.get_trials(deepcopy=False) for one in trial.intermediate_values.values()]
        needed = "" if scores else "a trial with intermediate values"
        yield (
            "intermediate_values",
            "Intermediate values",
            needed,
            partial(_intermediate, study, names[0], _wide(scores)),
        )


def _wide(values: list[float]) -> bool:
    return min(values, default=0) > 0 and max(values) > WIDE * min(values)


def _target(place: int, *, log: bool) -> Callable[[FrozenTrial], float]:
    return lambda trial: log10(trial.values[place]) if log else float(trial.values[place])


def _plot(name: str, study: optuna.Study, library: Any, **words: Any) -> Any:
    return getattr(library, name)(study, **words)


def _history(study: optuna.Study, words: dict[str, Any], wide: bool, library: Any) -> Any:
    drawn = library.plot_optimization_history(study, **words)
    if library is optuna.visualization:
        drawn.update_traces(line_shape="hv", selector={"mode": "lines"})
    else:
        for line in drawn.lines[:1]:
            line.set(drawstyle="steps-post", label="best so far")
        drawn.legend(loc="best")
    return _scaled(drawn, wide, library)


def _intermediate(study: optuna.Study, name: str, wide: bool, library: Any) -> Any:
    drawn = library.plot_intermediate_values(study)
    if library is optuna.visualization:
        drawn.update_layout(xaxis_title="number of the score", yaxis_title=name)
    else:
        drawn.set(xlabel="number of the score", ylabel=name)
        if legend := drawn.get_legend():  # with an entry for each trial, it would cover the plot
            legend.remove()
    return _scaled(drawn, wide, library)


def _scaled(drawn: Any, wide: bool, library: Any) -> Any:
    """A plot over integers, with a logarithmic vertical axis for values of a wide range."""
    if library is optuna.visualization:
        drawn.update_yaxes(type="log" if wide else "linear")
        return drawn
    drawn.locator_params(axis="x", integer=True)
    if wide:
        drawn.set_yscale("log")
        label_log_axis(drawn)
    return drawn


def _importances(study: optuna.Study, words: dict[str, Any], library: Any) -> Any:
    from optuna.importance import FanovaImportanceEvaluator

    # Optuna's default, PED-ANOVA, considers the best tenth of the trials: of twenty two, which each new one changes.
    drawn = library.plot_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), **words)
    if library is not optuna.visualization:
        drawn.set(xlabel="share", ylabel="")
        drawn.margins(x=0.12)
        if legend := drawn.get_legend():
            legend.remove()
    return drawn


def _parallel(study: optuna.Study, words: dict[str, Any], library: Any) -> Any:
    drawn = library.plot_parallel_coordinate(study, **words)
    if library is not optuna.visualization:
        grey = "0.9"  # the lines of the worst trials are nearly white
        drawn.set_facecolor(grey)
        drawn.figure.set_size_inches(2.4 * (1 + len(drawn.get_xticks())), 6)
        for axes in drawn.figure.axes[2:]:  # after the objective and the colour bar
            few_ticks(axes.yaxis)
            axes.tick_params(length=6, labelsize=9)
            for label in axes.get_yticklabels():  # lines cross them
                label.set_bbox({"facecolor": grey, "alpha": 0.8, "edgecolor": "none", "pad": 1})
        drawn.tick_params(axis="x", labelrotation=0, pad=10)
        names = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
        drawn.set_xticklabels([_short(label.get_text(), names) for label in drawn.get_xticklabels()])
    return drawn


def _short(label: str, names: list[str]) -> str:
    """A parameter without its section; Optuna truncates long names."""
    whole = next((name for name in names if name.startswith(label.removesuffix("..."))), label)
    return whole.partition(".")[2] or whole


def _slices(study: optuna.Study, words: dict[str, Any], library: Any) -> Any:
    drawn = library.plot_slice(study, **words)
    if library is not optuna.visualization:
        panels = np.ravel(drawn)
        panels[0].figure.set_size_inches(3.2 * (1 + len(panels)), 4.5)
        for axes in panels:
            few_ticks(axes.xaxis)
        panels[0].figure.axes[-1].yaxis.set_major_locator(MaxNLocator(integer=True))  # numbers of trials
    return drawn


def _save_png(plot: Callable[[], Any], title: str, path: Path) -> None:
    """Draw and save a plot of Optuna, which changes matplotlib's style and leaves its figure open."""
    from matplotlib import pyplot

    with matplotlib.rc_context():
        pyplot.switch_backend("agg")  # no window
        drawn = np.ravel(plot())  # slices are an array of axes
        for axes in drawn:
            for place in ("left", "center"):
                axes.set_title("", loc=place)
        drawn[0].figure.suptitle(title)
        drawn[0].figure.savefig(path, dpi=110, bbox_inches="tight")
        pyplot.close(drawn[0].figure)
