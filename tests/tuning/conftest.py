import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import BaseStorage
from torch import nn

from src.config.params import Params, parse_params
from src.training.loop import TrainingData
from src.tuning.space import draw
from src.tuning.storage import open_storage
from src.tuning.study import fingerprint, open_study
from src.tuning.trial import Job, Setting, trial_params
from tests.conftest import ROOT

TINY: dict[str, Any] = {
    "model": {"family": "mlp", "hidden_sizes": [16], "latent_size": 4},
    "train": {"device": "cpu", "batch_size": 32, "score_samples": 20},
    "tune": {
        "kimg": 0.64,
        "score_every_kimg": 0.16,
        "space": {
            "train.lr_generator": {"low": 1e-4, "high": 1e-1, "log": True},
            "model.latent_size": {"low": 2, "high": 8},
        },
    },
}


@pytest.fixture
def params() -> Params:
    return parse_params(TINY, "test")


@pytest.fixture
def storage(place: Path) -> BaseStorage:
    return open_storage(None)


@pytest.fixture
def study(storage: BaseStorage, params: Params) -> optuna.Study:
    return open_study(params, fingerprint(params, "data", "classifier"), storage)


def ask(study: optuna.Study, params: Params) -> optuna.Trial:
    """A trial with its values."""
    trial = study.ask()
    draw(trial, params)
    return trial


def fill(study: optuna.Study, params: Params, scores: list[float | None]) -> None:
    """A trial a score; None is a pruned one, after a report of 0.5."""
    for score in scores:
        trial = ask(study, params)
        if score is None:
            trial.report(0.5, 1)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score)


def weight_judge(generator: nn.Module) -> Mapping[str, float]:
    """A score that depends on the training, and costs nothing."""
    total = sum(float(parameter.abs().sum()) for parameter in generator.parameters())
    return {"score": total, "coverage": 0.5}


def scripted_judge(*scores: float) -> Callable[[nn.Module], Mapping[str, float]]:
    """The given scores, one a call, whatever the generator."""
    script: Iterator[float] = iter(scores)
    return lambda generator: {"score": next(script), "coverage": 0.5}


def training_data(judge: Callable[[Any], Mapping[str, float]]) -> TrainingData:
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TrainingData(images, torch.arange(64) % 10, 10, judge)


def setting(params: Params, judge: Callable[[Any], Mapping[str, float]], parent: str) -> Setting:
    """That of a worker named me, whose trials are runs of ``parent``."""
    return Setting(
        Job(params, None, "default", "default", 1, math.inf, "tiny tuning", parent, {"seed": "0"}),
        lambda trial: trial_params(params, draw(trial, params)),
        training_data(judge),
        lambda params: {name: str(value) for name, value in params.flat().items()},
        "me",
        lambda ended: None,
    )


KILLED = """
import os, sys
from src.tuning.storage import alive
with alive(sys.argv[1]):
    print("alive", flush=True)
    input()
    os.kill(os.getpid(), 9)
"""
"""A worker, given by name, that is killed as soon as it reads a line."""


@contextmanager
def worker_process(name: str) -> Iterator[Callable[[], None]]:
    """A process that is the worker ``name``, and a function that kills it."""
    command = [sys.executable, "-c", KILLED, name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "alive\n"

        def kill() -> None:
            process.communicate("\n")
            assert process.returncode == -9

        try:
            yield kill
        finally:
            process.kill()
