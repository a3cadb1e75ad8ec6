"""The scorecard as plain numbers: for JSON, for DVC's metrics, and as tables for CSV."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
from torch import Tensor

from .bootstrap import Estimate, estimate
from .catalogue import BY_CLASS, about, clearly_better

Rows = Mapping[str, Tensor]


def document(rows: Mapping[str, Rows], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The scorecard for JSON: the estimates of each source, overall and by class, and then ``facts``, as they are."""
    return {
        **{source: {name: asdict(one) for name, one in overall(some).items()} for source, some in rows.items()},
        "by_class": {
            source: {
                name.removesuffix(BY_CLASS): [asdict(_estimate(name, column)) for column in columns.T]
                for name, columns in some.items()
                if columns.ndim == 2
            }
            for source, some in rows.items()
        },
        **facts,
    }


def overall(rows: Rows) -> dict[str, Estimate]:
    """The estimate of each number that is not about a single class."""
    return {name: _estimate(name, some) for name, some in rows.items() if some.ndim == 1}


def _estimate(name: str, rows: Tensor) -> Estimate:
    bounds = about(name)
    return estimate(rows, bounds.lowest, bounds.highest)


def too_good(generated: Rows, real: Rows) -> list[str]:
    """A warning that names the numbers at which generated images clearly beat real ones, where that is no progress."""
    ours, theirs = overall(generated), overall(real)
    names = [
        name
        for name, one in ours.items()
        if about(name).beyond_real == "suspect" and clearly_better(name, one, theirs[name])
    ]
    if not names:
        return []
    return [
        f"better than real images in {', '.join(about(name).title for name in names)}: that is no progress, the generator "
        "pleases the classifier or repeats a few good images; look at recall, coverage and GAN-train"
    ]


def resample_table(rows: Rows) -> pd.DataFrame:
    """A row a bootstrap resample, a column a number: what comparing two scorecards needs.

    The few numbers that take fewer resamples than the others are left out.
    """
    overall = {name: some[1:].tolist() for name, some in rows.items() if some.ndim == 1}
    longest = max(map(len, overall.values()))
    return pd.DataFrame({name: resampled for name, resampled in overall.items() if len(resampled) == longest})


def class_table(card: Mapping[str, Any]) -> pd.DataFrame:
    """A row a class, a column for each number and source."""
    table = pd.DataFrame({"class": card["class_names"]})
    for source, numbers in card["by_class"].items():
        for name, classes in numbers.items():
            table[f"{source}_{name}"] = [one["value"] for one in classes]
    return table


def headline(card: Mapping[str, Any]) -> dict[str, Any]:
    """The values alone, for DVC's metrics, with the classifier that gave them."""
    numbers = {source: {name: one["value"] for name, one in card[source].items()} for source in ("generated", "real")}
    return {**numbers, "classifier": card["classifier_hash"][:12]}
