"""Images a second of the training loop, for each family, on random images; nothing is downloaded or scored.

Run it with nothing else on the machine: ``python -m benchmarks.train_speed --kimg 20 --runs 5``.
It prints the median and the range over the runs, after one run that is not counted.
"""

import argparse
import statistics
from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from src.device import describe_device, pick_device
from src.errors import run_command
from src.params import Params, load_params
from src.training.loop import TrainingData, fit
from src.training.recorder import SilentRecorder


def images_per_second(params: Params, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Train for ``train.kimg`` and return the rate, scoring left out."""

    def no_judge(generator: nn.Module) -> dict[str, float]:
        return {"score": 0.0}

    return fit(params, TrainingData(images, labels, 10, no_judge), SilentRecorder()).images_per_second


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_speed", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--kimg", type=float, default=20, help="thousands of images a run")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each family")
    parser.add_argument("--batch-size", type=int, help="instead of params.yaml's")
    options = parser.parse_args(arguments)
    base = load_params()
    device = pick_device(base.train.device)
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (10_000, 1, 28, 28), generator=source, dtype=torch.uint8).to(device)
    labels = torch.randint(0, 10, (10_000,), generator=source).to(device)
    rows = []
    for family in ("mlp", "dcgan"):
        batch_size = options.batch_size or base.train.batch_size
        changes = {"model.family": family, "train.kimg": options.kimg, "train.batch_size": batch_size}
        params = base.replace({**changes, "train.score_every_kimg": options.kimg, "train.patience": 0})
        rates = [images_per_second(params, images, labels) for _ in range(options.runs + 1)][1:]
        median = statistics.median(rates)
        rows.append({"family": family, "batch": batch_size, "median": median, "min": min(rates), "max": max(rates)})
    print(f"training, images/s on {describe_device(device)}, PyTorch {torch.__version__}")
    print(pd.DataFrame(rows).round(0).to_string(index=False))


if __name__ == "__main__":
    run_command(main)
