"""The short form of the scorecard that guides training, tuning and the registry, on the validation split."""

import torch
from torch import Tensor

from ..networks.interface import Generator
from ..sampling.draw import generate
from .metrics.diversity import class_spread
from .metrics.memorisation import nearest_training
from .objective import objective
from .real_images import RealImages
from .scorecard import quick_metrics, scorecard, values
from .scored import score_images

DIVERSITY_SEED = 2_000_000_011
DIVERSITY_IMAGES = 20
"""of each class: 190 pairs"""


class ValidationJudge:
    """Scores a generator against validation images, always from the same latents and labels."""

    def __init__(self, real_images: RealImages, samples: int, nearest_k: int = 5) -> None:
        """At most ``samples`` images of the validation split are used."""
        self.real_images, self.metrics = real_images, quick_metrics(nearest_k)
        self.train = real_images.scored("train").features
        self.real = real_images.scored("validation").head(samples)
        self.seeds = torch.arange(len(self.real))
        self._real_spread = class_spread(self.real, self.real.class_count)

    def __call__(self, generator: Generator) -> dict[str, float]:
        """The scorecard's quick numbers, and ``score``, the objective, which is minimised."""
        return self.judge_images(generate(generator, self.real.labels, self.seeds), conditional=generator.conditional)

    def judge_images(self, images: Tensor, *, conditional: bool = True) -> dict[str, float]:
        """The same for uint8 images (N, C, H, W), made for the labels of the validation images in turn."""
        generated = score_images(self.real_images.classifier, images, self.real.labels)
        generated = generated.beside(nearest_training(generated.features, self.train)[0])
        found = values(scorecard(self.metrics, generated, self.real, conditional=conditional))
        return {"score": objective(found, self.real, conditional=conditional), **found}

    def diversity(self, generator: Generator) -> Tensor:
        """How different the images of each class are from one another (K,): 1 as real ones, 0 one image repeated, NaN unknown.

        A quick look with few images, for the training's health and no score.
        """
        classes = self.real.class_count
        labels = torch.arange(classes).repeat_interleave(DIVERSITY_IMAGES)
        images = generate(generator, labels, DIVERSITY_SEED + torch.arange(len(labels)))
        return class_spread(score_images(self.real_images.classifier, images, labels), classes) / self._real_spread
