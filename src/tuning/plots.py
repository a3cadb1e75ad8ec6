"""Optuna's plots of a study: a PNG each, and all of them interactive on one page."""

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from html import escape
from math import log10
from operator import methodcaller
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from ..reports.plots import few_ticks, label_log_axis
from .scheduling import FINISHED
from .study import objective_names

WIDE = 10
"""Where the worst value is so many times the best one, a plain axis would press all others to the ground."""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font: 15px sans-serif; max-width: 1150px; margin: 1.5em auto}} h2 {{margin-top: 2em}}</style>
<script>{library}</script></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""


def save_plots(study: optuna.Study, folder: Path) -> list[str]:
    """Write a PNG a plot and ``plots.html`` into a folder; returns a sentence for each plot that cannot be drawn yet.

    For one objective: history, importances, parallel coordinates, slices, intermediate values. For several: the Pareto front,
    and all but the last one for each objective.
    """
    from plotly.offline import get_plotlyjs

    shown = _finished_trials(study)
    missing, parts = list[str](), list[str]()
    for name, title, needed, plot in _plots(shown, list(objective_names(study))):
        if needed:
            missing.append(f"{title}: {needed}, no plot yet")
            continue
        try:
            _save_png(partial(plot, _matplotlib()), title, folder / f"{name}.png")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the plots have been marked as experimental for years
                figure = plot(optuna.visualization)
        except (RuntimeError, ValueError) as error:  # fANOVA, say, when all trials have the same values
            missing.append(f"{title}: {error}, no plot")
            continue
        figure.update_layout(title=None, height=max(450, figure.layout.height or 0), template="plotly_white")
        parts.append(f"<h2>{escape(title)}</h2>\n{figure.to_html(full_html=False, include_plotlyjs=False)}")
    if parts:
        page = PAGE.format(title=escape(f"Study {study.study_name}"), library=get_plotlyjs(), body="\n".join(parts))
        (folder / "plots.html").write_text(page, encoding="utf-8")
    return missing


def _finished_trials(study: optuna.Study) -> optuna.Study:
    """A copy with the finished trials only, numbered as in the study: running and failed ones have nothing to show."""
    copy = optuna.create_study(directions=study.directions, study_name=study.study_name)
    copy.add_trials(study.get_trials(deepcopy=False, states=FINISHED))
    return copy


Plot = tuple[str, str, str, Callable[[Any], Any]]
"""File name, title, what is missing for it (or nothing), and how a library of Optuna's two draws it."""


