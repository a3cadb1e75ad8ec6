"""The image sizes inside a convolutional network, and how many channels it has at each."""

from ..core.errors import UserError

SMALLEST = range(2, 8)
"""where a network may begin"""
WIDEST = 512


def sizes_of(family: str, image_size: int, fewest_doublings: int = 2) -> list[int]:
    """Image sizes from the smallest, 4 to 7 where that is possible, to ``image_size``, each twice the one before.

    Raises UserError, with the sizes that there are, for one that cannot be halved so far.
    """
    doublings = fewest_doublings
    while image_size / 2**doublings >= SMALLEST.stop:
        doublings += 1
    start = image_size // 2**doublings
    if start * 2**doublings != image_size or start not in SMALLEST:
        raise UserError(
            f"model.family {family} cannot make {image_size} x {image_size} images; the sizes that it can make are "
            f"{', '.join(map(str, possible(fewest_doublings)))}"
        )
    return [start * 2**step for step in range(doublings + 1)]


def possible(fewest_doublings: int, highest: int = 256) -> list[int]:
    """All sizes up to ``highest`` that :func:`sizes_of` takes."""
    starts = range(4, SMALLEST.stop)
    small = {start * 2**fewest_doublings for start in SMALLEST}
    large = {start * 2**doublings for start in starts for doublings in range(fewest_doublings, 8)}
    return sorted(size for size in small | large if size <= highest)


def channels_at(size: int, image_size: int, width: int) -> int:
    """``width`` at a quarter of the image size; half as many at twice the size, and so on, at most 512 (or ``width``)."""
    return max(1, min(width * image_size // (4 * size), max(width, WIDEST)))
