"""Every number of the scorecard: its title, which direction is better, and its range. docs/scorecard.md explains them."""

from .bootstrap import Estimate
from .metric import BY_CLASS, Number, discover, number_of, ordered

# Relative, so that the same tree works under another package name; the stage scanner reads the string.
QUICK = discover(".metrics.quick")
METRICS = (*QUICK, *(metric for metric in discover(".metrics") if metric not in QUICK))
"""in the order of computation: those that train or search come after those that fail early"""
NUMBERS = ordered(METRICS)
CATALOGUE = {name: number for name, number in NUMBERS.items() if not name.endswith(BY_CLASS)}
"""the numbers over all classes"""
QUICK_NUMBERS = tuple(name for name in ordered(QUICK) if name in CATALOGUE)
"""the numbers that are also computed at each validation score of a run"""


def about(name: str) -> Number:
    """The entry of a number, over all classes or by class."""
    return number_of(name, NUMBERS)


def clearly_better(name: str, one: Estimate, other: Estimate) -> bool:
    """Whether the whole 95 % interval of a number lies on the better side of that of the other."""
    better = about(name).better
    return (better == "higher" and one.low > other.high) or (better == "lower" and one.high < other.low)


def short(*numbers: float) -> tuple[str, ...]:
    """Numbers in three digits."""
    return tuple(f"{number:#.3g}".rstrip(".") for number in numbers)


def table() -> str:
    """The numbers as a Markdown table, for docs/scorecard.md."""
    sources = {name: metric.source for metric in METRICS for name in metric.numbers}
    lines = ["| name | title | group | better | range | source |", "|---|---|---|---|---|---|"]
    for name, number in CATALOGUE.items():
        ends = f"{number.lowest:g} to {number.highest:g}".replace("-inf to inf", "any").replace("inf", "∞")
        lines.append(f"| `{name}` | {number.title} | {number.group} | {number.better} | {ends} | {sources[name]} |")
    return "\n".join(lines)
