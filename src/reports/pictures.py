"""Pictures and text made from what the stages have written."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..core import paths
from ..core.errors import UserError, require_file
from ..core.files import replacing
from ..evaluation.scorecard import Scorecard
from ..sampling.animation import save_animation
from ..sampling.grids import save_best_and_worst, save_grid, save_pairs
from . import scorecard_text
from .plots import Panel, save_class_panels, save_confusion, save_history

if TYPE_CHECKING:
    from ..data.prepared import PreparedData


COLUMNS = 12
PANELS = {
    "gan_test_f1": ("GAN-test: F1 of the class that the classifier sees", 1.02),
    "gan_train_f1": ("GAN-train: F1 of a classifier that learned from these images", 1.02),
    "class_share": ("Share of the images in which the classifier sees the class", None),
    "frechet_classifier_distance": ("Frechet classifier distance (lower is better; without the floor)", None),
}


def draw_images(exhibits: Mapping[str, Tensor], class_names: Sequence[str], folder: Path, *, conditional: bool) -> None:
    """Draw the images of :func:`src.evaluation.evaluation.exhibits`.

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


GRID_COLUMNS = 10
"""images of each class in a picture of the training, and of the data"""


def read_json(path: Path, made_by: str) -> Any:
    """A stage's JSON file. Raises UserError when it is missing or corrupt."""
    try:
        return json.loads(require_file(path, made_by).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is corrupt ({error}); make it again with `dvc repro --force {made_by}`") from None


def read_images(path: Path, made_by: str) -> dict[str, "Tensor"]:
    """A stage's tensors by name. Raises UserError when the file is missing or corrupt."""

    try:
        return load_file(require_file(path, made_by))
    except SafetensorError as error:
        raise UserError(f"{path} is corrupt ({error}); make it again with `dvc repro --force {made_by}`") from None


def draw_data(data: "PreparedData", title: str, folder: Path) -> None:
    """``grid.png``: the first training images of each class."""

    labels, classes = data.train.labels, len(data.class_names)
    columns = min(GRID_COLUMNS, int(torch.bincount(labels, minlength=classes).min()))
    chosen = torch.cat([(labels == label).nonzero()[:columns, 0] for label in range(classes)])
    save_grid(data.train.images[chosen], folder / "grid.png", columns, data.class_names, f"{title}: training images")


def draw_classifier(data: "PreparedData", folder: Path) -> None:
    """``confusion.png`` of the auxiliary classifier."""

    counts = torch.tensor(read_json(folder / "report.json", "train_classifier")["confusion"])
    title = "The auxiliary classifier on the validation split, percent of each row"
    save_confusion(counts, data.class_names, folder / "confusion.png", title)


def draw_training(data: "PreparedData", *, conditional: bool, folder: Path) -> list[Path]:
    """``history.png``, and a picture of the samples at each validation score, ``samples/step_*.png``; returns those."""

    history = read_json(folder / "history.json", "train")
    save_history(history["losses"], history["scores"], folder / "history.png")
    kimg = {int(row["step"]): row["kimg"] for row in history["scores"]}
    pictures = folder / "samples"
    shutil.rmtree(pictures, ignore_errors=True)
    frames = []
    for name, images in sorted(read_images(folder / "samples.safetensors", "train").items()):
        step = int(name.removeprefix("step_"))
        title = f"{kimg.get(step, 0):,.0f} thousand images"
        frames.append(pictures / f"{name}.png")
        save_grid(images, frames[-1], GRID_COLUMNS, data.class_names if conditional else None, title)
    return frames


def draw_evaluation(card: dict[str, Any], frames: Sequence[Path], folder: Path) -> None:
    """The pictures of the scorecard and of the images that were scored, and ``scorecard.md``."""

    names = card["class_names"]
    pairs = pd.read_csv(require_file(folder / "confusion.csv", "evaluate"), dtype=str, keep_default_na=False)
    counts = pd.crosstab(pairs["asked"], pairs["seen"]).reindex(index=names, columns=names, fill_value=0)
    title = "Generated images: what the classifier sees, percent of each row"
    save_confusion(torch.tensor(counts.to_numpy()), names, folder / "confusion.png", title)
    draw_classes(card, scorecard_text.SOURCES, folder)
    draw_images(read_images(folder / paths.EXHIBITS, "evaluate"), names, folder, conditional=card["conditional"])
    save_animation(frames, folder / "training.gif")
    with replacing(folder / "scorecard.md") as part:
        part.write_text(scorecard_text.markdown(Scorecard.model_validate(card)), encoding="utf-8")
