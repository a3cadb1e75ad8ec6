"""Stage train: train the GAN that params.yaml describes. A training that was interrupted goes on where it was.

``python -m src.train [--no-resume]``; with several GPUs ``torchrun --nproc-per-node GPUS -m src.train``
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from src import paths
from src.datasets import store
from src.device import describe_device, pick_device, set_up
from src.errors import run_command
from src.files import write_json
from src.interrupts import Stopped
from src.metrics.judge import ValidationJudge
from src.metrics.real_images import RealImages
from src.networks.description import content_hash, load_classifier, save_network
from src.networks.families import family_code
from src.params import Params, load_params
from src.pictures.grids import save_grid
from src.pictures.plots import save_history
from src.tracking import outputs
from src.tracking.leftovers import abandon
from src.tracking.lineage import Origin, experiment_name
from src.tracking.recorder import MlflowRecorder
from src.tracking.runs import training_run
from src.tracking.store import project_root
from src.training.checkpoint import Checkpoints
from src.training.folder import TrainingFolder, code_hashes
from src.training.health import TrainingDiverged
from src.training.loop import GRID_COLUMNS, FitResult, TrainingData, fit
from src.training.progress import ConsoleRecorder, ProgressLine
from src.training.recorder import Progress, Recorders, SilentRecorder
from src.training.world import World

SAMPLES = paths.GAN / outputs.SAMPLES
NOT_IDENTITY = ("train.device", "train.checkpoint_minutes", "train.max_rollbacks")
"""Parameters of train that an interrupted training may go on with other values of."""
CODE = ("datasets/batches.py", "device.py", "metrics", "networks", "pixels.py", "training")
"""What the numbers of a training depend on, below src; a family of the user's own comes with it."""


class SampleFiles(SilentRecorder):
    """Keeps the sample grids as PNG files, one a score: in the output folder and, for when the training is interrupted,
    in one that DVC does not delete.
    """

    def __init__(self, row_labels: tuple[str, ...] | None, kept: Path) -> None:
        self.row_labels, self.kept = row_labels, kept
        kept.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(
            SAMPLES, ignore_errors=True
        )  # without DVC, an earlier training's pictures would stay among the new
        shutil.copytree(kept, SAMPLES)

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Write the grid, named by the step."""
        path = SAMPLES / f"step_{progress.step:07d}.png"
        save_grid(images, path, GRID_COLUMNS, self.row_labels, f"{progress.images / 1000:,.0f} thousand images")
        shutil.copy(path, self.kept)


def validation_judge(params: Params, data: store.PreparedData) -> ValidationJudge:
    """The classifier as judge on the validation split."""
    classifier = load_classifier(paths.CLASSIFIER, pick_device(params.train.device))
    real_images = RealImages(classifier, data, paths.FEATURES)
    return ValidationJudge(real_images, params.train.score_samples, params.evaluate.nearest_k)


def training_data(params: Params, data: store.PreparedData) -> TrainingData:
    """The training images, and their judge."""
    judge = validation_judge(params, data)
    return TrainingData(data.train.images, data.train.labels, len(data.class_names), judge, judge.diversity)


def source_tags(params: Params, data: store.PreparedData) -> dict[str, str]:
    """What a run is made from, as MLflow tags."""
    return {
        "seed": str(params.train.seed),
        "device": describe_device(pick_device(params.train.device)),
        "data.hash": data.content_hash,
        "classifier.hash": content_hash(load_classifier(paths.CLASSIFIER)),
    }


def identity(params: Params, tags: Mapping[str, str], world: World) -> dict[str, str]:
    """All that the training's numbers depend on, by name: a checkpoint is taken only where all of it is the same."""
    values = {
        name: str(value)
        for name, value in params.flat().items()
        if name.startswith(("model.", "train.")) and name not in NOT_IDENTITY
    }
    return {
        **values,
        "evaluate.nearest_k": str(params.evaluate.nearest_k),
        "data.hash": tags["data.hash"][:12],
        "classifier.hash": tags["classifier.hash"][:12],
        "device": pick_device(params.train.device).type,
        "processes": str(world.size),
        "torch": torch.__version__,
        **code_hashes([*(Path("src") / place for place in CODE), *family_code(params.model.family)]),
    }


