"""The one training function. The train stage, the tuner, the benchmarks and the tests call it."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from src import interrupts
from src.datasets.on_device import OnDeviceImages
from src.networks.description import build_pair
from src.networks.interface import Discriminator, Generator
from src.networks.sampling import generate
from src.params import Params
from src.training.recorder import Progress, Recorder
from src.training.step import COUNTERS, AdversarialStep

GRID_SEED = 1_000_000_007
GRID_COLUMNS = 10


class TrainingDiverged(Exception):
    """A loss is no longer a finite number."""


@dataclass(frozen=True)
class TrainingData:
    """What a training needs besides its parameters."""

    images: Tensor
    """training images, uint8 (N, C, H, W), on the device that trains"""
    labels: Tensor
    """int64 (N,), on the same device"""
    class_count: int
    judge: Callable[[Generator], Mapping[str, float]]
    """Scores a generator on the validation split; the entry ``score`` is minimised."""


@dataclass(frozen=True)
class FitResult:
    """The networks at the best validation score, and how the training went."""

    generator: Generator
    """the averaged generator, in evaluation mode, on the CPU"""
    discriminator: Discriminator
    best: Mapping[str, float]
    """validation scores of ``generator`` and the step they were taken at"""
    losses: list[dict[str, float]]
    """a row a log interval: step, kimg, seconds, losses, the discriminator's accuracies, learning rates, images/s"""
    scores: list[dict[str, float]]
    """a row a validation score: step, kimg, seconds, and what the judge returns"""
    images_per_second: float
    stopped: str | None
    """why the training ended before ``train.kimg``, if it did"""


def fit(params: Params, data: TrainingData, recorder: Recorder) -> FitResult:
    """Train a GAN for ``train.kimg`` thousand real images, or until the recorder or early stopping ends it.

    All random numbers come from ``train.seed``. Raises TrainingDiverged when a loss is NaN or infinite.
    """
    return _Training(params, data, recorder).run()


@dataclass
class _Best:
    scores: dict[str, float] = field(default_factory=lambda: {"score": math.inf})
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    checks_since: int = 0


