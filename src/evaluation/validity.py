"""Are these images that can be scored at all?"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.errors import UserError
from ..networks.interface import Generator
from ..sampling.draw import generate

TOLERANCE = 1e-3
RANGE_QUANTILES = (0.001, 0.999)
RANGE_DIFFERENCE = 26
"""of 255: ends of the pixels' range that are further apart are worth a warning"""


def need(count: int, at_least: int, what: str) -> None:
    """Raise a UserError where there are too few images for a metric."""
    if count < at_least:
        raise UserError(f"{what}: needs at least {at_least} images, there are {count}; raise evaluate.samples")


def checked_images(generator: Generator, labels: Tensor, seeds: Tensor, real: Tensor) -> tuple[Tensor, list[str]]:
    """``generate``, and warnings. ``real`` is uint8 (N, C, H, W), images of the kind that it should make.

    Raises UserError for images of another size or number of channels, for numbers that are not finite, and for pixels in
    0..1 or 0..255 where a generator must give -1..1.
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
        raise UserError(f"{found}, and real images go down to {darkest:.3g}; this looks like 0..1 in place of -1..1")
    return images, [line for line in (_range_warning(images, real),) if line]


def _watch(shape: tuple[int, ...], ends: list[tuple[float, float]]) -> Callable[[Tensor], None]:
    """Looks at each batch before its pixels become whole numbers, and notes the smallest and the largest one."""

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
        "(of 0..255, 0.1 % left out at each end): is the output scaled as the training images were?"
    )


def pixel_range(images: Tensor) -> tuple[int, int]:
    """The values of uint8 images between which nearly all pixels lie."""
    shares = torch.bincount(images.flatten(), minlength=256).cumsum(0) / images.numel()
    low, high = (int((shares < quantile).sum()) for quantile in RANGE_QUANTILES)
    return low, high
