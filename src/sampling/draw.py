"""Images from a generator, labels and seeds: an image is bit-identical regardless of batch."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.device import batch_size, full_precision
from ..core.pixels import to_uint8
from ..networks.interface import Generator
from ..networks.latents import latents_from_seeds


def generate(generator: Generator, labels: Tensor, seeds: Tensor, *, truncation: float = 1.0) -> Tensor:
    """The images of :func:`draw`, uint8 (N, C, H, W), on the CPU."""
    return draw(generator, labels, seeds, truncation=truncation).cpu()


def draw(
    generator: Generator,
    labels: Tensor,
    seeds: Tensor,
    watch: Callable[[Tensor], None] | None = None,
    *,
    truncation: float = 1.0,
) -> Tensor:
    """Images uint8 (N, C, H, W) on the generator's device from labels int64 (N,) and seeds int64 (N,).

    All batches have one size, the last one padded: an image is bit-identical regardless of batch. The generator's mode is
    kept. A GPU is not waited for, unless labels or seeds have to be copied to it. ``watch`` is called with the float images
    of each batch. ``truncation``, above 0 and up to 1, is that of :func:`seeded_latents`.
    """
    device = next(generator.parameters()).device
    size = batch_size(device)
    latents = (seeded_latents(generator, some, truncation) for some in seeds.to(device).split(size))
    return _images(generator, latents, labels.to(device).split(size), watch)


def interpolate(
    generator: Generator,
    labels: Tensor,
    starts: Tensor,
    ends: Tensor,
    steps: int,
    *,
    end_labels: Tensor | None = None,
    truncation: float = 1.0,
) -> Tensor:
    """Images uint8 (N * steps, C, H, W) on the CPU: for each label, ``steps`` from the image of one seed to that of another.

    ``labels``, ``starts`` and ``ends`` (the seeds) are int64 (N,), and so are ``end_labels``, the classes at the ends if
    they differ. The latents follow :func:`great_circle`, the weights of the two classes a straight line; the first and
    last image of a label are those of :func:`generate`. The generator's mode is kept. Raises ValueError for fewer than 2
    steps or different counts.
    """
    last_labels = labels if end_labels is None else end_labels
    if not labels.shape == last_labels.shape == starts.shape == ends.shape:
        counts = ", ".join(str(tuple(some.shape)) for some in (labels, last_labels, starts, ends))
        raise ValueError(f"labels, end labels, starts and ends must be of one shape, not {counts}")
    first, last = (seeded_latents(generator, seeds, truncation) for seeds in (starts, ends))
    latents = great_circle(first, last, steps).flatten(0, 1)
    size = batch_size(latents.device)
    before, after = (F.one_hot(some, generator.class_count).float()[:, None] for some in (labels, last_labels))
    weights = torch.lerp(before, after, torch.linspace(0, 1, steps)[:, None]).flatten(0, 1)
    return _images(generator, latents.split(size), weights.to(latents.device).split(size)).cpu()


def seeded_latents(generator: Generator, seeds: Tensor, truncation: float = 1.0) -> Tensor:
    """The latents of seeds int64 (N,), float32 (N, latent_size) on the generator's device, times ``truncation``.

    The psi of Karras et al. (2019), "A style-based generator architecture", around the mean latent 0: below 1 images are
    more typical and less diverse; 1 leaves the bits unchanged.
    """
    device = next(generator.parameters()).device
    return latents_from_seeds(seeds.to(device), generator.latent_size) * truncation


def great_circle(starts: Tensor, ends: Tensor, steps: int) -> Tensor:
    """Latents (N, steps, D) from ``starts`` to ``ends``, both (N, D): equal angles from one direction to the other.

    The spherical interpolation of White (2016), "Sampling generative networks". On a straight line, the latents in the
    middle would be shorter than nearly all latents of training. The ends are exact. Raises ValueError for
    fewer than 2 steps.
    """
    if steps < 2:
        raise ValueError(f"steps is {steps}; it must be 2 or more")
    first, last = starts.double()[:, None], ends.double()[:, None]
    cosine = torch.cosine_similarity(first, last, dim=2)[..., None].clamp(-1, 1)
    angle = torch.acos(cosine)
    share = torch.linspace(0, 1, steps, dtype=torch.float64, device=starts.device)[:, None]
    # Between parallel vectors no circle is defined, and the formula would divide by zero.
    straight = torch.sin(angle) < 1e-6
    sine = torch.where(straight, 1, torch.sin(angle))
    before = torch.where(straight, 1 - share, torch.sin((1 - share) * angle) / sine)
    after = torch.where(straight, share, torch.sin(share * angle) / sine)
    return (before * first + after * last).to(starts.dtype)


@full_precision()
@torch.inference_mode()
def _images(
    generator: Generator,
    latents: Iterable[Tensor],
    labels: Iterable[Tensor],
    watch: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """The images of batches of latents and of labels, all on the generator's device, uint8."""
    training = generator.training
    generator.eval()
    images = []
    for some_latents, some_labels in zip(latents, labels, strict=True):
        filled = (_filled_up(some) for some in (some_latents, some_labels))
        made = generator(*filled)[: len(some_labels)]
        if watch is not None:
            watch(made)
        images.append(to_uint8(made))
    generator.train(training)
    return torch.cat(images)


def _filled_up(rows: Tensor) -> Tensor:
    """``rows`` padded with zeros to a whole batch."""
    return torch.cat([rows, rows.new_zeros(batch_size(rows.device) - len(rows), *rows.shape[1:])])


class SeededGenerator(nn.Module):
    """A generator that makes its own latents from seeds, the form that is exported and served.

    Inputs: label and seed, int64 (N, 2), and truncation, float32 (N,), which scales the latents. Output
    float32 (N, C, H, W) in [-1, 1].
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, label_and_seed: Tensor, truncation: Tensor) -> Tensor:
        """See the class."""
        labels, seeds = label_and_seed.unbind(1)
        latents = latents_from_seeds(seeds, self.generator.latent_size) * truncation[:, None]
        images: Tensor = self.generator(latents, labels)
        return images
