"""The whole evaluation on the test split: generated images beside a ceiling and a floor, by every metric, with intervals."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ..config.params import Evaluate
from ..core import interrupts
from ..core.files import replacing
from ..data.prepared import Split
from ..networks.interface import Generator
from ..networks.weights import content_hash
from ..sampling.draw import generate, interpolate
from .bootstrap import Estimate
from .catalogue import METRICS
from .evaluator import Evaluator
from .metric import Context, Fit, Metric, Rows
from .real_images import RealImages
from .scorecard import RESAMPLES, Scorecard, by_class, overall, too_good, write_resamples
from .scored import Scored

COLUMNS = 12
"""images of each class"""
PAIRS = 24
SHOWN = (
    "gan_test_accuracy",
    "gan_train_accuracy",
    "frechet_classifier_distance",
    "frechet_joint_distance",
    "precision",
    "recall",
    "coverage",
    "copied_share",
)
"""the numbers of a leaderboard"""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation."""

    card: Scorecard
    rows: Rows
    """the numbers of the generated images, each with its resamples"""
    generated: Scored
    """the images that were scored"""


def held_out_evaluator(settings: Evaluate, real_images: RealImages) -> Evaluator:
    """The evaluator on the test split, with as many images as ``settings`` and the splits allow.

    Generated, real and trivial images have the same count, since a Frechet distance shrinks with more samples.
    """
    data = real_images.data
    return Evaluator(
        real_images,
        "test",
        count=min(settings.samples, len(data.test), len(data.validation)),
        first_seed=settings.seed * 2**32,
        resample_count=settings.resamples,
        resample_seed=2 * settings.seed,
    )


def evaluate(settings: Evaluate, generator: Generator, real_images: RealImages, fit: Fit) -> Evaluation:
    """Score a generator on the test split; prints a line for each source of images."""
    data, conditional = real_images.data, generator.conditional
    test = held_out_evaluator(settings, real_images)
    drawn, warnings = test.draw_checked(generator)
    sources = {
        "generated": test.score(drawn),
        "real": test.complete(real_images.scored("validation").head(len(test.labels))),
        "floor": test.score(trivial_images(data.train, test.labels, settings.seed)),
    }
    context = Context(settings, conditional, fit=fit, device=test.device)
    metrics = [metric for metric in METRICS if metric.when(context)]
    for metric in METRICS:
        if metric.left_out and metric not in metrics:
            print(metric.left_out)
    rows = {}
    for source, scored in sources.items():
        began = time.perf_counter()
        own = replace(context, generator=generator if source == "generated" else None)
        rows[source] = test.measure(_interruptible(metrics), scored, own)
        print(f"{source}: scored in {time.perf_counter() - began:.1f} s", flush=True)
    estimates = {source: overall(some) for source, some in rows.items()}
    tests = {name: p_value for metric in metrics for name, p_value in metric.p_values.items()}
    card = Scorecard(
        **estimates,
        by_class={source: by_class(some) for source, some in rows.items()},
        p_values={name: p_value.compute(sources["generated"], test.real) for name, p_value in tests.items()},
        samples=len(test.labels),
        nearest_k=settings.nearest_k,
        resamples=settings.resamples,
        seeds={"latents": settings.seed, "resamples": settings.seed, "floor": settings.seed},
        conditional=conditional,
        class_names=list(data.class_names),
        classifier_accuracy=float((test.real.seen == test.real.labels).double().mean()),
        classifier_hash=content_hash(real_images.classifier),
        data_hash=data.content_hash,
        generator_hash=content_hash(generator),
        warnings=[*warnings, *too_good(estimates["generated"], estimates["real"])],
    )
    return Evaluation(card, rows["generated"], sources["generated"])


def _interruptible(metrics: Iterable[Metric]) -> Iterator[Metric]:
    for metric in metrics:
        interrupts.check()
        yield metric


