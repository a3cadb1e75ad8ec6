"""The promotion gate: is a candidate significantly better than the champion, and fit for use at all?

Both draw images from the same latents for the same labels and are compared with the same real validation images, by the same
judge, with the same bootstrap resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..config.params import Evaluate
from ..networks.interface import Generator
from ..networks.weights import content_hash
from .bootstrap import Estimate, estimate
from .evaluator import Evaluator
from .judge import COPIES_ALLOWED, objective_rows
from .metric import Context
from .metrics.quick import frechet, gan_test, memorisation, neighbours
from .real_images import RealImages
from .scored import class_spread

FIRST_SEED = 2**62
"""Other latents than those that selected the networks in training, which would bias their scores."""
RESAMPLES_SEED = 0
COLLAPSED = 0.1
"""A class has collapsed if its images are this close together, relative to real ones; as the alarm in training."""
COVERAGE_NEEDED = 0.05
"""Real validation images reach 0.97; a generator with one image per class 0.003, one of pure noise 0.001."""

Decision = Literal["promoted", "kept", "refused"]
"""the candidate becomes champion; the champion is kept; the candidate is not eligible"""


@dataclass(frozen=True)
class Measured:
    """What the gate measures for a generator."""

    objective: Tensor
    """float64 (1 + R,): the value, and that of each resample"""
    agreement: Tensor | None
    """float64 (1 + R, K): label agreement by class; None for an unconditional generator"""
    copied_share: float
    coverage: float
    spread: Tensor
    """(K,): the mean distance between images of a class, relative to real ones; NaN for too few images"""


@dataclass(frozen=True)
class ClassChange:
    """The label agreement of a class."""

    name: str
    candidate: float
    champion: float
    difference: Estimate
    """candidate minus champion"""


@dataclass(frozen=True)
class Ruling:
    """The gate's decision on a candidate, and why."""

    decision: Decision
    reasons: tuple[str, ...]
    candidate: Estimate
    """the objective, lower is better"""
    champion: Estimate | None
    difference: Estimate | None
    """of the objectives, candidate minus champion"""
    classes: tuple[ClassChange, ...]
    copied_share: float
    coverage: float

    def worst_class(self) -> ClassChange | None:
        """The class with the largest loss."""
        return min(self.classes, key=lambda one: one.difference.value, default=None)


