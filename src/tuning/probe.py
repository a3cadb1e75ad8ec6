"""What a trial will cost, from a look of two seconds."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from ..config.params import Params
from ..networks.interface import Generator
from ..training.loop import TrainingData, fit
from ..training.recorder import Progress, Recorder

PROBE_SECONDS = 2.0


@dataclass(frozen=True)
class Cost:
    """How fast this machine is with params.yaml's values."""

    images_per_second: float
    score_seconds: float
    """for one validation score"""

    def trial_seconds(self, params: Params) -> float:
        """Of a whole trial: training and scores."""
        tune = params.tune
        scores = max(1, round(tune.kimg / tune.score_every_kimg))
        return 1000 * tune.kimg / self.images_per_second + scores * self.score_seconds


class _Enough(Exception):
    """The probe has seen what it needs."""


class _Stopwatch(Recorder):
    """Measures the steps after the first logging interval, which warms up."""

    def __init__(self) -> None:
        self.began: tuple[float, int] | None = None
        self.images_per_second = 0.0

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        now = time.perf_counter()
        if self.began is None:
            self.began = now, progress.images
        elif now - self.began[0] >= PROBE_SECONDS:
            self.images_per_second = (progress.images - self.began[1]) / (now - self.began[0])
            raise _Enough


def probe(params: Params, data: TrainingData) -> Cost:
    """Train for two seconds, and take two scores; nothing of it is kept."""
    seconds: list[float] = []

    def timed(generator: Generator) -> Mapping[str, float]:
        began = time.perf_counter()
        scores = data.judge(generator)
        seconds.append(time.perf_counter() - began)
        return scores

    some_steps = 10 * params.train.batch_size / 1000
    short = {"train.log_every_kimg": some_steps, "train.patience": 0}
    endless = params.replace({**short, "train.kimg": 1e9, "train.score_every_kimg": 1e9})
    watch = _Stopwatch()
    with suppress(_Enough):
        fit(endless, data, watch)
    twice = params.replace({**short, "train.kimg": 2 * some_steps, "train.score_every_kimg": some_steps})
    fit(twice, replace(data, judge=timed), Recorder())
    return Cost(watch.images_per_second, min(seconds))
