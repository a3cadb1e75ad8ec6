"""Plots as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from torch import Tensor

Rows = Sequence[Mapping[str, float]]


def save_history(losses: Rows, scores: Rows, path: Path) -> None:
    """Losses, shares and distances over thousands of images; the rows are those of ``FitResult``."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _lines(left, losses, ("loss_discriminator", "loss_generator"), "losses")
    _lines(middle, losses, ("real_accuracy", "fake_accuracy"), "shares")
    _lines(middle, scores, ("precision", "recall", "coverage"), "discriminator's accuracies, validation shares")
    _lines(right, scores, ("frechet_joint_distance", "frechet_classifier_distance"), "validation distances")
    middle.set_ylim(0, 1)
    right.set_yscale("log")
    label_log_axis(right)
    figure.savefig(path, dpi=110)


def label_log_axis(axes: Axes) -> None:
    """Plain numbers along a logarithmic y axis; between the powers of ten too, where it spans only a few of them."""
    for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        set_formatter(LogFormatter(minor_thresholds=(2, 0.5)))


def _lines(axes: Axes, rows: Rows, names: Sequence[str], title: str) -> None:
    for name in names:
        axes.plot([row["kimg"] for row in rows], [row[name] for row in rows], ".-", label=name.replace("_", " "))
    axes.set(title=title, xlabel="thousand images")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def save_confusion(counts: Tensor, class_names: Sequence[str], path: Path, title: str) -> None:
    """A confusion matrix, int64 (K, K), row by asked class, as shares of the row in percent."""
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
    axes.set(xlabel="class the classifier sees", ylabel="class asked for", title=title)
    figure.savefig(path, dpi=110)


def save_class_bars(values: Mapping[str, Sequence[float]], class_names: Sequence[str], path: Path, title: str) -> None:
    """Grouped bars: a group a class, a bar a series of ``values`` (in 0..1, one value a class)."""
    figure = Figure(figsize=(2 + 0.9 * len(class_names), 3.8), layout="constrained")
    axes = figure.subplots()
    positions, width = np.arange(len(class_names)), 0.8 / len(values)
    for index, (name, heights) in enumerate(values.items()):
        axes.bar(positions + (index - (len(values) - 1) / 2) * width, heights, width, label=name)
    axes.set_xticks(positions, class_names, rotation=30, ha="right")
    axes.set(ylim=(0, 1.02))
    axes.set_title(title, loc="left")
    axes.margins(x=0.01)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(values), fontsize=9, frameon=False)
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=110)
