"""Differentiable augmentation of all images that the discriminator sees, with a fixed chance or an adaptive one.

Real and fake images are changed alike, and the gradient goes through to the generator, so that it does not learn the changes
(Zhao et al. 2020, DiffAugment). The adaptive chance follows Karras et al. 2020 (ADA).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .distributed import Draws

LARGEST_SHIFT = 0.125
"""of a translation, as a share of the image size"""
HOLE = 0.5
"""side of the cut-out square, as a share of the image size"""


class Augmentation:
    """Changes each image by each of the named augmentations with a chance."""

    def __init__(
        self,
        names: Sequence[str],
        draws: Draws,
        *,
        probability: float = 1.0,
        target: float = 0.0,
        images_to_one: float = 50_000,
    ) -> None:
        """With a ``target`` the chance begins at 0 and rises while the discriminator is right on real images more often than
        the target says (as a sign, -1..1), and falls otherwise, by 1 in ``images_to_one`` images.
        """
        self.names, self.draws, self.target, self.images_to_one = tuple(names), draws, target, images_to_one
        device = draws.generator.device
        self.probability = torch.tensor(0.0 if target else probability, device=device)
        """a tensor on the device, so that nothing waits for it and a captured step can change it"""

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] to the same; what comes in from outside the image is 0, mid grey."""
        for name in self.names:
            chosen = self.draws.uniform(len(images), 1, 1, 1) < self.probability
            places = self.draws.uniform(len(images), 2)
            images = torch.where(chosen, AUGMENTATIONS[name](images, places), images)
        return images

    @torch.no_grad()
    def adapt(self, right: Tensor, images: int) -> None:
        """Move the chance: ``right`` is the share of real images that the discriminator takes for real, a scalar."""
        if self.target:
            direction = torch.sign(2 * right - 1 - self.target)
            self.probability.add_(direction * (images / self.images_to_one)).clamp_(0, 1)


def translate(images: Tensor, places: Tensor) -> Tensor:
    """Shift each image by up to an eighth in each direction; ``places`` (N, 2) in 0..1 are the shifts."""
    size = images.shape[2]
    reach = max(1, int(size * LARGEST_SHIFT + 0.5))
    starts = (places * (2 * reach + 1)).long().clamp(max=2 * reach)
    inside = torch.arange(size, device=images.device)
    padded = F.pad(images, (reach, reach, reach, reach))
    rows = (starts[:, :1] + inside)[:, None, :, None].expand(-1, images.shape[1], -1, padded.shape[3])
    columns = (starts[:, 1:] + inside)[:, None, None, :].expand(-1, images.shape[1], size, -1)
    return padded.gather(2, rows).gather(3, columns)


def cut_out(images: Tensor, places: Tensor) -> Tensor:
    """Blank a square of half the image's size; its middle is at ``places`` (N, 2) in 0..1, and part of it may be outside."""
    size = images.shape[2]
    half = HOLE * size / 2
    middles = places * size
    grid = torch.arange(size, device=images.device) + 0.5
    rows, columns = ((grid - middles[:, axis, None]).abs() < half for axis in (0, 1))
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


def flip(images: Tensor, places: Tensor) -> Tensor:
    """Mirror half of the images; ``places`` (N, 2) in 0..1 say which."""
    return torch.where(places[:, :1, None, None] < 0.5, images.flip(3), images)


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "translation": translate,
    "cutout": cut_out,
    "flip": flip,
}