def _plots(study: optuna.Study, names: list[str]) -> Iterator[Plot]:
    none_yet = "" if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) else "it needs a finished trial"
    if len(names) > 1:
        yield "pareto_front", "Pareto front", none_yet, methodcaller("plot_pareto_front", study, target_names=names)
    for place, name in enumerate(names):
        ending, of = (f"_{name}", f" of {name}") if len(names) > 1 else ("", "")
        value = partial(_value, place)
        values = {value(trial) for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
        different = "" if len(values) > 1 else "it needs two finished trials with different values"
        wide = _wide(values)
        # With a target of its own, Optuna draws no line of the best so far.
        plain = {"target_name": name, **({"target": value} if len(names) > 1 else {})}
        logs = {"target": partial(_log, place), "target_name": f"log10 {name}"} if wide else plain
        yield f"history{ending}", f"History{of}", none_yet, partial(_history, study, plain, wide)
        title = f"Importance of the parameters{' for ' if of else ''}{name if of else ''}"
        yield f"importances{ending}", title, different, partial(_importances, study, plain)
        yield f"parallel_coordinate{ending}", f"Parallel coordinates{of}", different, partial(_parallel, study, logs)
        yield f"slice{ending}", f"Slices{of}", none_yet, partial(_slices, study, logs)
    if len(names) == 1:
        scored = any(trial.intermediate_values for trial in study.get_trials(deepcopy=False))
        needed = "" if scored else "it needs a trial with scores on the way"
        yield "intermediate_values", "Scores on the way", needed, partial(_intermediate, study, names[0])


def _wide(values: Collection[float]) -> bool:
    return min(values, default=0) > 0 and max(values) > WIDE * min(values)


def _log(place: int, trial: FrozenTrial) -> float:
    return log10(trial.values[place])


def _value(place: int, trial: FrozenTrial) -> float:
    return float(trial.values[place])


def _matplotlib() -> Any:
    from optuna.visualization import matplotlib

    return matplotlib


def _history(study: optuna.Study, words: dict[str, Any], wide: bool, library: Any) -> Any:
    drawn = library.plot_optimization_history(study, **words)
    if library is optuna.visualization:
        drawn.update_traces(line_shape="hv", selector={"mode": "lines"})
        drawn.update_yaxes(type="log" if wide else "linear")
        return drawn
    drawn.locator_params(axis="x", integer=True)
    for line in drawn.lines[:1]:
        line.set(drawstyle="steps-post", label="best so far")
    drawn.legend(loc="best")
    if wide:
        drawn.set_yscale("log")
        label_log_axis(drawn)
    return drawn


def _importances(study: optuna.Study, words: dict[str, Any], library: Any) -> Any:
    from optuna.importance import FanovaImportanceEvaluator

    # Optuna's default, PED-ANOVA, looks at the best tenth: with twenty trials that is two, and each new one turns it over.
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
        grey = "0.9"  # the worst trials are nearly white
        drawn.set_facecolor(grey)
        drawn.figure.set_size_inches(2.4 * (1 + len(drawn.get_xticks())), 6)
        for axes in drawn.figure.axes[2:]:  # after the objective and the colours
            few_ticks(axes.yaxis)
            axes.tick_params(length=6, labelsize=9)
            for label in axes.get_yticklabels():  # lines run through them
                label.set_bbox({"facecolor": grey, "alpha": 0.8, "edgecolor": "none", "pad": 1})
        drawn.tick_params(axis="x", labelrotation=0, pad=10)
        names = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
        drawn.set_xticklabels([_short(label.get_text(), names) for label in drawn.get_xticklabels()])
    return drawn


def _short(label: str, names: Sequence[str]) -> str:
    """A parameter without its section; Optuna cuts long names off."""
    whole = next((name for name in names if name.startswith(label.removesuffix("..."))), label)
    return whole.partition(".")[2] or whole


def _slices(study: optuna.Study, words: dict[str, Any], library: Any) -> Any:
    drawn = library.plot_slice(study, **words)
    if library is not optuna.visualization:
        every = np.ravel(drawn)
        figure = every[0].figure
        figure.set_size_inches(3.2 * (1 + len(every)), 4.5)
        for axes in every:
            few_ticks(axes.xaxis)
        figure.axes[-1].yaxis.set_major_locator(MaxNLocator(integer=True))  # numbers of trials
    return drawn


def _intermediate(study: optuna.Study, name: str, library: Any) -> Any:
    drawn = library.plot_intermediate_values(study)
    scores = [one for trial in study.get_trials(deepcopy=False) for one in trial.intermediate_values.values()]
    wide = _wide(scores)
    if library is optuna.visualization:
        drawn.update_layout(xaxis_title="number of the score", yaxis_title=name)
        drawn.update_yaxes(type="log" if wide else "linear")
        return drawn
    drawn.set(xlabel="number of the score", ylabel=name)
    drawn.locator_params(axis="x", integer=True)
    if wide:
        drawn.set_yscale("log")
        label_log_axis(drawn)
    if legend := drawn.get_legend():  # a name for each trial would cover the picture
        legend.remove()
    return drawn


def _save_png(plot: Callable[[], Any], title: str, path: Path) -> None:
    """Draw with Optuna and write the picture; neither its style nor its figure stays behind in matplotlib."""
    from matplotlib import pyplot

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyplot.switch_backend("agg")  # no window, even where there is a display
        drawn = np.ravel(plot())  # slices are an array of axes
        figure = drawn[0].figure
        for axes in drawn:
            for place in ("left", "center"):
                axes.set_title("", loc=place)
        figure.suptitle(title)
        figure.savefig(path, dpi=110, bbox_inches="tight")
        pyplot.close(figure)
