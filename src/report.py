"""Stage report: pictures and text made from what the other stages have written. It takes seconds, and changes no number."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import paths
from src.errors import UserError, require_file, run_command

if TYPE_CHECKING:
    from torch import Tensor

    from src.datasets.store import PreparedData

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
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(require_file(path, made_by))
    except SafetensorError as error:
        raise UserError(f"{path} is corrupt ({error}); make it again with `dvc repro --force {made_by}`") from None


def draw_data(data: "PreparedData", title: str, folder: Path) -> None:
    """``grid.png``: the first training images of each class."""
    import torch

    from src.pictures.grids import save_grid

    labels, classes = data.train.labels, len(data.class_names)
    columns = min(GRID_COLUMNS, int(torch.bincount(labels, minlength=classes).min()))
    chosen = torch.cat([(labels == label).nonzero()[:columns, 0] for label in range(classes)])
    save_grid(data.train.images[chosen], folder / "grid.png", columns, data.class_names, f"{title}: training images")


def draw_classifier(data: "PreparedData", folder: Path) -> None:
    """``confusion.png`` of the auxiliary classifier."""
    import torch

    from src.pictures.plots import save_confusion

    counts = torch.tensor(read_json(folder / "report.json", "train_classifier")["confusion"])
    title = "The auxiliary classifier on the validation split, percent of each row"
    save_confusion(counts, data.class_names, folder / "confusion.png", title)


def draw_training(data: "PreparedData", *, conditional: bool, folder: Path) -> list[Path]:
    """``history.png``, and a picture of the samples at each validation score, ``samples/step_*.png``; returns those."""
    from src.pictures.grids import save_grid
    from src.pictures.plots import save_history

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
    import pandas as pd
    import torch

    from src.files import replacing
    from src.metrics import report
    from src.pictures.animation import save_animation
    from src.pictures.evaluation import draw_classes, draw_images
    from src.pictures.plots import save_confusion

    names = card["class_names"]
    pairs = pd.read_csv(require_file(folder / "confusion.csv", "evaluate"), dtype=str, keep_default_na=False)
    counts = pd.crosstab(pairs["asked"], pairs["seen"]).reindex(index=names, columns=names, fill_value=0)
    title = "Generated images: what the classifier sees, percent of each row"
    save_confusion(torch.tensor(counts.to_numpy()), names, folder / "confusion.png", title)
    draw_classes(card, report.SOURCES, folder)
    draw_images(read_images(folder / paths.EXHIBITS, "evaluate"), names, folder, conditional=card["conditional"])
    save_animation(frames, folder / "training.gif")
    with replacing(folder / "scorecard.md") as part:
        part.write_text(report.markdown(card), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw everything."""
    argparse.ArgumentParser(prog="python -m src.report", description=__doc__).parse_args(arguments)

    from src.datasets import store

    data = store.load(paths.PREPARED)
    card = read_json(paths.EVALUATION / "scorecard.json", "evaluate")
    draw_data(data, read_json(paths.PREPARED / "card.json", "prepare")["title"], paths.PREPARED)
    draw_classifier(data, paths.CLASSIFIER)
    frames = draw_training(data, conditional=card["conditional"], folder=paths.GAN)
    draw_evaluation(card, frames, paths.EVALUATION)
    print(f"scorecard and pictures are in {paths.EVALUATION}")


if __name__ == "__main__":
    run_command(main)