def open_folder(params: Params, tags: Mapping[str, str], world: World, *, resume: bool) -> TrainingFolder:
    """The folder of this training, emptied unless ``resume``; says what other unfinished trainings there are."""
    folder = TrainingFolder(project_root() / paths.CHECKPOINTS, identity(params, tags, world))
    if not resume:
        if folder.run_id:
            abandon(folder.run_id)
        folder.clear()
    if not folder.checkpoints:
        for other, lines in folder.others().items():
            print(f"the unfinished training in {other} is another one and stays as it is: {'; '.join(lines)}")
    return folder


def save_result(result: FitResult, class_names: tuple[str, ...], run_id: str) -> None:
    """Write both networks, the history, the validation scores and what later stages need to know of this training."""
    save_network(result.generator, paths.GAN, "generator")
    save_network(result.discriminator, paths.GAN, "discriminator")
    write_json({"class_names": class_names}, paths.GAN / "card.json")
    losses, scores = result.history.losses, result.history.scores
    pd.DataFrame(losses).to_csv(paths.GAN / "history.csv", index=False)
    pd.DataFrame(scores).to_csv(paths.GAN / "scores.csv", index=False)
    write_json({"losses": losses, "scores": scores, "events": result.history.events}, paths.GAN / outputs.HISTORY)
    save_history(losses, scores, paths.GAN / "history.png")
    headline = ("score", "precision", "recall", "coverage", "step")
    write_json({"validation": {name: result.best[name] for name in headline}}, paths.GAN / "metrics.json")
    run = {
        "run_id": run_id,
        "generator_hash": content_hash(result.generator),
        "images_per_second": result.images_per_second,
        "stopped": result.stopped or "reached train.kimg",
    }
    write_json(run, paths.GAN / outputs.RUN)


def train(params: Params, data: store.PreparedData, world: World, *, resume: bool) -> None:
    """Train in an MLflow run, which evaluate and register continue, and write networks, history and pictures."""
    tags, material = source_tags(params, data), training_data(params, data)
    folder = open_folder(params, tags, world, resume=resume)
    described = f"{params.model.family}-{params.model.conditioning}-{params.train.loss}"
    origin = Origin.here(experiment_name() or described, params.flat(), tags)
    with training_run(data.name, origin, run_id=folder.run_id) as run:
        folder.run_id = run.run_id
        outputs.record_dataset(run, data)
        with ProgressLine("train", params.train.kimg, "kimg") as line:
            files = SampleFiles(data.class_names if params.model.conditioning != "none" else None, folder.samples)
            recorder = Recorders([ConsoleRecorder(line), files, MlflowRecorder(run, GRID_COLUMNS)])
            try:
                result = fit(params, material, recorder, folder.checkpoints)
            except Stopped as stopped:
                print(f"{stopped}: its last checkpoint is in {folder.path}; the same command goes on from there")
                raise
        save_result(result, data.class_names, run.run_id)
        origin.save(paths.GAN / outputs.ORIGIN)
        run.metrics({"best.score": result.best["score"], "best.step": result.best["step"]}, 0, "best")
        run.artifact(paths.GAN)
    folder.remove()
    print(f"{result.images_per_second:,.0f} images/s; best validation score {result.best['score']:.3f}")
    print(f"MLflow run {run.run_id}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train. Of several processes only the first writes; the others do their part of each batch."""
    parser = argparse.ArgumentParser(prog="python -m src.train", description="Train the GAN of params.yaml.")
    parser.add_argument("--no-resume", action="store_true", help="start afresh, whatever checkpoint there is")
    options = parser.parse_args(arguments)
    params = load_params()
    device = pick_device(params.train.device)
    set_up(device, deterministic=params.train.deterministic)
    data, world = store.load(paths.PREPARED), World.join(device)
    try:
        if world.is_first:
            train(params, data, world, resume=not options.no_resume)
        else:
            fit(params, training_data(params, data), SilentRecorder(), Checkpoints(Path()))
    except TrainingDiverged as error:
        hint = "try lower learning rates, a larger train.r1_weight, or train.precision float32"
        print(f"error: {error}; {hint}", file=sys.stderr)
        raise SystemExit(3) from None
    finally:
        world.leave()


if __name__ == "__main__":
    run_command(main)
