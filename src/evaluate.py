"""Stage evaluate: the scorecard of the trained generator on the test split, beside a ceiling and a floor."""

import time
from pathlib import Path

import pandas as pd
import torch

from src import paths
from src.datasets import store
from src.device import pick_device
from src.errors import run_command
from src.files import replacing, write_json
from src.metrics import report
from src.metrics.evaluation import Evaluation, evaluate
from src.metrics.gan_test import confusion
from src.metrics.real_images import RealImages
from src.networks.description import load_classifier, load_generator
from src.params import load_params
from src.pictures.evaluation import Shown, draw_classes, draw_samples, draw_scored
from src.pictures.plots import save_confusion
from src.tracking.outputs import SAMPLES, record_evaluation, run_of_outputs, run_summary
from src.training.classifier import fit_by
from src.training.progress import LINE_SECONDS


def write_tables(evaluation: Evaluation, folder: Path) -> None:
    """The scorecard as JSON and Markdown, and the tables beside it."""
    card, generated = evaluation.card, evaluation.generated
    write_json(card, folder / "scorecard.json")
    write_json(report.headline(card), folder / "metrics.json")
    names = pd.Series(card["class_names"])
    asked, seen = (names[labels.cpu().numpy()].values for labels in (generated.labels, generated.seen))
    tables = {
        "bootstrap.csv": report.resample_table(evaluation.rows),
        "per_class.csv": report.class_table(card),
        "confusion.csv": pd.DataFrame({"asked": asked, "seen": seen}),
    }
    for name, table in tables.items():
        with replacing(folder / name) as part:
            table.to_csv(part, index=False)
    with replacing(folder / "scorecard.md") as part:
        part.write_text(report.markdown(card), encoding="utf-8")


def shown(evaluation: Evaluation, training_images: torch.Tensor) -> Shown:
    """The scored images for the pictures; those of a generator that takes no label under the class that is seen."""
    generated = evaluation.generated
    assert generated.images is not None
    assert generated.train_distances is not None
    labels = generated.labels if evaluation.card["conditional"] else generated.seen
    confidence = generated.logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    nearest = training_images[evaluation.nearest.cpu()]
    return Shown(generated.images, labels.cpu(), confidence.cpu(), generated.train_distances.cpu(), nearest)


class InceptionLines:
    """A line now and then, while the Inception network looks at images."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """``done`` images of ``total``."""
        if time.perf_counter() - self.last >= LINE_SECONDS:
            self.last = time.perf_counter()
            print(f"inception: {done:,} of {total:,} images", flush=True)


def main() -> None:
    """Score, write metrics, tables and pictures, and record them in the training's MLflow run."""
    params = load_params()
    data, folder = store.load(paths.PREPARED), paths.EVALUATION
    device = pick_device(params.train.device)
    classifier, generator = load_classifier(paths.CLASSIFIER, device), load_generator(paths.GAN, device)
    run_summary(paths.GAN)  # before the work rather than after it

    real_images = RealImages(classifier, data, paths.FEATURES)
    fit = fit_by(params.classifier, len(data.class_names), device)
    evaluation = evaluate(params.evaluate, generator, real_images, fit, device, InceptionLines())
    card = evaluation.card
    write_tables(evaluation, folder)
    draw_scored(shown(evaluation, data.train.images), data.class_names, folder)
    draw_classes(card, report.SOURCES, folder)
    title = "Generated images: what the classifier sees, percent of each row"
    save_confusion(confusion(evaluation.generated).cpu(), data.class_names, folder / "confusion.png", title)
    draw_samples(
        generator, data.class_names, params.evaluate.seed, sorted((paths.GAN / SAMPLES).glob("step_*.png")), folder
    )

    with run_of_outputs(data) as run:
        record_evaluation(run, card, folder)
    print(report.table(card))


if __name__ == "__main__":
    run_command(main)
