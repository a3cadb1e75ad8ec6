"""The scorecard as text: Markdown, and a table for the terminal."""

import re
from itertools import groupby

from ..evaluation.bootstrap import Estimate
from ..evaluation.catalogue import METRICS, about, short
from ..evaluation.metric import BY_CLASS
from ..evaluation.scorecard import Scorecard

SOURCES = {"generated": "generated", "real": "real images (ceiling)", "floor": "class mean + noise (floor)"}
ARROWS = {"higher": "↑", "lower": "↓", None: ""}


def markdown(card: Scorecard) -> str:
    """The scorecard in Markdown: every number with its interval, ceiling and floor, the classes, tests and warnings."""
    lines = ["# Scorecard", "", *score_lines(card)]
    for warning in card.warnings:
        lines += ["", f"**Warning**: {warning}"]
    hashes = ", ".join(f"{kind} {getattr(card, f'{kind}_hash')[:12]}" for kind in ("generator", "data", "classifier"))
    seeds = ", ".join(f"{name} {seed}" for name, seed in card.seeds.items())
    lines += ["", f"Hashes: {hashes}. Seeds: {seeds}. Neighbours: {card.nearest_k}.", ""]
    return "\n".join(lines)


def score_lines(card: Scorecard) -> list[str]:
    """The numbers, the classes, the tests and a legend as lines of Markdown."""
    lines = [
        f"{card.samples:,} generated images against {card.samples:,} test images, scored by classifier "
        f"{card.classifier_hash[:12]}, whose accuracy on the test images is {100 * card.classifier_accuracy:.1f} %.",
        "*Ceiling*: held-out real images. *Floor*: the mean image of the class plus noise. *Of the gap*: the position between "
        "floor (0 %) and ceiling (100 %).",
        f"↑ higher is better, ↓ lower is better; in brackets: 95 % bootstrap intervals ({card.resamples} resamples).",
    ]
    # MLflow's UI shows ten rows of a table and scrolls for the rest.
    for group, names in groupby(card.generated, key=lambda name: about(name).group):
        lines += ["", f"| {group} | generated | ceiling | floor | of the gap |", "|---|---:|---:|---:|---:|"]
        for name in names:
            cells = [_cell(some[name]) for some in card.sources().values()]
            gap = share_of_gap(name, *(some[name].value for some in card.sources().values()))
            lines.append(f"| {ARROWS[about(name).better]} {about(name).title} | {' | '.join(cells)} | {gap} |")
    if card.by_class.get("generated"):
        lines += ["", *_class_lines(card)]
    lines += ["", "| p-value | if |", "|---:|---|"]
    hypotheses = {name: test.hypothesis for metric in METRICS for name, test in metric.p_values.items()}
    return [*lines, *(f"| {value:.3g} | {hypotheses[name]} |" for name, value in card.p_values.items())]


def _class_lines(card: Scorecard) -> list[str]:
    """A table of the classes: F1 and Frechet distance, generated beside real."""
    names = [name for name in card.by_class["generated"] if not name.endswith(("_precision", "_recall"))]
    titles = [about(name + BY_CLASS).title.removesuffix(" (label agreement)") for name in names]
    lines = [
        "In brackets: the ceiling.",
        "",
        f"| class | {' | '.join(titles)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for place, class_name in enumerate(card.class_names):
        pairs = ((card.classes(source, name)[place].value for source in ("generated", "real")) for name in names)
        cells = " | ".join("{} ({})".format(*short(*pair)) for pair in pairs)
        lines.append(f"| {escaped(class_name)} | {cells} |")
    return lines


def escaped(text: str) -> str:
    """Text escaped for one line of Markdown, also in a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~])", r"\\\1", " ".join(text.split()))


def _cell(one: Estimate) -> str:
    value, low, high = short(one.value, one.low, one.high)
    return f"{value} [{low}, {high}]"


def share_of_gap(name: str, value: float, ceiling: float, floor: float) -> str:
    """The position of a value between floor and ceiling, in percent; empty if the ceiling is no better than the floor."""
    gap = ceiling - floor if about(name).better == "higher" else floor - ceiling
    return f"{100 * (value - floor) / (ceiling - floor):.0f} %" if gap > 1e-9 else ""


def table(card: Scorecard) -> str:
    """The scorecard for a terminal, and its warnings."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=f"{card.samples:,} generated images against {card.samples:,} test images", box=None)
    for title in ("", "generated", "ceiling", "floor", "of the gap"):
        grid.add_column(title, justify="right" if title else "left", no_wrap=True)
    for name, one in card.generated.items():
        cells = [_cell(one), *short(card.real[name].value, card.floor[name].value)]
        gap = share_of_gap(name, *(some[name].value for some in card.sources().values()))
        grid.add_row(f"{ARROWS[about(name).better]} {about(name).title}", *cells, gap)
    console = Console(width=110)
    with console.capture() as captured:
        console.print(grid)
    warnings = [f"warning: {warning}" for warning in card.warnings]
    return "\n".join([captured.get().rstrip(), *warnings])
