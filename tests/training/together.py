"""A training of twenty steps, each of them logged: ``torchrun ... -m tests.training.together FOLDER`` or one plain process.

Each process writes what its recorder heard and what came out to FOLDER/RANK.json. With a file FOLDER/term, the first process
sends itself SIGTERM after ten steps.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from src.interrupts import Stopped
from src.training.checkpoint import Checkpoints
from src.training.loop import fit
from src.training.recorder import Progress, SilentRecorder
from src.training.world import World
from tests.training.resumed import params, summary, training_data

CHANGES = {
    "model.dropout": 0.0,
    "train.kimg": 1,
    "train.log_every_kimg": 0.05,
    "train.score_every_kimg": 0.5,
    "train.checkpoint_minutes": 60,
}


class Heard(SilentRecorder):
    def __init__(self, term: bool) -> None:
        self.term, self.losses_at, self.scores_at = term, list[int](), list[int]()

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        self.losses_at.append(progress.step)
        if self.term and progress.step == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        self.scores_at.append(progress.step)


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    world = World.join(torch.device("cpu"))
    heard = Heard(world.is_first and (folder / "term").exists())
    found: dict[str, object] = {}
    try:
        found = summary(fit(params(CHANGES), training_data(), heard, Checkpoints(folder / "checkpoints")))
    except Stopped as stopped:
        found = {"stopped": stopped.number}
    found |= {"losses_at": heard.losses_at, "scores_at": heard.scores_at, "size": world.size}
    (folder / f"{world.rank}.json").write_text(json.dumps(found), encoding="utf-8")
    world.leave()


if __name__ == "__main__":
    main()
