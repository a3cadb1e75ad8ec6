"""How the benchmarks show what they measured: tables as text or Markdown, and whether the targets are reached."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

RATIO, SHARE, BUSY = "ratio", "share of the matmul rate", "GPU busy"
MEMORY, TRACKING = "peak resident memory", "cost of tracking"


@dataclass(frozen=True)
class Target:
    """What a figure ought to be."""

    figure: str
    sign: str
    """``>=`` or ``<``"""
    limit: float
    unit: str = ""

    def line(self, value: float) -> str:
        """``target NAME SIGN LIMIT: reached (VALUE)``, or missed."""
        reached = value >= self.limit if self.sign == ">=" else value < self.limit
        word = "reached" if reached else "missed"
        return f"target {self.figure} {self.sign} {self.limit:g}{self.unit}: {word} ({value:,.2f}{self.unit})"


CPU_TARGETS = (
    Target(f"mlp, batch 64: {RATIO}", ">=", 4),
    Target(f"mlp, default batch: {SHARE}", ">=", 70, " %"),
    Target(f"compact, default batch: {SHARE}", ">=", 50, " %"),
    Target(TRACKING, "<", 2, " %"),
    Target(f"mlp: {MEMORY}", "<", 1536, " MiB"),
    Target(f"compact: {MEMORY}", "<", 1536, " MiB"),
)
"""For two CPU cores."""
GPU_TARGETS = (
    Target(f"mlp, batch 64: {RATIO}", ">=", 10),
    Target(f"compact, batch 64: {RATIO}", ">=", 5),
    Target(f"mlp, default batch: {BUSY}", ">=", 90, " %"),
    Target(f"compact, default batch: {BUSY}", ">=", 90, " %"),
    Target(TRACKING, "<", 2, " %"),
)
"""For a GPU of a data centre."""


def target_lines(figures: Mapping[str, float], *, gpu: bool) -> list[str]:
    """A line for each target whose figure was measured."""
    targets = GPU_TARGETS if gpu else CPU_TARGETS
    return [target.line(figures[target.figure]) for target in targets if target.figure in figures]


def table(rows: Sequence[Mapping[str, Any]], *, markdown: bool) -> str:
    """Rows of text by column; the columns are those of the first row."""
    if not markdown:
        return pd.DataFrame(rows).to_string(index=False)
    names = list(rows[0])
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *[[str(row[name]) for name in names] for row in rows]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """``least - greatest``."""
    return f"{min(values):,.{digits}f} - {max(values):,.{digits}f}"


def median(values: Sequence[float], digits: int = 0) -> str:
    """The median as text."""
    return f"{statistics.median(values):,.{digits}f}"