class Gate:
    """Measures generators on the validation split and compares two of them."""

    def __init__(self, real_images: RealImages, resample_count: int, nearest_k: int) -> None:
        self.settings = Evaluate(nearest_k=nearest_k)
        self.class_names, self.data_hash = real_images.data.class_names, real_images.data.content_hash
        self.classifier_hash = content_hash(real_images.classifier)
        self.evaluator = Evaluator(
            real_images,
            "validation",
            first_seed=FIRST_SEED,
            resample_count=resample_count,
            resample_seed=RESAMPLES_SEED,
        )
        self._real_spread = class_spread(self.evaluator.real)

    def measure(self, generator: Generator) -> Measured:
        """Measure a generator; about ten seconds for 10,000 images and 200 resamples on two CPU cores."""
        return self.measure_images(self.evaluator.draw(generator), conditional=generator.conditional)

    def measure_images(self, images: Tensor, *, conditional: bool = True) -> Measured:
        """The same for uint8 images (N, C, H, W), made for the labels of the validation images in turn."""
        evaluator, context = self.evaluator, Context(self.settings, conditional, by_class=False)
        scored = evaluator.score(images)
        rows = evaluator.measure((frechet.METRIC, memorisation.METRIC, gan_test.METRIC), scored, context)
        coverage = evaluator.measure_without_resamples((neighbours.METRIC,), scored, context)["coverage"]
        return Measured(
            objective_rows(rows, evaluator.real, conditional=conditional),
            rows.get("gan_test_recall_by_class"),
            float(rows["copied_share"][0]),
            float(coverage[0]),
            class_spread(scored) / self._real_spread,
        )

    def rule(
        self,
        candidate: Measured,
        champion: Measured | None,
        max_class_drop: float,
        refusals: Sequence[str] = (),
    ) -> Ruling:
        """Whether the candidate replaces the champion. ``refusals`` are reasons against it that are known already.

        It does if there is no reason against it, the whole 95 % interval of the difference of the objectives is below zero,
        and no class loses more than ``max_class_drop`` of its label agreement. Without a champion the first is sufficient.
        """
        against = [*refusals, *self._unfit(candidate)]
        own = estimate(candidate.objective, 0)
        theirs = difference = None
        classes: tuple[ClassChange, ...] = ()
        worse = []
        if champion is not None:
            theirs, difference = estimate(champion.objective, 0), estimate(candidate.objective - champion.objective)
            classes = self._classes(candidate, champion)
            if (candidate.agreement is None) != (champion.agreement is None):
                against.append(
                    "only one of candidate and champion is conditional, so their objectives are not comparable; "
                    "register them under two names (register.model_name)"
                )
            worse = list(_not_better(difference, classes, max_class_drop))
        decision: Decision = "refused" if against else "kept" if worse else "promoted"
        reasons = (*against, *worse) or (_in_favour(difference, classes),)
        return Ruling(decision, reasons, own, theirs, difference, classes, candidate.copied_share, candidate.coverage)

    def _unfit(self, measured: Measured) -> list[str]:
        """Why a generator cannot be champion, regardless of its objective."""
        found = []
        alike = [self.class_names[place] for place in (measured.spread < COLLAPSED).nonzero().flatten().tolist()]
        if alike:
            found.append(
                f"it has collapsed: the images of {', '.join(alike)} are all alike (closer to each other than "
                f"{COLLAPSED:.0%} of the distance between real ones)"
            )
        if measured.coverage < COVERAGE_NEEDED:
            found.append(
                f"it has collapsed: its images cover only {measured.coverage:.1%} of the real ones "
                f"(at least {COVERAGE_NEEDED:.0%} is required)"
            )
        if measured.copied_share > COPIES_ALLOWED:
            found.append(
                f"it memorises: {measured.copied_share:.1%} of its images are as close to a training image as a copy "
                f"(copied share; 1 % for real images, at most {COPIES_ALLOWED:.0%} is allowed)"
            )
        return found

    def _classes(self, candidate: Measured, champion: Measured) -> tuple[ClassChange, ...]:
        if candidate.agreement is None or champion.agreement is None:
            return ()
        rows = candidate.agreement - champion.agreement
        values = candidate.agreement[0].tolist(), champion.agreement[0].tolist()
        return tuple(
            ClassChange(name, ours, theirs, estimate(column))
            for name, ours, theirs, column in zip(self.class_names, *values, rows.T, strict=True)
        )


def _not_better(difference: Estimate, classes: Sequence[ClassChange], max_class_drop: float) -> list[str]:
    found = []
    if difference.high >= 0:
        kind = "higher" if difference.low > 0 else "not significantly lower"
        found.append(f"its objective is {kind}: {difference.value:+.3f} {_interval(difference)}")
    losers = [one for one in classes if -one.difference.value > max_class_drop]
    if losers:
        shown = ", ".join(f"{one.name} {one.champion:.3f} to {one.candidate:.3f}" for one in losers)
        found.append(f"label agreement drops by more than register.max_class_drop ({max_class_drop:g}): {shown}")
    return found


def _in_favour(difference: Estimate | None, classes: Sequence[ClassChange]) -> str:
    if difference is None:
        return "there was no champion, and nothing disqualifies it"
    text = f"its objective is significantly lower: {difference.value:+.3f} {_interval(difference)}"
    return f"{text}, and no class loses too much" if classes else text


def _interval(one: Estimate) -> str:
    return f"[{one.low:+.3f}, {one.high:+.3f}]"
