"""The trivial generator: what a score is worth is seen beside that of images which took no learning."""

import torch
from torch import Tensor

from ..data.prepared import Split


def trivial_images(train: Split, labels: Tensor, seed: int) -> Tensor:
    """uint8 (N, C, H, W) for labels int64 (N,): the mean training image of the class plus noise.

    The noise is normal and independent in each pixel, with the standard deviation that the pixel has in the class.
    """
    source = torch.Generator().manual_seed(seed)
    images = torch.zeros(len(labels), *train.images.shape[1:])
    for label in labels.unique().tolist():
        mine, places = train.images[train.labels == label].float(), (labels == label).nonzero()[:, 0]
        noise = torch.randn(len(places), *mine.shape[1:], generator=source)
        images[places] = mine.mean(dim=0) + mine.std(dim=0, correction=0) * noise
    return images.round().clamp(0, 255).to(torch.uint8)
