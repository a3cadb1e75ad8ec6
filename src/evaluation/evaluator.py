"""Draws images from generators and scores them against one split of real images, always from the same latents and labels.

Training's judge, the promotion gate, the evaluation and the leaderboards all use it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from ..core.device import full_precision
from ..core.errors import UserError
from ..networks.interface import Generator
from ..sampling.draw import generate
from .bootstrap import resamples
from .metric import Context, Metric, Rows, rows
from .metrics.quick.memorisation import nearest_training
from .real_images import RealImages, SplitName
from .scored import Scored, score_images

TOLERANCE = 1e-3
RANGE_QUANTILES = (0.001, 0.999)
RANGE_DIFFERENCE = 26
"""of 255: pixel ranges whose ends are further apart are worth a warning"""


class Evaluator:
    """Scores sets of images beside the first ``count`` real images of a split, on one device."""

    def __init__(
        self,
        real_images: RealImages,
        split: SplitName,
        *,
        count: int | None = None,
        first_seed: int = 0,
        resample_count: int = 0,
        resample_seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        """The latents have the seeds from ``first_seed`` on, and the labels are those of the real images.

        Generated images are resampled ``resample_count`` times with ``resample_seed``, real ones with the next seed.
        Features stay on the CPU unless a ``device`` is given.
        """
        self.real_images, self.device = real_images, device or torch.device("cpu")
        real = real_images.scored(split)
        real = real.head(len(real) if count is None else count)
        self.labels, self.seeds = real.labels, first_seed + torch.arange(len(real))
        self._resample_count, self._resample_seed = resample_count, resample_seed
        self.real = real.to(self.device).resampled(resamples(self.labels, resample_count, resample_seed + 1))
        self._training_features = real_images.scored("train").features.to(self.device)

    def draw(self, generator: Generator) -> Tensor:
        """Images uint8 (N, C, H, W), one for each real image, with its label."""
        return generate(generator, self.labels, self.seeds)

    def draw_checked(self, generator: Generator) -> tuple[Tensor, list[str]]:
        """The same, and warnings. Raises UserError for images that cannot be scored, see :func:`checked_images`."""
        assert self.real.images is not None
        return checked_images(generator, self.labels, self.seeds, self.real.images)

    def score(self, images: Tensor) -> Scored:
        """Features, nearest training images and resamples of images uint8 (N, C, H, W) made for the labels in turn."""
        return self.complete(score_images(self.real_images.classifier, images, self.labels))

    @full_precision()
    def complete(self, scored: Scored) -> Scored:
        """Scored images on the evaluator's device, with nearest training images and resamples within their own classes."""
        moved = scored.to(self.device)
        draws = resamples(scored.labels, self._resample_count, self._resample_seed)
        return moved.resampled(draws).beside(*nearest_training(moved.features, self._training_features))

    @full_precision()
    def measure(self, metrics: Iterable[Metric], scored: Scored, context: Context) -> Rows:
        """The rows of each number of the metrics, in the scorecard's order."""
        return rows(metrics, scored, self.real, context)

    @full_precision()
    def measure_without_resamples(self, metrics: Iterable[Metric], scored: Scored, context: Context) -> Rows:
        """The values alone, for metrics whose resamples are expensive and not needed."""
        plain = replace(scored, resamples=None, _kept={})
        real = self.real.keep("without resamples", lambda: replace(self.real, resamples=None, _kept={}))
        return rows(metrics, plain, real, context)


def checked_images(generator: Generator, labels: Tensor, seeds: Tensor, real: Tensor) -> tuple[Tensor, list[str]]:
    """:func:`generate`, and warnings. ``real`` is uint8 (N, C, H, W), real images of the same kind.

    Raises UserError for images of another size or number of channels, for values that are not finite, and for pixels in
    0..1 or 0..255 instead of -1..1.
    """
    ends: list[tuple[float, float]] = []
    images = generate(generator, labels, seeds, watch=_watch(tuple(real.shape[1:]), ends))
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    found = f"the generator gives pixels from {low:.3g} to {high:.3g}"
    if low < -1 - TOLERANCE or high > 1 + TOLERANCE:
        looks = "; this looks like 0..255" if low >= -TOLERANCE else ""
        raise UserError(f"{found}{looks}; it must give -1 (0 in a file) to 1 (255)")
    darkest = (int(real.min()) / 255) * 2 - 1
    if low >= -TOLERANCE and darkest < -0.5:
        raise UserError(f"{found}, and real images go down to {darkest:.3g}; this looks like 0..1 instead of -1..1")
    return images, [line for line in (_range_warning(images, real),) if line]


def _watch(shape: tuple[int, ...], ends: list[tuple[float, float]]) -> Callable[[Tensor], None]:
    """A check of each batch before its pixels are rounded; it notes the smallest and the largest value."""

    def watch(images: Tensor) -> None:
        if images.shape[1:] != shape:
            raise UserError(
                f"the generator gives images of {tuple(images.shape[1:])} (channels, height, width), "
                f"the data has {shape}; train it on this data, or prepare that which it was trained on"
            )
        if not images.isfinite().all():
            broken = int((~images.isfinite()).flatten(1).any(dim=1).sum())
            raise UserError(f"the generator gives NaN or infinite pixels, in {broken} of {len(images)} images")
        ends.append((float(images.min()), float(images.max())))

    return watch


def _range_warning(images: Tensor, real: Tensor) -> str | None:
    ours, theirs = pixel_range(images), pixel_range(real)
    if max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) <= RANGE_DIFFERENCE:
        return None
    return (
        f"the pixels of generated images go from {ours[0]} to {ours[1]}, those of real ones from {theirs[0]} to {theirs[1]} "
        "(of 0..255, ignoring 0.1 % at each end): is the output scaled as the training images were?"
    )


def pixel_range(images: Tensor) -> tuple[int, int]:
    """The values of uint8 images between which nearly all pixels lie."""
    shares = torch.bincount(images.flatten(), minlength=256).cumsum(0) / images.numel()
    low, high = (int((shares < quantile).sum()) for quantile in RANGE_QUANTILES)
    return low, high
