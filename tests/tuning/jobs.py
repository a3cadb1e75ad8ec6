"""The functions of the worker processes in test_workers.py, which import this module."""

import os
import signal
import time

import torch

from src.core.errors import UserError
from src.tuning.workers import Tell


def tell_threads_and_gpu(name: str, tell: Tell, word: str) -> None:
    tell((word, torch.get_num_threads(), os.environ.get("CUDA_VISIBLE_DEVICES")))


def tell_for_ever(name: str, tell: Tell) -> None:
    tell(os.getpid())
    while True:
        tell("x" * 10_000)  # a pipe that nobody reads is soon full
        time.sleep(0.001)


def die(name: str, tell: Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(name: str, tell: Tell) -> None:
    raise UserError("the classifier is missing")


def fail(name: str, tell: Tell) -> None:
    raise ZeroDivisionError("division by zero")
