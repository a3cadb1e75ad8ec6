"""The pictures and the text that the stage ``report`` makes from the outputs of the other stages."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from ..core import paths
from ..core.files import read_json, read_tensors, replacing
from ..evaluation.scorecard import Scorecard, read_confusion
from ..sampling.animation import save_animation
from ..sampling.grids import save_best_and_worst, save_grid, save_pairs
from . import scorecard_text
from .plots import Panel, save_class_panels, save_confusion, save_history

if TYPE_CHECKING:
    from ..data.prepared import PreparedData

COLUMNS = 12
GRID_COLUMNS = 10
"""images of each class in a picture of the run, and of the data"""
PANELS = {
    "gan_test_f1": ("GAN-test: F1 of the predicted class", 1.02),
    "gan_train_f1": ("GAN-train: F1 of a classifier trained on these images", 1.02),
    "class_share": ("Share of the images predicted as the class", None),
    "frechet_classifier_distance": ("Frechet classifier distance (lower is better; without the floor)", None),
}
EXHIBITS = ("samples", "interpolation", "best", "worst", "nearest", "nearest_training", "nearest_distance")


@dataclass(frozen=True)
class Inputs:
    """The outputs of the other stages, read and checked before anything is written."""

    title: str
    """of the dataset"""
    card: Scorecard
    confusion: Tensor
    """of the judge on the validation split: counts (K, K)"""
    history: dict[str, Any]
    samples: dict[str, Tensor]
    """generated images by ``step_0000000``"""
    pairs: pd.DataFrame
    """requested and predicted class of each generated image"""
    exhibits: dict[str, Tensor]


def read_inputs() -> Inputs:
    """Read everything. Raises UserError for a missing or corrupt file."""
    report = read_json(paths.CLASSIFIER / "report.json", "train_classifier", "confusion")
    return Inputs(
        read_json(paths.PREPARED / "card.json", "prepare", "title")["title"],
        card := Scorecard.read(paths.EVALUATION / "scorecard.json"),
        torch.tensor(report["confusion"]),
        read_json(paths.GAN / "history.json", "train", "losses", "scores"),
        read_tensors(paths.GAN / "samples.safetensors", "train", "step_0000000"),
        read_confusion(paths.EVALUATION / "confusion.csv", card.samples),
        read_tensors(paths.EVALUATION / paths.EXHIBITS, "evaluate", *EXHIBITS),
    )


def draw_images(exhibits: dict[str, Tensor], class_names: Sequence[str], folder: Path, *, conditional: bool) -> None:
    """Draw the images of :func:`src.evaluation.evaluation.exhibits`.

    ``samples.png`` and ``interpolation.png``, with class names for a ``conditional`` generator; ``best_and_worst.png`` by
    the confidence of the judge; ``nearest_training.png``, the images nearest to a training image.
    """
    rows = class_names if conditional else None
    save_grid(exhibits["samples"], folder / "samples.png", COLUMNS, rows)
    save_grid(exhibits["interpolation"], folder / "interpolation.png", COLUMNS, rows, "From one latent to another")
    title = "Generated images of each class, by the classifier's confidence"
    save_best_and_worst(exhibits["best"], exhibits["worst"], folder / "best_and_worst.png", class_names, title)
    captions = [f"{distance:.2f}" for distance in exhibits["nearest_distance"].tolist()]
    title = "The generated images that are nearest to a training image, and that image; the distance is in features"
    pairs = exhibits["nearest"], exhibits["nearest_training"]
    save_pairs(*pairs, captions, folder / "nearest_training.png", title, COLUMNS)


def draw_classes(card: Scorecard, folder: Path) -> None:
    """``per_class.png``: bars with intervals for the numbers by class, a series for each source of images."""
    panels = []
    for name, (title, limit) in PANELS.items():
        series = {label: card.classes(source, name) for source, label in scorecard_text.SOURCES.items()}
        if name == "class_share" and card.conditional:
            continue  # roughly the requested shares
        if name == "frechet_classifier_distance":  # the floor is far off
            series.pop(scorecard_text.SOURCES["floor"])
        if all(series.values()):
            values = {label: [one.value for one in classes] for label, classes in series.items()}
            ends = {label: [(one.low, one.high) for one in classes] for label, classes in series.items()}
            panels.append(Panel(title, values, ends, limit))
    save_class_panels(panels, card.class_names, folder / "per_class.png")


def draw_data(data: "PreparedData", title: str, folder: Path) -> None:
    """``grid.png``: the first training images of each class."""
    labels, classes = data.train.labels, len(data.class_names)
    columns = min(GRID_COLUMNS, int(torch.bincount(labels, minlength=classes).min()))
    chosen = torch.cat([(labels == label).nonzero()[:columns, 0] for label in range(classes)])
    save_grid(data.train.images[chosen], folder / "grid.png", columns, data.class_names, f"{title}: training images")


def draw_classifier(counts: Tensor, class_names: Sequence[str], folder: Path) -> None:
    """``confusion.png`` of the judge."""
    title = "The auxiliary classifier on the validation split, percent of each row"
    save_confusion(counts, class_names, folder / "confusion.png", title)


def draw_training(found: Inputs, folder: Path) -> list[Path]:
    """``history.png``, and a picture of the samples at each validation score, ``samples/step_*.png``; returns those."""
    history, names = found.history, found.card.class_names if found.card.conditional else None
    save_history(history["losses"], history["scores"], folder / "history.png")
    kimg = {int(row["step"]): row["kimg"] for row in history["scores"]}
    pictures = folder / "samples"
    shutil.rmtree(pictures, ignore_errors=True)
    frames = []
    for name, images in sorted(found.samples.items()):
        step = int(name.removeprefix("step_"))
        title = f"{kimg.get(step, 0):,.0f} thousand images"
        frames.append(pictures / f"{name}.png")
        save_grid(images, frames[-1], GRID_COLUMNS, names, title)
    return frames


def draw_evaluation(found: Inputs, frames: Sequence[Path], folder: Path) -> None:
    """The pictures of the scorecard and of the scored images, and ``scorecard.md``."""
    card, names = found.card, found.card.class_names
    counts = pd.crosstab(found.pairs["asked"], found.pairs["seen"]).reindex(index=names, columns=names, fill_value=0)
    title = "Generated images: the predicted class, percent of each row"
    save_confusion(torch.tensor(counts.to_numpy()), names, folder / "confusion.png", title)
    draw_classes(card, folder)
    draw_images(found.exhibits, names, folder, conditional=card.conditional)
    save_animation(frames, folder / "training.gif")
    with replacing(folder / "scorecard.md") as part:
        part.write_text(scorecard_text.markdown(card), encoding="utf-8")