class _Training:
    """The state of one training, from the first weights to the result."""

    def __init__(self, params: Params, data: TrainingData, recorder: Recorder) -> None:
        self.params, self.data, self.recorder = params, data, recorder
        train, self.device = params.train, data.images.device
        torch.manual_seed(train.seed)  # weights and dropout; batches and latents have generators of their own
        self.latent_rng = torch.Generator(self.device).manual_seed(train.seed)
        self.batches = OnDeviceImages(data.images, data.labels, self.device, torch.Generator().manual_seed(train.seed))
        self.steps = max(1, round(train.kimg * 1000 / train.batch_size))
        shape = {"class_count": data.class_count, "channels": data.images.shape[1], "image_size": data.images.shape[2]}
        generator, discriminator = build_pair(
            params.model.family, **params.model.model_dump(exclude={"family"}), **shape
        )
        # Convolutions are faster with the channels last, on a CPU as on a GPU; it changes nothing for linear layers.
        self.step = AdversarialStep(
            generator.to(self.device, memory_format=torch.channels_last),  # type: ignore[call-overload]
            discriminator.to(self.device, memory_format=torch.channels_last),  # type: ignore[call-overload]
            train,
            self.steps,
        )
        self.losses: list[dict[str, float]] = []
        self.scores: list[dict[str, float]] = []
        self.best = _Best()
        self.started = time.perf_counter()

    def run(self) -> FitResult:
        train = self.params.train
        log_every, score_every = (self._in_steps(kimg) for kimg in (train.log_every_kimg, train.score_every_kimg))
        # Whole logging intervals, or a score would leave behind an average over a step or two.
        score_every = max(1, round(score_every / log_every)) * log_every if score_every > log_every else score_every
        self.recorder.samples(self._progress(0), self._grid())
        counters, since, mark = torch.zeros(len(COUNTERS), device=self.device), 0, time.perf_counter()
        training_seconds, stopped = 0.0, None
        for done in range(1, self.steps + 1):
            interrupts.check()
            real, labels = self.batches.next_batch(train.batch_size)
            latents = torch.randn(
                train.batch_size, self.params.model.latent_size, generator=self.latent_rng, device=self.device
            )
            counters += self.step(done - 1, real.contiguous(memory_format=torch.channels_last), labels, latents)
            since += 1
            # The last score is at the end; one that falls just before it would tell nothing more.
            score_now = done == self.steps or (done % score_every == 0 and self.steps - done > score_every / 2)
            if done % log_every == 0 or score_now:
                values = (counters / since).tolist()  # the only place where the loop waits for the device
                elapsed = time.perf_counter() - mark
                training_seconds += elapsed
                self._log(done, values, since * train.batch_size / elapsed)
                if score_now:
                    stopped = self._score(done)
                counters, since, mark = torch.zeros_like(counters), 0, time.perf_counter()
            if stopped:
                break
        return self._result(done * train.batch_size / training_seconds, stopped)

    def _log(self, done: int, values: list[float], rate: float) -> None:
        row = dict(zip(COUNTERS, values, strict=True))
        for name, value in row.items():
            if not math.isfinite(value):
                raise TrainingDiverged(f"{name} is {value} at step {done} of {self.steps}")
        for name, schedule in zip(("lr_generator", "lr_discriminator"), self.step.schedules, strict=True):
            row[name] = float(schedule.get_last_lr()[0])
        row["images_per_second"] = rate
        progress = self._progress(done)
        self.losses.append({**_place(progress), **row})
        self.recorder.losses(progress, row)

    def _score(self, done: int) -> str | None:
        """Take the validation scores, keep the best networks, and say why to stop, if so."""
        scores = dict(self.data.judge(self.step.average.network))
        if not math.isfinite(scores["score"]):
            raise TrainingDiverged(f"the validation score is {scores['score']} at step {done} of {self.steps}")
        progress = self._progress(done)
        self.scores.append({**_place(progress), **scores})
        if scores["score"] < self.best.scores["score"]:
            networks = self.step.average.network, self.step.discriminator
            generator, discriminator = (copy.deepcopy(network.state_dict()) for network in networks)
            self.best = _Best({**scores, "step": done}, generator, discriminator)
        else:
            self.best.checks_since += 1
        self.recorder.scores(progress, scores)
        self.recorder.samples(progress, self._grid())
        patience = self.params.train.patience
        if done == self.steps:
            return None
        if patience and self.best.checks_since >= patience:
            return f"no better validation score in {patience} checks"
        return self.recorder.stop_reason()

    def _grid(self) -> Tensor:
        """Ten images a class from fixed latents, which are the same in each column."""
        classes = self.data.class_count
        labels = torch.arange(classes).repeat_interleave(GRID_COLUMNS)
        seeds = GRID_SEED + torch.arange(GRID_COLUMNS).repeat(classes)
        return generate(self.step.average.network, labels, seeds)

    def _in_steps(self, kimg: float) -> int:
        return max(1, round(kimg * 1000 / self.params.train.batch_size))

    def _progress(self, done: int) -> Progress:
        images = done * self.params.train.batch_size
        return Progress(done, self.steps, images, time.perf_counter() - self.started)

    def _result(self, rate: float, stopped: str | None) -> FitResult:
        self.step.average.network.load_state_dict(self.best.generator)
        self.step.discriminator.load_state_dict(self.best.discriminator)
        generator, discriminator = self.step.average.network, self.step.discriminator
        for network in (generator, discriminator):
            network.eval().cpu().to(memory_format=torch.contiguous_format)
        return FitResult(generator, discriminator, self.best.scores, self.losses, self.scores, rate, stopped)


def _place(progress: Progress) -> dict[str, float]:
    return {"step": progress.step, "kimg": progress.images / 1000, "seconds": progress.seconds}
