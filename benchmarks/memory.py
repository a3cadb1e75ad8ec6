"""The peak memory of a training run, measured in a separate process.

``peak_memory`` starts ``python -m benchmarks.memory IMAGES``, which reads parameters (JSON) from standard input, trains as the
train stage does, and prints its peaks (JSON) as its last line.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from src.config.params import Params, parse_params
from src.core.device import MIB, peak_resident
from src.core.errors import UserError, run_command

ROOT = Path(__file__).parent.parent
TRAIN_IMAGES = 50_000
"""As many as Fashion-MNIST has, which holds out a fifth as many for validation."""


@dataclass(frozen=True)
class Peak:
    """The most memory that a process held at a time, in MiB."""

    resident: float
    gpu: float
    """what PyTorch allocated on the GPU, 0 without one"""


def peak_memory(params: Params, kimg: float, images: int = TRAIN_IMAGES) -> Peak:
    """Train for ``kimg`` in a child process, with two scores and some checkpoints. Raises UserError when it fails."""
    changes = {
        "train.kimg": kimg,
        "train.log_every_kimg": kimg / 4,
        "train.score_every_kimg": kimg / 2,
        "train.checkpoint_minutes": 0.005,
        "train.patience": 0,
    }
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(images)],
        input=params.replace(changes).model_dump_json(by_alias=True),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        check=False,
    )
    if child.returncode:
        raise UserError(
            f"the training whose memory is measured ended with status {child.returncode}; its output is above"
        )
    return Peak(**json.loads(child.stdout.splitlines()[-1]))


def train_once(params: Params, count: int) -> None:
    """Everything that the train stage holds in memory: images, judge, tracked run, checkpoints, picture of the history."""
    from benchmarks.settings import random_images
    from benchmarks.tracked import temporary_store, tracked_run
    from src.core.device import resolve
    from src.data.prepared import PreparedData, Split
    from src.evaluation.judge import ValidationJudge
    from src.evaluation.real_images import RealImages
    from src.networks.classifier import build_classifier
    from src.reports.plots import save_history
    from src.training.checkpoint import Checkpoints
    from src.training.loop import TrainingData, fit

    device = resolve(params.train).device
    options = params.classifier.model_dump(include={"width", "feature_size", "dropout"})
    classifier = build_classifier(class_count=10, channels=1, image_size=28, **options).eval().to(device)
    images, labels = random_images(count)
    train, held_out = Split(images, labels), Split(*random_images(count // 5, seed=1))
    names = tuple(map(str, range(10)))
    prepared = PreparedData(train, held_out, held_out, "noise", names, content_hash="of no importance")
    judge = ValidationJudge(RealImages(classifier, prepared), params.train.score_samples, params.evaluate.nearest_k)
    data = TrainingData(images, labels, 10, judge, judge.diversity)
    with temporary_store() as folder, tracked_run(params) as recorder:
        result = fit(params, data, recorder, Checkpoints(folder / "checkpoints"))
        save_history(result.history.losses, result.history.scores, folder / "history.png")


def main() -> None:
    """Train with the parameters on standard input, and print the peaks."""
    train_once(parse_params(json.loads(sys.stdin.read()), "standard input"), count=int(sys.argv[1]))
    gpu = torch.cuda.max_memory_allocated() / MIB if torch.cuda.is_available() else 0.0
    print(json.dumps({"resident": peak_resident(), "gpu": gpu}))


if __name__ == "__main__":
    run_command(main)
