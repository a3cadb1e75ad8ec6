"""Plain text tables for the terminal."""

from collections.abc import Mapping, Sequence
from math import isnan

DECIMALS = 4


def aligned(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of values by column, right-aligned; the columns are those of the first row. NaN is shown as ``-``."""
    names = list(rows[0])
    cells = [names, *[[_cell(row[name]) for name in names] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(" ".join(map(str.rjust, line, widths)) for line in cells)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if isnan(value) else f"{value:.{DECIMALS}f}"
    return str(value)
