"""The leaderboard of several generators as a table: for CSV, and as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..evaluation.catalogue import CATALOGUE
from ..evaluation.evaluation import SHOWN


def with_interval(one: Mapping[str, float], digits: int = 3) -> str:
    """``0.906 [0.901, 0.911]``"""
    low, high, value = (format(one[name], f".{digits}f") for name in ("low", "high", "value"))
    return f"{value} [{low}, {high}]"


def as_table(results: Sequence[Mapping[str, Any]], ceiling: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A row a recipe, the best validation score first; below them the ``ceiling``, real images.

    A result has ``recipe``, ``score``, ``numbers`` (those SHOWN, each as the dictionary of an Estimate), ``images_per_second``,
    ``minutes``, ``parameters`` of generator and discriminator, and ``drawing_flops`` and ``training_flops`` an image.
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
    # The order of columns is that of the first row that has all of them.
    columns = max(rows, key=len)
    return pd.DataFrame(rows, columns=list(columns)).fillna("")


def as_markdown(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines) + "\n"
