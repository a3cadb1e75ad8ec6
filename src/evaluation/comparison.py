"""Comparison of two stored scorecards: which differences exceed the noise of the drawn images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import UserError
from .bootstrap import Estimate, estimate
from .catalogue import CATALOGUE, clearly_better
from .scorecard import Scorecard

if TYPE_CHECKING:
    from torch import Tensor

Verdict = Literal["better", "worse", "beyond real", "within noise", "same"]
"""of the second relative to the first; *beyond real*: both beat real images in a number where that is no merit"""

MUST_AGREE = {
    "classifier_hash": "scores of different classifiers are not comparable",
    "data_hash": "scores on different images are not comparable",
    "samples": "Frechet distances shrink with more samples",
    "nearest_k": "precision, recall, density and coverage depend on it",
    "resamples": "the resamples are not paired",
    "seeds": "different draws, so the resamples are not paired",
}
"""what two scorecards must agree in, and why"""
FEWEST, FEW = 2, 100
"""resamples: below the first number there is no interval, below the second it is rough"""


@dataclass(frozen=True)
class StoredScorecard:
    """A stored scorecard."""

    name: str
    """a readable name of what was scored: a run, a model version or a folder"""
    card: Scorecard
    rows: "Mapping[str, Tensor]"
    """the resamples of each overall number: float64 (R,)"""
    run_id: str | None = None


@dataclass(frozen=True)
class Difference:
    """One number of both. The difference is second minus first."""

    name: str
    title: str
    direction: Literal["higher", "lower"] | None
    """which direction is better"""
    real: Estimate | None
    first: Estimate
    second: Estimate
    difference: Estimate
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison."""

    rows: tuple[Difference, ...]
    only_first: tuple[str, ...]
    """names of the numbers that the second lacks"""
    only_second: tuple[str, ...]
    cautions: tuple[str, ...]
    """reasons to doubt the comparison, as sentences"""

    def titles(self, verdict: Verdict) -> list[str]:
        """The numbers with a verdict."""
        return [row.title for row in self.rows if row.verdict == verdict]


def compare(first: StoredScorecard, second: StoredScorecard) -> Comparison:
    """The common numbers, in the scorecard's order, with paired 95 % intervals of their differences.

    Both were scored with the same resamples of real images and image positions, so much of the noise cancels in the
    difference. Raises UserError with every reason why the scorecards are not comparable.
    """
    if reasons := list(_reasons(first.card, second.card)):
        raise UserError(
            f"{first.name} and {second.name} are not comparable: {'; '.join(reasons)}; "
            "score both with the same classifier, data and parameters (`dvc repro evaluate`)"
        )
    if first.card.resamples < FEWEST:
        raise UserError(
            f"{first.name} and {second.name} have {first.card.resamples} resamples, too few for an interval of a difference; "
            f"at least {FEWEST} are needed, {FEW} or more are recommended"
        )
    names = [name for name in CATALOGUE if name in first.rows and name in second.rows]
    if not names:
        raise UserError(f"{first.name} and {second.name} have no number in common, so there is nothing to compare")
    rows = tuple(_difference(name, first, second) for name in names)
    mine, theirs = (
        tuple(name for name in CATALOGUE if name in one.card.generated and name not in names) for one in (first, second)
    )
    return Comparison(rows, mine, theirs, tuple(_cautions(first.card, second.card, names)))


def _reasons(first: Scorecard, second: Scorecard) -> Iterator[str]:
    for field, reason in MUST_AGREE.items():
        ours, theirs = getattr(first, field), getattr(second, field)
        if ours == theirs:
            continue
        if isinstance(ours, dict):
            seeds = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
            differing = ", ".join(
                f"{field}.{name} {ours.get(name, 'none')} and {theirs.get(name, 'none')}" for name in seeds
            )
        else:
            differing = f"{field} {_short(ours)} and {_short(theirs)}"
        yield f"{differing} ({reason})"


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else str(value)


def _difference(name: str, first: StoredScorecard, second: StoredScorecard) -> Difference:
    import torch

    about, ours, theirs = CATALOGUE[name], first.card.generated[name], second.card.generated[name]
    difference = torch.tensor([theirs.value - ours.value], dtype=torch.float64)
    change = estimate(torch.cat([difference, second.rows[name] - first.rows[name]]))
    same = first.card.generator_hash == second.card.generator_hash
    verdict = "same" if same else _verdict(change, about.better)
    if (
        verdict in ("better", "worse")
        and about.beyond_real != "gain"
        and all(_beyond(name, one.card) for one in (first, second))
    ):
        verdict = "beyond real"
    return Difference(name, about.title, about.better, first.card.real.get(name), ours, theirs, change, verdict)


def _beyond(name: str, card: Scorecard) -> bool:
    real = card.real.get(name)
    return real is not None and clearly_better(name, card.generated[name], real)


def _verdict(change: Estimate, direction: Literal["higher", "lower"] | None) -> Verdict:
    if change.low <= 0 <= change.high:
        return "within noise"
    return "better" if (change.value > 0) == (direction == "higher") else "worse"


def _cautions(first: Scorecard, second: Scorecard, names: list[str]) -> Iterator[str]:
    if first.resamples < FEW:
        yield f"With only {first.resamples} resamples the intervals are rough; {FEW} or more are recommended."
    moved = [CATALOGUE[name].title for name in names if _moved(first.real.get(name), second.real.get(name))]
    if moved:
        # The same images and classifier: only a change of code or settings can change their scores.
        yield (
            "The same real images have different scores in the two, so they were scored with other code or settings: "
            f"{', '.join(moved)}."
        )


def _moved(ours: Estimate | None, theirs: Estimate | None) -> bool:
    """Whether a ceiling changed by more than the rounding of another device, a tenth of its interval."""
    if ours is None or theirs is None:
        return False
    return abs(ours.value - theirs.value) > 0.1 * (ours.high - ours.low) + 1e-6
