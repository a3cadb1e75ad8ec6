"""Plots as PNG files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter
from torch import Tensor

from ..core.files import replacing

Rows = Sequence[Mapping[str, float]]


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as part:
        figure.savefig(part, dpi=110, format="png")


def save_history(losses: Rows, scores: Rows, path: Path) -> None:
    """Plot losses, shares and distances over thousands of images; the rows are those of ``FitResult``."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _lines(left, losses, ("loss_discriminator", "loss_generator"), "losses")
    _lines(middle, losses, ("real_accuracy", "fake_accuracy"), "shares")
    _lines(middle, scores, ("precision", "recall", "coverage"), "discriminator's accuracies, validation shares")
    _lines(right, scores, ("frechet_joint_distance", "frechet_classifier_distance"), "validation distances")
    middle.set_ylim(0, 1)
    right.set_yscale("log")
    label_log_axis(right)
    _save(figure, path)


def label_log_axis(axes: Axes) -> None:
    """Label a logarithmic y axis with plain numbers, also between powers of ten if it spans only a few of them."""
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_formatter(LogFormatter(minor_thresholds=(2, 0.5)))


ROUND = (1, 2, 5, 10)


def few_ticks(axis: Axis) -> None:
    """Label a short axis with few plain numbers, so that they do not overlap; leaves categorical axes as they are."""
    low, high = sorted(axis.get_view_interval())
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 4 * low else MaxNLocator(4, steps=ROUND))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    elif isinstance(axis.get_major_formatter(), ScalarFormatter):
        axis.set_major_locator(MaxNLocator(5, steps=ROUND))


def _lines(axes: Axes, rows: Rows, names: Sequence[str], title: str) -> None:
    for name in names:
        if all(name in row for row in rows):  # an unconditional generator has no scores of labels
            axes.plot([row["kimg"] for row in rows], [row[name] for row in rows], ".-", label=name.replace("_", " "))
    axes.set(title=title, xlabel="thousand images")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def save_confusion(counts: Tensor, class_names: Sequence[str], path: Path, title: str) -> None:
    """Plot a confusion matrix, int64 (K, K), with a row for each requested class, in percent of the row."""
    shares = (counts.double() / counts.sum(dim=1, keepdim=True).clamp(min=1)).numpy()
    size = 2.2 + 0.55 * len(class_names)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            colour = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    ticks = range(len(class_names))
    axes.set_xticks(ticks, class_names, rotation=45, ha="right")
    axes.set_yticks(ticks, class_names)
    axes.set(xlabel="predicted class", ylabel="requested class", title=title)
    _save(figure, path)


@dataclass(frozen=True)
class Panel:
    """A bar chart: a group of bars for each class, a bar for each series."""

    title: str
    values: Mapping[str, Sequence[float]]
    """a value per class for each series"""
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None
    """low and high end per class, drawn as error bars, for some or all of the series"""
    limit: float | None = 1.02
    """top of the y axis, or None to fit the bars; a higher bar is clipped and labelled with its value"""


def save_class_panels(panels: Sequence[Panel], class_names: Sequence[str], path: Path) -> None:
    """Bar charts below each other, which share the class names and one legend: a series has one colour in all."""
    size = (max(6.0, 2 + 0.9 * len(class_names)), 1.2 + 2.6 * len(panels))
    figure = Figure(figsize=size, layout="constrained")
    series = dict.fromkeys(name for panel in panels for name in panel.values)
    colours = {name: f"C{index}" for index, name in enumerate(series)}
    every_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    handles: dict[str, Artist] = {}
    for axes, panel in zip(every_axes, panels, strict=True):
        _bars(axes, panel, class_names, colours)
        bars, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, bars, strict=True))
    every_axes[-1].set_xticks(range(len(class_names)), class_names, rotation=30, ha="right")
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles), fontsize=9, frameon=False
    )
    _save(figure, path)


def _bars(axes: Axes, panel: Panel, class_names: Sequence[str], colours: Mapping[str, str]) -> None:
    intervals = panel.intervals or {}
    positions, width = np.arange(len(class_names)), 0.8 / len(panel.values)
    for index, (name, heights) in enumerate(panel.values.items()):
        middles = positions + (index - (len(panel.values) - 1) / 2) * width
        axes.bar(middles, heights, width, label=name, color=colours[name])
        if name in intervals:
            low, high = np.array(intervals[name], dtype=float).T
            # Around their own middle: a bar need not end inside its interval.
            axes.errorbar(
                middles, (low + high) / 2, (high - low) / 2, fmt="none", ecolor="black", elinewidth=1, capsize=2
            )
        for middle, height in zip(middles, heights, strict=True):
            if panel.limit is not None and height > panel.limit:
                axes.annotate(
                    f"{height:.3g}",
                    (middle, panel.limit),
                    (0, -3),
                    textcoords="offset points",
                    rotation=90,
                    ha="center",
                    va="top",
                    fontsize=8,
                    color="white",
                )
    if panel.limit is not None:
        axes.set_ylim(0, panel.limit)
    axes.set_title(panel.title, loc="left")
    axes.margins(x=0.01)
    axes.grid(axis="y", alpha=0.3)
