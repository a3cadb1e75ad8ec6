"""Stage evaluate: the scorecard of the trained generator on the test split, beside a ceiling and a floor."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src import paths
from src.errors import run_command

if TYPE_CHECKING:
    from src.metrics.evaluation import Evaluation

LINE_SECONDS = 10.0


def write_tables(evaluation: "Evaluation", folder: Path) -> None:
    """The scorecard as JSON, and the tables beside it."""
    import pandas as pd

    from src.files import replacing, write_json
    from src.metrics import document

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


class InceptionLines:
    """A line now and then, while the Inception network looks at images."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """``done`` images of ``total``."""
        if time.perf_counter() - self.last >= LINE_SECONDS:
            self.last = time.perf_counter()
            print(f"inception: {done:,} of {total:,} images", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, and write metrics, tables and the images that the pictures show."""
    argparse.ArgumentParser(prog="python -m src.evaluate", description=__doc__).parse_args(arguments)

    from src.datasets import store
    from src.device import pick_device
    from src.metrics import report
    from src.metrics.evaluation import evaluate
    from src.metrics.exhibits import exhibits, save_exhibits
    from src.metrics.real_images import RealImages
    from src.networks.description import load_classifier, load_generator
    from src.params import load_params
    from src.training.classifier import fit_by

    params = load_params()
    data, device = store.load(paths.PREPARED), pick_device(params.train.device)
    classifier, generator = load_classifier(paths.CLASSIFIER, device), load_generator(paths.GAN, device)
    fit = fit_by(params.classifier, len(data.class_names), device)
    images = RealImages(classifier, data, paths.FEATURES)
    evaluation = evaluate(params.evaluate, generator, images, fit, device, InceptionLines())
    shown = exhibits(evaluation, generator, data.train.images, params.evaluate.seed)
    write_tables(evaluation, paths.EVALUATION)
    save_exhibits(shown, paths.EVALUATION / paths.EXHIBITS)
    print(report.table(evaluation.card))


if __name__ == "__main__":
    run_command(main)
