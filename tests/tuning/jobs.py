"""The functions of the worker processes in test_workers.py, which import this module."""

import json
import os
import signal
from pathlib import Path

import torch

from src.core import interrupts
from src.core.errors import UserError
from src.tuning.workers import Poll


def write_threads_and_gpu(name: str, poll: Poll, folder: Path) -> None:
    (folder / name).write_text(json.dumps([torch.get_num_threads(), os.environ.get("CUDA_VISIBLE_DEVICES")]))


def poll_until_stopped(name: str, poll: Poll, folder: Path) -> None:
    (folder / name).write_text(str(os.getpid()))
    try:
        while True:
            poll(False)
            interrupts.check()
    finally:
        (folder / f"{name}.stopped").touch()


def die(name: str, poll: Poll) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(name: str, poll: Poll) -> None:
    raise UserError("the classifier is missing")


def fail(name: str, poll: Poll) -> None:
    raise ZeroDivisionError("division by zero")
