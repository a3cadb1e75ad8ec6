"""The pictures of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from src.pictures.grids import save_best_and_worst, save_grid, save_pairs
from src.pictures.plots import Panel, save_class_panels

COLUMNS = 12
PANELS = {
    "gan_test_f1": ("GAN-test: F1 of the class that the classifier sees", 1.02),
    "gan_train_f1": ("GAN-train: F1 of a classifier that learned from these images", 1.02),
    "class_share": ("Share of the images in which the classifier sees the class", None),
    "frechet_classifier_distance": ("Frechet classifier distance (lower is better; without the floor)", None),
}


def draw_images(exhibits: Mapping[str, Tensor], class_names: Sequence[str], folder: Path, *, conditional: bool) -> None:
    """Draw the images of :func:`src.metrics.exhibits.exhibits`.

    ``samples.png`` and ``interpolation.png``, whose rows are named by their class where the generator is ``conditional``;
    ``best_and_worst.png`` by the classifier's confidence; ``nearest_training.png``, the images nearest to a training image.
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
