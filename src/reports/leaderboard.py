"""The leaderboard of several generators: as CSV, as Markdown, and as a picture with images of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..core.files import replacing
from ..evaluation.catalogue import CATALOGUE
from ..evaluation.evaluation import SHOWN
from ..networks.description import load_generator
from ..networks.interface import Generator
from ..sampling.draw import generate
from ..sampling.grids import save_grid
from ..training.loop import GRID_SEED

PER_CLASS = 2
"""images of each class in the picture"""


def with_interval(one: Mapping[str, float], digits: int = 3) -> str:
    """``0.906 [0.901, 0.911]``"""
    low, high, value = (format(one[name], f".{digits}f") for name in ("low", "high", "value"))
    return f"{value} [{low}, {high}]"


def as_table(results: Sequence[Mapping[str, Any]], ceiling: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A row a recipe, the best validation score first; below them the ``ceiling``, real images.

    A result has ``recipe``, ``score``, ``numbers`` (those SHOWN, each as the dictionary of an Estimate), ``images_per_second``,
    ``minutes``, ``kimg``, ``parameters`` of generator and discriminator, and ``drawing_flops`` and ``training_flops`` an image.
    """
    titles = {name: CATALOGUE[name].title for name in SHOWN}
    rows = [
        {
            "recipe": one["recipe"],
            "validation score": f"{one['score']:.3f}",
            **{titles[name]: with_interval(one["numbers"][name]) for name in SHOWN if name in one["numbers"]},
            "images/s": f"{one['images_per_second']:,.0f}",
            "minutes": f"{one['minutes']:.1f}",
            "parameters of both": " / ".join(f"{count:,}" for count in one["parameters"].values()),
            "MFLOP to draw": f"{one['drawing_flops'] / 1e6:,.2f}",
            "MFLOP to train": f"{one['training_flops'] / 1e6:,.1f}",
        }
        for one in sorted(results, key=lambda some: float(some["score"]))
    ]
    rows.append({"recipe": "real images", **{titles[name]: with_interval(one) for name, one in ceiling.items()}})
    return _frame(rows)


def over_seeds(
    results: Sequence[Sequence[Mapping[str, Any]]], ceiling: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    """A row a recipe, mean and standard deviation over its seeds, the best mean validation score first.

    Each of ``results`` holds those of :func:`as_table` for one seed; a recipe that diverged with a seed has fewer. The
    deviation is that of a sample, and is not given for a single one. Below them the ``ceiling``, real images, without one.
    """
    by_recipe: dict[str, list[Mapping[str, Any]]] = {}
    for one in (one for some in results for one in some):
        by_recipe.setdefault(one["recipe"], []).append(one)
    rows: list[dict[str, str]] = [
        {
            "recipe": name,
            "seeds": str(len(some)),
            "validation score": mean_and_deviation([one["score"] for one in some]),
            **{
                CATALOGUE[number].title: mean_and_deviation([one["numbers"][number]["value"] for one in some])
                for number in SHOWN
                if all(number in one["numbers"] for one in some)
            },
            "thousand images": f"{some[0]['kimg']:,g}",
            "minutes": mean_and_deviation([one["minutes"] for one in some], 1),
        }
        for name, some in sorted(by_recipe.items(), key=lambda pair: fmean(one["score"] for one in pair[1]))
    ]
    rows.append(
        {"recipe": "real images", **{CATALOGUE[name].title: f"{one['value']:.3f}" for name, one in ceiling.items()}}
    )
    return _frame(rows)


def _frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """The rows as a table; the order of columns is that of the first row that has all of them."""
    columns = max(rows, key=len)
    return pd.DataFrame(rows, columns=list(columns)).fillna("")


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """``0.906 ± 0.004``; the mean alone for a single value."""
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean


def as_markdown(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def class_images(generator: Generator, count: int) -> Tensor:
    """``count`` images of each class, uint8 (classes * count, C, H, W), class by class, always from the same seeds."""
    labels = torch.arange(generator.class_count).repeat_interleave(count)
    return generate(generator, labels, GRID_SEED + torch.arange(len(labels)))


def write_leaderboard(
    results: Sequence[Mapping[str, Any]],
    failed: Mapping[str, str],
    ceiling: Mapping[str, Mapping[str, float]],
    folder: Path,
) -> str:
    """Write ``leaderboard.csv``, ``.md`` and ``.png``; ``folder`` has the generator of each result. Returns the Markdown.

    The arguments are those of :func:`as_table`; ``failed`` are reasons by recipe.
    """
    table = as_table(results, ceiling)
    names = list(table["recipe"][:-1])
    rows = [class_images(load_generator(folder / name), PER_CLASS) for name in names]
    title = f"{PER_CLASS} images of each class, not selected (without labels: any {len(rows[0])})"
    save_grid(torch.cat(rows), folder / "leaderboard.png", len(rows[0]), names, title)
    return _write(table, failed, folder)


def write_over_seeds(
    results: Sequence[Sequence[Mapping[str, Any]]],
    failed: Mapping[str, str],
    ceiling: Mapping[str, Mapping[str, float]],
    folder: Path,
) -> str:
    """Write ``leaderboard.csv`` and ``.md`` of :func:`over_seeds`. Returns the Markdown.

    ``failed`` are reasons by recipe and seed.
    """
    return _write(over_seeds(results, ceiling), failed, folder)


def _write(table: pd.DataFrame, failed: Mapping[str, str], folder: Path) -> str:
    text = as_markdown(table) + "".join(f"\n{name}: {why}\n" for name, why in failed.items())
    with replacing(folder / "leaderboard.csv") as part:
        table.to_csv(part, index=False)
    with replacing(folder / "leaderboard.md") as part:
        part.write_text(text, encoding="utf-8")
    return text
