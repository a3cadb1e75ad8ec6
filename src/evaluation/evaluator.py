"""Draws images from generators and scores them against one split of real images, always from the same latents and labels.

Training's judge, the promotion gate, the evaluation and the leaderboards all use it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..core.device import full_precision
from ..core.errors import UserError
from ..networks.interface import Generator
from ..sampling.draw import draw
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
    """Scores sets of images beside the first ``count`` real images of a split, on the classifier's device.

    On a GPU, images are drawn, seen and measured there, and it is waited for where a metric reads numbers on the CPU: once
    for the Frechet distances, whose eigenvalues are computed there, and once for the rows of all others.
    """

    def __init__(
        self,
        real_images: RealImages,
        split: SplitName,
        *,
        count: int | None = None,
        first_seed: int = 0,
        resample_count: int = 0,
        resample_seed: int = 0,
    ) -> None:
        """The latents have the seeds from ``first_seed`` on, and the labels are those of the real images.

        Generated images are resampled ``resample_count`` times with ``resample_seed``, real ones with the next seed.
        """
        self.real_images, self.device = real_images, real_images.device
        real = real_images.scored(split)
        real = real.head(len(real) if count is None else count)
        self.labels = real.labels
        """int64 (N,), on the CPU"""
        self._draws = partial(resamples, count=resample_count, seed=resample_seed)
        self._generated_draws = self._draws(self.labels).to(self.device)
        self.real = real.to(self.device).resampled(resamples(self.labels, resample_count, resample_seed + 1))
        self._seeds = (first_seed + torch.arange(len(real))).to(self.device)
        self._training_features = real_images.scored("train").features.to(self.device)

    def draw(self, generator: Generator) -> Tensor:
        """Images uint8 (N, C, H, W), one for each real image, with its label, on the generator's device."""
        return draw(generator, self.real.labels, self._seeds)

    def draw_checked(self, generator: Generator) -> tuple[Tensor, list[str]]:
        """The same on the CPU, and warnings. Raises UserError for images that cannot be scored, see :func:`checked_images`."""
        assert self.real.images is not None
        return checked_images(generator, self.real.labels, self._seeds, self.real.images)

    @full_precision()
    def score(self, images: Tensor) -> Scored:
        """Features, nearest training images and resamples of images uint8 (N, C, H, W) made for the labels in turn."""
        scored = score_images(self.real_images.classifier, images, self.real.labels)
        nearest = nearest_training(scored.features, self._training_features)
        completed = scored.beside(*nearest).resampled(self._generated_draws)
        completed.keep("members", lambda: self.real.members)  # of the same labels
        return completed

    def complete(self, scored: Scored) -> Scored:
        """Real images of any split on the evaluator's device, with resamples within their own classes."""
        return scored.to(self.device).resampled(self._draws(scored.labels.cpu()))

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
    """The images of :func:`draw` on the CPU, and warnings. ``real`` is uint8 (N, C, H, W), real images of the same kind.

    Raises UserError for images of another size or number of channels, for values that are not finite, and for pixels in
    0..1 or 0..255 instead of -1..1.
    """
    seen: list[Tensor] = []
    images = draw(generator, labels, seeds, watch=_watch(tuple(real.shape[1:]), seen)).cpu()
    lows, highs, broken = torch.stack(seen).cpu().unbind(1)
    if count := int(broken.sum()):
        raise UserError(f"the generator gives NaN or infinite pixels, in {count} of {len(images)} images")
    low, high = float(lows.min()), float(highs.max())
    found = f"the generator gives pixels from {low:.3g} to {high:.3g}"
    if low < -1 - TOLERANCE or high > 1 + TOLERANCE:
        looks = "; this looks like 0..255" if low >= -TOLERANCE else ""
        raise UserError(f"{found}{looks}; it must give -1 (0 in a file) to 1 (255)")
    darkest = (int(real.min()) / 255) * 2 - 1
    if low >= -TOLERANCE and darkest < -0.5:
        raise UserError(f"{found}, and real images go down to {darkest:.3g}; this looks like 0..1 instead of -1..1")
    return images, [line for line in (_range_warning(images, real),) if line]


def _watch(shape: tuple[int, ...], seen: list[Tensor]) -> Callable[[Tensor], None]:
    """A check of each batch before its pixels are rounded.

    It notes the smallest and the largest value and the number of images that are not finite, float32 (3,) on their device.
    """

    def watch(images: Tensor) -> None:
        if images.shape[1:] != shape:
            raise UserError(
                f"the generator gives images of {tuple(images.shape[1:])} (channels, height, width), "
                f"the data has {shape}; train it on this data, or prepare the data it was trained on"
            )
        broken = (~images.isfinite()).flatten(1).any(dim=1).sum()
        seen.append(torch.stack([images.min().float(), images.max().float(), broken.float()]))

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
