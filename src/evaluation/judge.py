"""The validation score that training, tuning and the registry minimise, and the numbers beside it."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config.params import Evaluate
from ..networks.interface import Generator
from ..sampling.draw import draw
from .evaluator import Evaluator
from .metric import Context, discover, values
from .real_images import RealImages
from .scored import Scored, class_spread, score_images

COPIES_ALLOWED = 0.05
"""of ``copied_share``, which is 0.01 for real images: a smaller share may be chance, or images that are merely typical"""
NUMBERS = ("frechet_classifier_distance", "frechet_joint_distance", "copied_share")
"""of the scorecard, that the objective is made from"""
DIVERSITY_SEED = 2_000_000_011
DIVERSITY_IMAGES = 20
"""of each class: 190 pairs"""


def objective(values: Mapping[str, float], real: Scored, *, conditional: bool) -> float:
    """The Frechet joint distance plus a memorisation penalty, from the scorecard's values on the validation split.

    It grows when images are poor, alike, do not match their label, or are copies of training images. For an unconditional
    generator it is the Frechet classifier distance with the same penalty. The penalty is the share of copies above 5 %
    times the spread of the real images, so that a generator that copies everything is no better than a single image.
    """
    rows = {name: torch.tensor([values[name]], dtype=torch.float64) for name in NUMBERS if name in values}
    return float(objective_rows(rows, real, conditional=conditional)[0])


def objective_rows(rows: Mapping[str, Tensor], real: Scored, *, conditional: bool) -> Tensor:
    """The same for the value and each of its resamples: float64 (1 + R,)."""
    distance = rows["frechet_joint_distance" if conditional else "frechet_classifier_distance"]
    penalty = (rows["copied_share"] - COPIES_ALLOWED).clamp(min=0) * real.keep("spread", lambda: _spread(real))
    return distance + penalty


def _spread(real: Scored) -> float:
    """The trace of the covariance of the features joined with the label.

    It is the Frechet joint distance of a single point, the mean of both. A single image with the labels of the real ones
    is nearer by the label's part of the trace.
    """
    features = real.features.double()
    labels = F.one_hot(real.labels, real.class_count).double().var(dim=0).sum()
    return float(features.var(dim=0).sum() + features.norm(dim=1).mean().square() * labels)


class ValidationJudge:
    """Scores a generator against validation images, always from the same latents and labels."""

    def __init__(self, real_images: RealImages, samples: int, nearest_k: int = 5) -> None:
        """At most ``samples`` images of the validation split are used."""
        self.real_images, self.settings = real_images, Evaluate(nearest_k=nearest_k)
        self.metrics = discover(".metrics.quick")
        self.evaluator = Evaluator(real_images, "validation", count=samples)
        self.real = self.evaluator.real
        self._real_spread = class_spread(self.real)
        device = self.evaluator.device
        self._few_labels = torch.arange(self.real.class_count, device=device).repeat_interleave(DIVERSITY_IMAGES)
        self._few_seeds = DIVERSITY_SEED + torch.arange(len(self._few_labels), device=device)

    def __call__(self, generator: Generator) -> dict[str, float]:
        """The quick numbers of the scorecard, and ``score``, the objective, which is minimised."""
        return self.judge_images(self.evaluator.draw(generator), conditional=generator.conditional)

    def judge_images(self, images: Tensor, *, conditional: bool = True) -> dict[str, float]:
        """The same for uint8 images (N, C, H, W), made for the labels of the validation images in turn."""
        context = Context(self.settings, conditional, by_class=False)
        found = values(self.evaluator.measure(self.metrics, self.evaluator.score(images), context))
        return {"score": objective(found, self.real, conditional=conditional), **found}

    def diversity(self, generator: Generator) -> Tensor:
        """The diversity of the images of each class (K,): 1 as real ones, 0 for one repeated image, NaN if unknown.

        An estimate from few images for monitoring a run, not a score. On the CPU, with one wait for a GPU.
        """
        images = draw(generator, self._few_labels, self._few_seeds)
        scored = score_images(self.real_images.classifier, images, self._few_labels)
        places = torch.arange(len(self._few_labels), device=scored.labels.device)
        scored.keep("members", lambda: places.split(DIVERSITY_IMAGES))  # known without waiting for a GPU
        return (class_spread(scored) / self._real_spread).cpu()
