"""A training of twenty steps, each of them logged: ``torchrun ... -m tests.training.together FOLDER``.

``python -m tests.training.together FOLDER COUNT [JSON]`` forks as many processes with the environment that torchrun gives
its own, so that PyTorch is imported once; JSON holds changes of parameters. Each process writes what its recorder heard and
what came out to FOLDER/RANK.json. With a file FOLDER/term, the first process sends itself SIGTERM after ten steps.
"""

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from src.core.interrupts import Stopped
from src.training.checkpoint import Checkpoints
from src.training.loop import fit
from src.training.recorder import Progress, Recorder
from src.training.step.distributed import DistributedContext
from tests.training.digits import digits
from tests.training.resumed import params, summary, training_data

CHANGES = {
    "model.dropout": 0.0,
    "train.kimg": 1,
    "train.log_every_kimg": 0.05,
    "train.score_every_kimg": 0.5,
    "train.checkpoint_minutes": 60,
}


class Heard(Recorder):
    def __init__(self, term: bool) -> None:
        self.term, self.losses_at, self.scores_at = term, list[int](), list[int]()

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        self.losses_at.append(progress.step)
        if self.term and progress.step == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        self.scores_at.append(progress.step)


def train(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    distributed = DistributedContext.join(torch.device("cpu"))
    heard = Heard(distributed.is_first and (folder / "term").exists())
    found: dict[str, object] = {}
    try:
        found = summary(
            fit(params({**CHANGES, **(changes or {})}), training_data(), heard, Checkpoints(folder / "checkpoints"))
        )
    except Stopped as stopped:
        found = {"stopped": stopped.number}
    found |= {"losses_at": heard.losses_at, "scores_at": heard.scores_at, "size": distributed.size}
    (folder / f"{distributed.rank}.json").write_text(json.dumps(found), encoding="utf-8")
    distributed.leave()


def fork(folder: Path, changes: Mapping[str, Any], rank: int, count: int, port: int) -> int:
    """The id of a new process; it reads from ``port``, a pipe, where the others are met."""
    if child := os.fork():
        return child
    elastic = {"RUN_ID": "together", "RESTART_COUNT": "0", "USE_AGENT_STORE": "True"}
    os.environ |= {f"TORCHELASTIC_{name}": value for name, value in elastic.items()}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": os.read(port, 5).decode()}
    try:
        train(folder, changes)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def start(folder: Path, count: int, changes: Mapping[str, Any]) -> int:
    """How many processes failed. This one keeps the store in which they meet, as torchrun does."""
    importlib.import_module("torch._dynamo")  # as the optimisers do
    digits()
    assert threading.active_count() == 1
    port, told = os.pipe()
    children = [fork(folder, changes, rank, count, port) for rank in range(count)]
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    os.write(told, f"{store.port:05}".encode() * count)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        sys.exit(start(folder, int(sys.argv[2]), json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}))
    train(folder)


if __name__ == "__main__":
    main()
