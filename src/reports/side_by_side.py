"""Two stored scorecards side by side, as text or JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from math import floor, log10
from typing import TYPE_CHECKING, Any

from ..evaluation.bootstrap import Estimate
from ..evaluation.catalogue import CATALOGUE
from ..evaluation.comparison import MUST_AGREE, Comparison, StoredScorecard, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH = 100
VERDICTS = {
    "better": "B better",
    "worse": "A better",
    "beyond real": "both beyond real",
    "within noise": "within noise",
    "same": "same",
}
"""of B against A, for the reader"""


def about(letter: str, reference: str, one: StoredScorecard) -> str:
    """What was scored and how."""
    parts = [
        reference,
        *([one.name] if one.name != reference else []),
        *([f"run id {one.run_id}"] if one.run_id else []),
    ]
    card = one.card
    return (
        f"{letter}  {', '.join(parts)}\n   generator {card.generator_hash[:12]}, classifier {card.classifier_hash[:12]}, "
        f"{card.samples:,} samples"
    )


def digits(*some: Estimate) -> int:
    """Decimals that show the narrowest interval with two significant digits."""
    widths = [one.high - one.low for one in some if one.high > one.low]
    return min(6, max(0, 1 - floor(log10(min(widths))))) if widths else 4


def with_interval(one: Estimate, decimals: int, sign: str = "") -> str:
    """The value above its interval; the ``sign`` of the value is that of format()."""
    low, high = (format(number, f"z.{decimals}f") for number in (one.low, one.high))
    return f"{one.value:{sign}z.{decimals}f}\n[{low}, {high}]"


def arrows(console: "Console") -> dict[str, str]:
    """The symbols for directions, ASCII if the terminal supports nothing else."""
    return {"higher": "↑", "lower": "↓"} if console.encoding.startswith("utf") else {"higher": "+", "lower": "-"}


def table(found: Comparison, signs: dict[str, str], whole: bool) -> "Table":
    """The common numbers, two lines each: value and interval; numbers are not wrapped if ``whole``."""
    from rich.table import Table

    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("metric", "", "real", "A", "B", "B - A", "verdict"):
        text = title in ("metric", "verdict")
        drawn.add_column(title, justify="left" if text else "right", no_wrap=whole and not text)
    for row in found.rows:
        decimals = digits(row.first, row.second)
        real = f"{row.real.value:z.{decimals}f}" if row.real else "-"
        scores = [with_interval(one, decimals) for one in (row.first, row.second)]
        change = with_interval(row.difference, digits(row.difference), "+")
        drawn.add_row(row.title, signs.get(row.direction or "", ""), real, *scores, change, VERDICTS[row.verdict])
    return drawn


def sentences(found: Comparison, first: StoredScorecard, second: StoredScorecard) -> list[str]:
    """Conclusions, omissions and caveats of the table."""
    verdicts: tuple[Verdict, ...] = ("better", "worse", "within noise", "beyond real")
    better, worse, noise, beyond = (", ".join(found.titles(verdict)) for verdict in verdicts)
    if found.titles("same"):
        said = ["A and B are the same generator."]
    else:
        winners = [f"B is better in {better}"] * bool(better) + [f"A is better in {worse}"] * bool(worse)
        count = len(found.rows)
        said = [
            f"Beyond noise: {'; '.join(winners) or 'nothing'}; within noise: {noise or 'nothing'}.",
            *[f"Better than real images in both, so neither wins: {beyond}."] * bool(beyond),
            "At 95 %, one number in twenty of equally good generators is beyond noise by chance: "
            f"of these {count}, about {max(1, round(count / 20))}.",
            "The noise is that of drawing images. Training with another seed may change the numbers more.",
        ]
    for letter, only in {"A": found.only_first, "B": found.only_second}.items():
        if only:
            said.append(f"Left out, since only {letter} has it: {', '.join(CATALOGUE[name].title for name in only)}.")
    said += [f"Caution: {caution}" for caution in found.cautions]
    for letter, one in {"A": first, "B": second}.items():
        said += [f"Warning in the scorecard of {letter}: {warning}" for warning in one.card.warnings]
    return said


def as_json(found: Comparison, references: Sequence[str], both: Sequence[StoredScorecard]) -> dict[str, Any]:
    """The same as plain data; a verdict is that of the second against the first."""
    of_each = [
        {
            "reference": reference,
            "name": one.name,
            "run_id": one.run_id,
            "generator_hash": one.card.generator_hash,
            "warnings": one.card.warnings,
        }
        for reference, one in zip(references, both, strict=True)
    ]
    common = {field: getattr(both[0].card, field) for field in MUST_AGREE}
    return {"first": of_each[0], "second": of_each[1], **common, **asdict(found), "summary": sentences(found, *both)}
