"""The whole evaluation: generated images, and beside them a ceiling and a floor, by every metric with intervals."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.params import Evaluate
from ..core import interrupts
from ..data.prepared import Split
from ..networks.interface import Classifier, Generator
from ..networks.weights import content_hash
from .bootstrap import resamples
from .document import document, too_good
from .metrics.class_balance import class_balance_p_value
from .metrics.gan_train import gan_train
from .metrics.inception import LEFT_OUT, Inception, Progress, inception_scores
from .metrics.memorisation import memorisation_p_value, nearest_training
from .metrics.reconstruction import Rebuild, latent_search, nearest_image, reconstruction
from .real_images import RealImages
from .scorecard import Metric, Rows, all_metrics, scorecard
from .scored import Scored, score_images
from .trivial import trivial_images
from .validity import checked_images


@dataclass(frozen=True)
class Evaluation:
    """What there is to know of a generator."""

    card: dict[str, Any]
    """the scorecard, as plain values for JSON"""
    rows: Rows
    """the generated images' numbers, each with its resamples"""
    generated: Scored
    """the images that were scored"""
    nearest: Tensor
    """int64 (N,): which training image is the nearest to each"""


class HeldOutImages:
    """The test split, as generators are scored on it: by one count, the same resamples, and the same latents."""

    def __init__(self, settings: Evaluate, real_images: RealImages, device: torch.device) -> None:
        """As many images as ``settings`` and the splits allow."""
        self.settings, self.real_images, self.device = settings, real_images, device
        data = real_images.data
        count = min(settings.samples, len(data.test), len(data.validation))
        self._images = data.test.images[:count]
        real, self.ceiling = (real_images.scored(split).head(count) for split in ("test", "validation"))
        self.labels = real.labels
        self.real = self._resampled(real, 2 * settings.seed + 1)
        self._training_features = real_images.scored("train").features.to(device)

    def draw(self, generator: Generator) -> tuple[Scored, list[str]]:
        """Images of a generator as the classifier sees them, and warnings. Raises UserError for images that cannot be."""
        seeds = self.settings.seed * 2**32 + torch.arange(len(self.labels))
        images, warnings = checked_images(generator, self.labels, seeds, self._images)
        return score_images(self.real_images.classifier, images, self.labels), warnings

    def beside_training(self, one: Scored) -> tuple[Scored, Tensor]:
        """The same on the device, resampled, with the distances to the training images; and the nearest, int64 (N,)."""
        distances, nearest = nearest_training(one.features.to(self.device), self._training_features)
        return self._resampled(one, 2 * self.settings.seed).beside(distances), nearest

    def _resampled(self, one: Scored, seed: int) -> Scored:
        return one.to(self.device).resampled(resamples(one.labels, self.settings.resamples, seed))


def evaluate(
    settings: Evaluate,
    generator: Generator,
    real_images: RealImages,
    fit: Callable[[Split, Split], Classifier],
    device: torch.device,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a generator on the test split; a line is printed for each source of images.

    ``fit(train, held_out)`` trains a classifier for GAN-train. Generated, real and trivial images have one count, as many as
    ``settings`` and the splits allow, since a Frechet distance shrinks with more samples. ``progress`` hears of the images
    that the Inception network has seen, where it is asked for.
    """
    inception = Inception(Path(settings.inception_weights), device) if settings.inception_weights else None
    if inception is None:
        print(LEFT_OUT)
    data, classifier, conditional = real_images.data, real_images.classifier, generator.conditional
    test = HeldOutImages(settings, real_images, device)
    real, labels, count = test.real, test.labels, len(test.labels)
    seeds = {"latents": settings.seed, "resamples": settings.seed, "floor": settings.seed}
    generated, warnings = test.draw(generator)
    sources = {
        "generated": generated,
        "real": test.ceiling,
        "floor": score_images(classifier, trivial_images(data.train, labels, seeds["floor"]), labels),
    }
    rows, scored, nearest = {}, {}, {}

    def by_inception(one: Scored) -> Scored:
        assert inception is not None
        assert one.images is not None
        assert one.resamples is not None
        return inception.scored(one.images, one.labels, progress).resampled(one.resamples.cpu())

    def inception_metric(generated: Scored, real: Scored) -> Rows:
        return inception_scores(by_inception(generated), real.keep("inception", partial(by_inception, real)))

    for source, one in sources.items():
        scored[source], nearest[source] = test.beside_training(one)
        rebuild = partial(latent_search, generator) if source == "generated" else _nearest(one, conditional=conditional)
        began = time.perf_counter()
        chosen = [
            *chosen_metrics(settings, rebuild, fit if conditional else None),
            *([inception_metric] if inception else []),
        ]
        rows[source] = scorecard(_interruptible(chosen), scored[source], real, conditional=conditional)
        print(f"{source}: scored in {time.perf_counter() - began:.1f} s", flush=True)
    about = {
        "p_values": {
            "memorisation": memorisation_p_value(scored["generated"], real),
            "class_imbalance": class_balance_p_value(scored["generated"], real),
        },
        "samples": count,
        "nearest_k": settings.nearest_k,
        "resamples": settings.resamples,
        "seeds": seeds,
        "conditional": conditional,
        "class_names": list(data.class_names),
        "classifier_accuracy": float((real.seen == real.labels).double().mean()),
        "classifier_hash": content_hash(classifier),
        "data_hash": data.content_hash,
        "generator_hash": content_hash(generator),
        "warnings": [*warnings, *too_good(rows["generated"], rows["real"])],
    }
    return Evaluation(document(rows, about), rows["generated"], scored["generated"], nearest["generated"])


def _nearest(scored: Scored, *, conditional: bool) -> Rebuild:
    assert scored.images is not None
    return nearest_image(scored.images, scored.labels if conditional else None)


def chosen_metrics(
    settings: Evaluate, rebuild: Rebuild, fit: Callable[[Split, Split], Classifier] | None
) -> list[Metric]:
    """Every metric that the settings ask for, but those of the Inception network; GAN-train only with a ``fit``."""
    chosen = [*all_metrics(settings.nearest_k)]
    if settings.reconstructions:
        chosen.append(partial(reconstruction, rebuild=rebuild, count=settings.reconstructions))
    if settings.gan_train and fit is not None:
        chosen.append(partial(gan_train, fit=fit))
    return chosen


def _interruptible(metrics: Iterable[Metric]) -> Iterator[Metric]:
    for metric in metrics:
        interrupts.check()
        yield metric


LINE_SECONDS = 10.0


class InceptionLines:
    """A line now and then, while the Inception network looks at images."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """``done`` images of ``total``."""
        if time.perf_counter() - self.last >= LINE_SECONDS:
            self.last = time.perf_counter()
            print(f"inception: {done:,} of {total:,} images", flush=True)
