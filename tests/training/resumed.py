"""A small training that can be killed: run as a process by the tests of resuming.

``python -m tests.training.resumed FOLDER RESULT [JSON]`` trains with checkpoints in FOLDER and writes what came out to RESULT.
JSON holds changes of parameters, and under ``attempts`` a list of ways to die, one a process: seconds after its start, or the
name of a place within the writing of a checkpoint. After each death the training is started again, as a user would, in a
process of its own (forked from this one, which has PyTorch loaded already); the last one is left to end.
"""

import importlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.config.params import Params
from src.networks.interface import Generator
from src.networks.weights import content_hash
from src.sampling.draw import generate
from src.training.checkpoint import Checkpoints
from src.training.loop import FitResult, TrainingData, fit
from src.training.recorder import Recorder
from tests.training.digits import digits, tiny

PARAMS: dict[str, Any] = {
    "model.dropout": 0.3,
    "train.kimg": 30,
    "train.log_every_kimg": 0.5,
    "train.score_every_kimg": 2.5,
    "train.lr_decay_from": 0.5,
    "train.mirror": 0.5,
    "train.checkpoint_minutes": 0.05 / 60,
}
WRITES = {"half written": 0, "written": 1, "renamed": 2}
"""Places within the writing of a checkpoint."""


def looks(generator: Generator, count: int = 20) -> Tensor:
    labels = torch.arange(10).repeat_interleave(count // 10)
    return generate(generator, labels, torch.arange(count)).double() / 255


def judge(generator: Generator) -> dict[str, float]:
    """Depends on every weight, and goes up and down: the best is not the last."""
    images = looks(generator)
    return {"score": float(images.std() * 100 % 1), "mean": float(images.mean())}


def diversity(generator: Generator) -> Tensor:
    spread: Tensor = looks(generator).flatten(1).unflatten(0, (10, 2)).std(dim=(1, 2))
    return spread


def training_data() -> TrainingData:
    return TrainingData(digits().train.images, digits().train.labels, 10, judge, diversity)


def summary(result: FitResult) -> dict[str, Any]:
    """All that must be the same, however often the training was killed."""
    clock = ("seconds", "images_per_second")
    rows = {
        name: [{key: value for key, value in row.items() if key not in clock} for row in rows]
        for name, rows in (("losses", result.history.losses), ("scores", result.history.scores))
    }
    networks = {"generator": content_hash(result.generator), "discriminator": content_hash(result.discriminator)}
    return {**rows, **networks, "events": result.history.events, "best": dict(result.best)}


def params(changes: dict[str, Any] | None = None) -> Params:
    return tiny().replace({**PARAMS, **(changes or {})})


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_within_a_write(place: str) -> None:
    """Arrange for the process to kill itself in the second checkpoint that it writes."""
    real_open, real_fsync, real_replace = Path.open, os.fsync, Path.replace
    count = 0

    def half(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        nonlocal count
        file = real_open(path, mode, *rest, **named)
        if mode != "wb":
            return file
        count += 1
        if count == 2:
            file.write(b"0" * 64 + b"\nhalf of a checkpoint")
            file.flush()
            die()
        return file

    def counted(real: Callable[..., Any], number: int) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            result = real(*arguments)
            if count == number:
                die()
            return result

        return call

    if place == "half written":
        Path.open = half  # type: ignore[assignment,method-assign]
    elif place == "written":
        os.fsync = counted(real_fsync, 3)  # a file and its folder, then a file
    else:
        Path.replace = counted(real_replace, 2)  # type: ignore[method-assign]


def attempt(folder: Path, result: Path, changes: dict[str, Any], death: float | str | None) -> int:
    """Train in a forked process; returns its exit status, 128 + 9 when it was killed."""
    child = os.fork()
    if child:
        started = time.monotonic()
        if isinstance(death, float):
            time.sleep(max(0.0, death - (time.monotonic() - started)))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code
    if isinstance(death, str):
        die_within_a_write(death)
    random.seed(time.time_ns())  # what a fresh process would have: it must not matter
    torch.manual_seed(random.getrandbits(32))
    try:
        found = summary(fit(params(changes), training_data(), Recorder(), Checkpoints(folder)))
        result.write_text(json.dumps(found), encoding="utf-8")
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def main() -> None:
    folder, result = Path(sys.argv[1]), Path(sys.argv[2])
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    deaths = options.pop("attempts", [])
    torch.set_num_threads(1)
    importlib.import_module("torch._dynamo")  # as the optimisers do: a second, longer than any attempt lasts
    digits()
    assert threading.active_count() == 1
    statuses = [attempt(folder, result, options, death) for death in deaths]
    print(json.dumps(statuses), flush=True)
    if not result.exists():
        sys.exit(attempt(folder, result, options, None))


if __name__ == "__main__":
    main()
