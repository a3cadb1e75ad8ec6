"""What an evaluation leaves on disk: the scorecard, its tables, and the images that its pictures show."""

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ..core.files import replacing, write_json
from ..networks.interface import Generator
from ..sampling.draw import generate, interpolate
from . import document
from .evaluator import Evaluation

COLUMNS = 12
"""images of each class"""
PAIRS = 24


def exhibits(evaluation: Evaluation, generator: Generator, training_images: Tensor, seed: int) -> dict[str, Tensor]:
    """Images uint8 (N, C, H, W) by name, and the distances float32 (24,) of the copies.

    ``samples`` and ``interpolation`` have 12 images of each class, class by class, from latents of ``seed``. ``best`` and
    ``worst`` have 6 of each class, those that the classifier is most and least sure of; a class with fewer is filled up with
    white. ``nearest`` are the generated images nearest to a training image (the closest first), ``nearest_training`` those
    training images, and ``nearest_distance`` the distances in the classifier's features. Images of a generator that
    takes no label are sorted by the class that the classifier sees.
    """
    generated = evaluation.generated
    assert generated.images is not None
    assert generated.train_distances is not None
    images, distances = generated.images, generated.train_distances.cpu()
    labels = generated.labels if evaluation.card["conditional"] else generated.seen
    confidence = generated.logits.softmax(dim=1).gather(1, labels[:, None])[:, 0].cpu()
    classes, half = generator.class_count, COLUMNS // 2
    order = confidence.argsort(descending=True, stable=True)
    blank = torch.full_like(images[:1], 255).expand(half, -1, -1, -1)
    by_class = [images[order[labels.cpu()[order] == label]] for label in range(classes)]
    closest = distances.argsort(stable=True)[:PAIRS]
    each, first = torch.arange(classes), seed * 2**32
    every = each.repeat_interleave(COLUMNS)
    return {
        "samples": generate(generator, every, first + torch.arange(len(every))),
        "interpolation": interpolate(generator, each, first + 2 * each, first + 2 * each + 1, COLUMNS),
        "best": torch.cat([torch.cat([some[:half], blank])[:half] for some in by_class]),
        "worst": torch.cat([torch.cat([blank, some[-half:]])[-half:] for some in by_class]),
        "nearest": images[closest],
        "nearest_training": training_images[evaluation.nearest.cpu()[closest]],
        "nearest_distance": distances[closest],
    }


def save_exhibits(found: dict[str, Tensor], path: Path) -> None:
    """Write them as safetensors."""
    with replacing(path) as part:
        part.write_bytes(save({name: tensor.contiguous() for name, tensor in found.items()}))


def write_tables(evaluation: Evaluation, folder: Path) -> None:
    """The scorecard as JSON, and the tables beside it."""
    import pandas as pd

    card, generated = evaluation.card, evaluation.generated
    write_json(card, folder / "scorecard.json")
    write_json(document.headline(card), folder / "metrics.json")
    names = pd.Series(card["class_names"])
    asked, seen = (names[labels.cpu().numpy()].values for labels in (generated.labels, generated.seen))
    tables = {
        "bootstrap.csv": document.resample_table(evaluation.rows),
        "per_class.csv": document.class_table(card),
        "confusion.csv": pd.DataFrame({"asked": asked, "seen": seen}),
    }
    for name, table in tables.items():
        with replacing(folder / name) as part:
            table.to_csv(part, index=False)
