"""Differentiable augmentation of all inputs of the discriminator, with a fixed or adaptive probability.

Real and fake images are augmented alike, and gradients flow through to the generator, so that the augmentations do not leak
into its images (Zhao et al. 2020, DiffAugment). The adaptive probability follows Karras et al. 2020 (ADA).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .distributed import Draws

LARGEST_SHIFT = 0.125
"""of a translation, relative to the image size"""
HOLE = 0.5
"""side of the cut-out square, relative to the image size"""


class Augmentation:
    """Applies each of the named augmentations to each image with a probability."""

    def __init__(
        self,
        names: Sequence[str],
        draws: Draws,
        *,
        probability: float = 1.0,
        target: float = 0.0,
        images_to_one: float = 50_000,
    ) -> None:
        """With a ``target``, the probability starts at 0, rises while the mean sign of the discriminator on real images,
        from -1 to 1, is above the target, and falls otherwise, by 1 in ``images_to_one`` images.
        """
        self.names, self.draws, self.target, self.images_to_one = tuple(names), draws, target, images_to_one
        device = draws.generator.device
        self.probability = torch.tensor(0.0 if target else probability, device=device)
        """a tensor on the device: no synchronisation, and captured steps can change it"""

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] to the same; padding is 0, mid grey."""
        for name in self.names:
            chosen = self.draws.uniform(len(images), 1, 1, 1) < self.probability
            places = self.draws.uniform(len(images), 2)
            images = torch.where(chosen, AUGMENTATIONS[name](images, places), images)
        return images

    @torch.no_grad()
    def adapt(self, right: Tensor, images: int) -> None:
        """Adapt the probability; ``right`` is the discriminator's accuracy on this process's real images, a scalar.

        ``images`` counts those of all processes.
        """
        if self.target:
            direction = torch.sign(2 * self.draws.distributed.mean(right.clone()) - 1 - self.target)
            self.probability.add_(direction * (images / self.images_to_one)).clamp_(0, 1)


def translate(images: Tensor, places: Tensor) -> Tensor:
    """Shift each image by up to an eighth in each direction; ``places`` (N, 2) in 0..1 determine the shifts."""
    size = images.shape[2]
    reach = max(1, int(size * LARGEST_SHIFT + 0.5))
    starts = (places * (2 * reach + 1)).long().clamp(max=2 * reach)
    inside = torch.arange(size, device=images.device)
    padded = F.pad(images, (reach, reach, reach, reach))
    rows = (starts[:, :1] + inside)[:, None, :, None].expand(-1, images.shape[1], -1, padded.shape[3])
    columns = (starts[:, 1:] + inside)[:, None, None, :].expand(-1, images.shape[1], size, -1)
    return padded.gather(2, rows).gather(3, columns)


def cut_out(images: Tensor, places: Tensor) -> Tensor:
    """Blank a square of half the image size around ``places`` (N, 2) in 0..1; part of it may be outside the image."""
    size = images.shape[2]
    half = HOLE * size / 2
    middles = places * size
    grid = torch.arange(size, device=images.device) + 0.5
    rows, columns = ((grid - middles[:, axis, None]).abs() < half for axis in (0, 1))
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


def flip(images: Tensor, places: Tensor) -> Tensor:
    """Flip half of the images horizontally, selected by ``places`` (N, 2) in 0..1."""
    return torch.where(places[:, :1, None, None] < 0.5, images.flip(3), images)


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "translation": translate,
    "cutout": cut_out,
    "flip": flip,
}
