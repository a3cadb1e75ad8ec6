"""Reconstruction: how closely can the generator reproduce an image that it has never seen?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from ...core import interrupts
from ...core.lazy import lazy
from ..metric import OTHER, Context, Metric, Number, need

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ...networks.interface import Generator
    from ..scored import Scored
else:
    torch = lazy("torch")
    F = lazy("torch.nn.functional")

STEPS = 200
LEARNING_RATE = 0.1
STARTS = 32
"""Random latents for each image; the search starts from the best of them."""

Rebuild: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""uint8 images (N, C, H, W) and labels int64 (N,) to the nearest uint8 images that can be made"""


def reconstruction(generated: Scored, real: Scored, *, rebuild: Rebuild, count: int) -> dict[str, Tensor]:
    """Error of the first ``count`` real images against their reconstructions: MSE (from 0, lower is better) and R2.

    MSE is over pixels from 0 to 1. R2 is 1 - MSE / variance of the real images' pixels, at most 1, higher is better; 0 is the
    mean image. A generator is searched by :func:`latent_search` (Webster et al. 2019); of a set of images, ``generated``,
    the nearest one is taken (:func:`nearest_image`). Missing variety raises the error, also that of rare images, to which the
    Frechet distances are insensitive. It says nothing about other images of the generator.
    """
    if real.images is None:
        raise ValueError("the reconstruction needs the images themselves")
    need(min(count, len(real)), 2, "the reconstruction")
    targets = real.images[:count]
    pixels = targets.double() / 255
    rebuilt = rebuild(targets, real.labels[:count].cpu()).double() / 255
    errors = (pixels - rebuilt).square().flatten(1).mean(dim=1)
    spreads = (pixels - pixels.mean(dim=0)).square().flatten(1).mean(dim=1)
    # Resamples of these few: those of all real images may contain too few of them.
    weights = real.weights[:, :count].cpu()
    counts = weights.sum(dim=1)
    mse = weights @ errors / counts
    return {"reconstruction_mse": mse, "reconstruction_r2": 1 - mse / (weights @ spreads / counts)}


def latent_search(generator: Generator, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    """The uint8 images that the generator makes nearest to ``images``, with these labels: Adam on the latents.

    From the best of 32 random latents for each image, 200 steps on the mean squared error with cosine annealing of the
    learning rate. The weights of the generator are unchanged.
    """
    from ...core.pixels import to_float, to_uint8

    device = next(generator.parameters()).device
    generator.eval()
    targets, labels = to_float(images.to(device)), labels.to(device)
    with torch.no_grad():
        latents = _best_starts(generator, targets, labels, seed)
    latents.requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        interrupts.check()
        optimizer.zero_grad(set_to_none=True)
        made = generator(latents, labels)
        # The sum over images, so that the search of each is independent of the others.
        latents.grad = torch.autograd.grad(F.mse_loss(made, targets, reduction="sum"), latents)[0]
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return to_uint8(generator(latents, labels)).cpu()


def _best_starts(generator: Generator, targets: Tensor, labels: Tensor, seed: int) -> Tensor:
    from ...networks.latents import latents_from_seeds

    seeds = seed * 2**32 + torch.arange(len(targets) * STARTS, device=targets.device).reshape(STARTS, -1)
    best = torch.full((len(targets),), torch.inf, device=targets.device)
    latents = torch.zeros(len(targets), generator.latent_size, device=targets.device)
    for some in seeds:
        tried = latents_from_seeds(some, generator.latent_size)
        errors = (generator(tried, labels) - targets).square().flatten(1).mean(dim=1)
        latents = torch.where((errors < best)[:, None], tried, latents)
        best = torch.minimum(best, errors)
    return latents


def nearest_image(images: Tensor, labels: Tensor | None) -> Rebuild:
    """Reconstructs by the nearest of some uint8 images (M, C, H, W), those of the same label where there are labels."""
    return partial(_nearest, images, labels)


def _nearest(images: Tensor, image_labels: Tensor | None, targets: Tensor, labels: Tensor) -> Tensor:
    distances = torch.cdist(targets.flatten(1).float(), images.flatten(1).float())
    if image_labels is not None:
        distances.masked_fill_(labels[:, None] != image_labels, torch.inf)
    return images[distances.argmin(dim=1)]


def _compute(generated: Scored, real: Scored, context: Context) -> dict[str, Tensor]:
    if context.generator is not None:
        rebuild: Rebuild = partial(latent_search, context.generator)
    else:
        assert generated.images is not None
        rebuild = nearest_image(generated.images, generated.labels.cpu() if context.conditional else None)
    return reconstruction(generated, real, rebuild=rebuild, count=context.settings.reconstructions)


METRIC = Metric(
    {
        "reconstruction_mse": Number("Reconstruction MSE", "lower", OTHER, highest=inf, beyond_real="gain"),
        "reconstruction_r2": Number("Reconstruction R2", "higher", OTHER, lowest=-inf, beyond_real="gain"),
    },
    _compute,
    source="Webster et al. 2019",
    place=30,
    when=lambda context: context.settings.reconstructions > 0,
)
