"""The pictures of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.networks.interface import Generator
from src.networks.sampling import generate, interpolate
from src.pictures.animation import save_animation
from src.pictures.grids import save_best_and_worst, save_grid, save_pairs
from src.pictures.plots import Panel, save_class_panels

COLUMNS = 12
PAIRS = 24
PANELS = {
    "gan_test_f1": ("GAN-test: F1 of the class that the classifier sees", 1.02),
    "gan_train_f1": ("GAN-train: F1 of a classifier that learned from these images", 1.02),
    "class_share": ("Share of the images in which the classifier sees the class", None),
    "frechet_classifier_distance": ("Frechet classifier distance (lower is better; without the floor)", None),
}


@dataclass(frozen=True)
class Shown:
    """Generated images, and what the pictures need to know of them; on the CPU."""

    images: Tensor
    """uint8 (N, C, H, W)"""
    labels: Tensor
    """int64 (N,)"""
    confidence: Tensor
    """float (N,): the probability that the classifier gives to the label"""
    train_distances: Tensor
    """float (N,)"""
    nearest: Tensor
    """uint8 (N, C, H, W): the nearest training image of each"""


def draw_scored(shown: Shown, class_names: Sequence[str], folder: Path) -> None:
    """``best_and_worst.png`` by confidence, and ``nearest_training.png``, the images that are nearest to a training image."""
    columns = COLUMNS // 2
    order = shown.confidence.argsort(descending=True, stable=True)
    blank = torch.full_like(shown.images[:columns], 255)  # where a class has fewer images
    best, worst = [], []
    for label in range(len(class_names)):
        images = shown.images[order[shown.labels[order] == label]]
        best.append(torch.cat([images[:columns], blank])[:columns])
        worst.append(torch.cat([blank, images[-columns:]])[-columns:])
    title = "Generated images of each class, by the classifier's confidence"
    save_best_and_worst(torch.cat(best), torch.cat(worst), folder / "best_and_worst.png", class_names, title)
    closest = shown.train_distances.argsort(stable=True)[:PAIRS]
    captions = [f"{distance:.2f}" for distance in shown.train_distances[closest].tolist()]
    title = "The generated images that are nearest to a training image, and that image; the distance is in features"
    save_pairs(shown.images[closest], shown.nearest[closest], captions, folder / "nearest_training.png", title, COLUMNS)


def draw_classes(card: Mapping[str, Any], sources: Mapping[str, str], folder: Path) -> None:
    """``per_class.png``: bars with intervals for the numbers by class that the scorecard has; ``sources`` are its series."""
    panels = []
    for name, (title, limit) in PANELS.items():
        series = {label: card["by_class"][source].get(name, []) for source, label in sources.items()}
        if name == "class_share" and card["conditional"]:
            continue  # the shares that were asked for, more or less
        if name == "frechet_classifier_distance":  # the floor is far off
            series.pop(sources["floor"])
        if all(series.values()):
            values = {label: [one["value"] for one in classes] for label, classes in series.items()}
            ends = {label: [(one["low"], one["high"]) for one in classes] for label, classes in series.items()}
            panels.append(Panel(title, values, ends, limit))
    save_class_panels(panels, card["class_names"], folder / "per_class.png")


def draw_samples(
    generator: Generator, class_names: Sequence[str], seed: int, frames: Sequence[Path], folder: Path
) -> None:
    """``samples.png``, ``interpolation.png`` and, from the grids of the training, ``training.gif``.

    Rows are named by their class, unless the generator ignores it.
    """
    row_labels = class_names if generator.conditional else None
    classes, first = torch.arange(len(class_names)), seed * 2**32
    labels = classes.repeat_interleave(COLUMNS)
    save_grid(
        generate(generator, labels, first + torch.arange(len(labels))), folder / "samples.png", COLUMNS, row_labels
    )
    between = interpolate(generator, classes, first + 2 * classes, first + 2 * classes + 1, COLUMNS)
    save_grid(between, folder / "interpolation.png", COLUMNS, row_labels, "From one latent to another")
    if frames:
        save_animation(frames, folder / "training.gif")
