"""What the workers of tests/tuning/test_crew.py do: functions of a module, for the process that runs them imports it."""

import os
import signal
import time

import torch

from src.core.errors import UserError
from src.tuning.pool import Speak


def tell_threads_and_gpu(speak: Speak, word: str) -> None:
    speak((word, torch.get_num_threads(), os.environ.get("CUDA_VISIBLE_DEVICES")))


def talk_for_ever(speak: Speak) -> None:
    speak(os.getpid())
    while True:
        speak("x" * 10_000)  # a pipe that nobody reads is soon full
        time.sleep(0.001)


def die(speak: Speak) -> None:
    speak(os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def end_with_a_sentence(speak: Speak) -> None:
    raise UserError("the classifier is missing")


def end_with_an_accident(speak: Speak) -> None:
    raise ZeroDivisionError("division by zero")
