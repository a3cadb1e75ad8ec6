"""Stage train: train the GAN that params.yaml describes."""

import shutil
import sys

import pandas as pd
from torch import Tensor

from src import paths
from src.datasets import store
from src.device import describe_device, pick_device
from src.errors import run_command
from src.files import write_json
from src.metrics.scorecard import ValidationJudge
from src.networks.description import content_hash, load_classifier, save_network
from src.params import Params, load_params
from src.pictures.grids import save_grid
from src.pictures.plots import save_history
from src.tracking import lineage
from src.tracking.recorder import MlflowRecorder
from src.tracking.runs import new_run
from src.training.health import TrainingDiverged
from src.training.loop import GRID_COLUMNS, FitResult, TrainingData, fit
from src.training.progress import ConsoleRecorder, ProgressLine
from src.training.recorder import Progress, Recorders, SilentRecorder

DATASET_FILE = paths.PREPARED / "dataset.safetensors"
SAMPLES = paths.GAN / "samples"


class SampleFiles(SilentRecorder):
    """Keeps the sample grids as PNG files, one a score."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Write the grid, named by the step."""
        title = f"{progress.images / 1000:,.0f} thousand images"
        save_grid(images, SAMPLES / f"step_{progress.step:07d}.png", GRID_COLUMNS, self.class_names, title)


def validation_judge(params: Params, data: store.PreparedData) -> ValidationJudge:
    """The classifier as judge on the validation split."""
    classifier = load_classifier(paths.CLASSIFIER, pick_device(params.train.device))
    images, labels = data.validation.images, data.validation.labels
    return ValidationJudge(classifier, images, labels, params.train.score_samples, params.evaluate.nearest_k)


def training_data(params: Params, data: store.PreparedData) -> TrainingData:
    """The training images on the device, and their judge."""
    device, judge = pick_device(params.train.device), validation_judge(params, data)
    return TrainingData(data.train.images.to(device), data.train.labels.to(device), len(data.class_names), judge)


def source_tags(params: Params, data: store.PreparedData) -> dict[str, str]:
    """What a run is made from, as MLflow tags."""
    return {
        "seed": str(params.train.seed),
        "device": describe_device(pick_device(params.train.device)),
        "data.hash": data.content_hash,
        "classifier.hash": content_hash(load_classifier(paths.CLASSIFIER)),
    }


def save_result(result: FitResult, class_names: tuple[str, ...], run_id: str) -> None:
    """Write both networks, the history, the validation scores and what later stages need to know of this training."""
    save_network(result.generator, paths.GAN, "generator")
    save_network(result.discriminator, paths.GAN, "discriminator")
    write_json({"class_names": class_names}, paths.GAN / "card.json")
    pd.DataFrame(result.history.losses).to_csv(paths.GAN / "history.csv", index=False)
    pd.DataFrame(result.history.scores).to_csv(paths.GAN / "scores.csv", index=False)
    write_json({"losses": result.history.losses, "scores": result.history.scores}, paths.GAN / "history.json")
    save_history(result.history.losses, result.history.scores, paths.GAN / "history.png")
    headline = ("score", "agreement", "recall", "coverage", "step")
    write_json({"validation": {name: result.best[name] for name in headline}}, paths.GAN / "metrics.json")
    run = {
        "run_id": run_id,
        "generator_hash": content_hash(result.generator),
        "images_per_second": result.images_per_second,
        "stopped": result.stopped or "reached train.kimg",
    }
    write_json(run, paths.GAN / "run.json")


def main() -> None:
    """Train, and write networks, history and pictures; the MLflow run is left for evaluate and register to continue."""
    params = load_params()
    data = store.load(paths.PREPARED)
    tags, material = source_tags(params, data), training_data(params, data)
    shutil.rmtree(SAMPLES, ignore_errors=True)  # without DVC, an earlier training's pictures would stay among the new
    SAMPLES.mkdir(parents=True)
    name = f"{params.model.family}-{params.model.conditioning}-{params.train.loss}"
    with new_run(data.name, name, params.flat(), tags) as run:
        run.dataset(data.name, lineage.file_md5(DATASET_FILE), str(DATASET_FILE.resolve()), data.train.images)
        with ProgressLine("train", params.train.kimg, "kimg") as line:
            recorder = Recorders(
                [ConsoleRecorder(line), SampleFiles(data.class_names), MlflowRecorder(run, GRID_COLUMNS)]
            )
            try:
                result = fit(params, material, recorder)
            except TrainingDiverged as error:
                print(f"error: {error}; try lower learning rates or a larger train.r1_weight", file=sys.stderr)
                run.fail(str(error))
                raise SystemExit(3) from None
        save_result(result, data.class_names, run.run_id)
        run.metrics({"best.score": result.best["score"], "best.step": result.best["step"]})
        run.artifact(paths.GAN)
    print(f"{result.images_per_second:,.0f} images/s; best validation score {result.best['score']:.3f}")
    print(f"MLflow run {run.run_id}")


if __name__ == "__main__":
    run_command(main)