class Leaderboard:
    """Scores several generators, and the real images of the validation split, by the numbers ``SHOWN`` of the scorecard."""

    def __init__(self, settings: Evaluate, real_images: RealImages, fit: Fit) -> None:
        """``fit(train, held_out)`` trains a classifier for GAN-train."""
        self.test, self.fit, self.settings = held_out_evaluator(settings, real_images), fit, settings
        self.metrics = [metric for metric in METRICS if not metric.numbers.keys().isdisjoint(SHOWN)]

    def generator(self, generator: Generator) -> dict[str, Estimate]:
        """The numbers of a generator; those about labels only for a conditional one."""
        images, _ = self.test.draw_checked(generator.to(self.test.device))
        return self._numbers(self.test.score(images), conditional=generator.conditional)

    def ceiling(self) -> dict[str, Estimate]:
        """The same numbers of held-out real images."""
        held_out = self.test.real_images.scored("validation").head(len(self.test.labels))
        return self._numbers(self.test.complete(held_out), conditional=True)

    def _numbers(self, scored: Scored, *, conditional: bool) -> dict[str, Estimate]:
        context = Context(self.settings, conditional, fit=self.fit, device=self.test.device)
        metrics = [metric for metric in self.metrics if metric.when(context)]
        found = overall(self.test.measure(metrics, scored, context))
        return {name: estimate for name, estimate in found.items() if name in SHOWN}


def trivial_images(train: Split, labels: Tensor, seed: int) -> Tensor:
    """uint8 (N, C, H, W) for labels int64 (N,): the mean training image of the class plus noise, the scorecard's floor.

    The noise is normal and independent in each pixel, with the standard deviation of the pixel in the class.
    """
    source = torch.Generator().manual_seed(seed)
    images = torch.zeros(len(labels), *train.images.shape[1:])
    for label in labels.unique().tolist():
        mine, places = train.images[train.labels == label].float(), (labels == label).nonzero()[:, 0]
        noise = torch.randn(len(places), *mine.shape[1:], generator=source)
        images[places] = mine.mean(dim=0) + mine.std(dim=0, correction=0) * noise
    return images.round().clamp(0, 255).to(torch.uint8)


def exhibits(evaluation: Evaluation, generator: Generator, training_images: Tensor, seed: int) -> dict[str, Tensor]:
    """Images uint8 (N, C, H, W) by name for the pictures, and the distances float32 (24,) of the nearest ones.

    ``samples`` and ``interpolation`` have 12 images of each class, class by class, from latents of ``seed``. ``best`` and
    ``worst`` have 6 of each class, in which the judge is most and least confident; a class with fewer is padded with
    white. ``nearest`` are the generated images nearest to a training image (the closest first), ``nearest_training`` those
    training images, and ``nearest_distance`` the distances in the feature space. Images of an unconditional generator are
    sorted by the class that the judge predicts.
    """
    generated = evaluation.generated
    assert generated.images is not None
    assert generated.train_distances is not None
    assert generated.train_nearest is not None
    images, distances = generated.images, generated.train_distances.cpu()
    labels = generated.labels if evaluation.card.conditional else generated.seen
    confidence = generated.logits.softmax(dim=1).gather(1, labels[:, None])[:, 0].cpu()
    classes, half = generator.class_count, COLUMNS // 2
    order = confidence.argsort(descending=True, stable=True)
    blank = torch.full_like(images[:1], 255).expand(half, -1, -1, -1)
    ranked = [images[order[labels.cpu()[order] == label]] for label in range(classes)]
    closest = distances.argsort(stable=True)[:PAIRS]
    each, first = torch.arange(classes), seed * 2**32
    every = each.repeat_interleave(COLUMNS)
    return {
        "samples": generate(generator, every, first + torch.arange(len(every))),
        "interpolation": interpolate(generator, each, first + 2 * each, first + 2 * each + 1, COLUMNS),
        "best": torch.cat([torch.cat([some[:half], blank])[:half] for some in ranked]),
        "worst": torch.cat([torch.cat([blank, some[-half:]])[-half:] for some in ranked]),
        "nearest": images[closest],
        "nearest_training": training_images[generated.train_nearest.cpu()[closest]],
        "nearest_distance": distances[closest],
    }


def save_exhibits(found: Mapping[str, Tensor], path: Path) -> None:
    """Write them as safetensors."""
    with replacing(path) as part:
        part.write_bytes(save({name: tensor.contiguous() for name, tensor in found.items()}))


def write_tables(evaluation: Evaluation, folder: Path) -> None:
    """Write the scorecard as JSON, and ``bootstrap.csv``, ``per_class.csv`` and ``confusion.csv`` beside it."""
    import pandas as pd

    card, generated = evaluation.card, evaluation.generated
    card.write(folder)
    write_resamples(evaluation.rows, folder / RESAMPLES)
    names = pd.Series(card.class_names)
    asked, seen = (names[labels.cpu().numpy()].values for labels in (generated.labels, generated.seen))
    tables = {"per_class.csv": card.class_table(), "confusion.csv": pd.DataFrame({"asked": asked, "seen": seen})}
    for name, table in tables.items():
        with replacing(folder / name) as part:
            table.to_csv(part, index=False)
