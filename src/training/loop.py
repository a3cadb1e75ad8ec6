"""The training function, called by the train stage, the tuner, the benchmarks and the tests."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..config.params import Params
from ..core import interrupts
from ..core.errors import UserError
from ..networks.interface import Discriminator, Generator
from ..sampling.draw import generate
from .checkpoint import Checkpoints
from .engine import Engine, Interval, images_per_step, steps_for
from .health import Health, TrainingDiverged
from .history import History
from .recorder import Progress, Recorder

GRID_SEED = 1_000_000_007
GRID_COLUMNS = 10


@dataclass(frozen=True)
class TrainingData:
    """The inputs of a run besides its parameters."""

    images: Tensor
    """training images, uint8 (N, C, H, W); they need not be on, or fit on, the training device"""
    labels: Tensor
    """int64 (N,)"""
    class_count: int
    judge: Callable[[Generator], Mapping[str, float]]
    """scores a generator on the validation split; the entry ``score`` is minimised"""
    diversity: Callable[[Generator], Tensor] | None = None
    """the diversity of a generator's images by class (K,), 1 for real images; computed at each logging interval"""


@dataclass(frozen=True)
class FitResult:
    """The networks at the best validation score, and the history of the run."""

    generator: Generator
    """the averaged generator, in evaluation mode, on the CPU"""
    discriminator: Discriminator
    history: History
    images_per_second: float
    stopped: str | None
    """why the run ended before ``train.kimg``, if it did"""

    @property
    def best(self) -> Mapping[str, float]:
        """The validation scores of ``generator`` and their step."""
        return self.history.best


def fit(params: Params, data: TrainingData, recorder: Recorder, checkpoints: Checkpoints | None = None) -> FitResult:
    """Train a GAN for ``train.kimg`` thousand real images, or until the recorder or early stopping ends it.

    It runs on ``train.device``, and together with the other processes if ``torchrun`` has started several; only the first
    one scores, records and saves. All random numbers derive from ``train.seed``.

    With ``checkpoints`` the run resumes from the newest one, and is saved at each validation score, every
    ``train.checkpoint_minutes``, and on SIGINT, SIGTERM and SIGUSR1. On divergence (NaN or Inf) it returns to the last
    validation score. Raises TrainingDiverged after ``train.max_rollbacks`` returns (without checkpoints, immediately), and
    interrupts.Stopped on SIGINT and SIGTERM.
    """
    training = _Training(params, data, recorder, checkpoints)
    with interrupts.deferred():
        return training.run()


class _Training:
    """A run from its initial weights or last checkpoint to its result: everything around the steps of the engine."""

    def __init__(self, params: Params, data: TrainingData, recorder: Recorder, checkpoints: Checkpoints | None) -> None:
        train = self.train = params.train
        self.data, self.recorder, self.checkpoints = data, recorder, checkpoints
        self.engine = Engine(params, data.images, data.labels, data.class_count)
        self.distributed, self.steps = self.engine.distributed, self.engine.steps
        self.history, self.health, self.rollbacks = History(), Health(critic=train.loss == "wasserstein"), 0
        self.stopped: str | None = None
        self.log_every, score_every = (
            steps_for(train, kimg) for kimg in (train.log_every_kimg, train.score_every_kimg)
        )
        # Whole logging intervals, so that no logged average covers only a step or two.
        self.score_every = score_every
        if score_every > self.log_every:
            self.score_every = max(1, round(score_every / self.log_every)) * self.log_every
        # In terms of time.perf_counter, moved back by the time spent in earlier processes.
        self.started = self.interval_began = self.saved_at = time.perf_counter()

    def run(self) -> FitResult:
        if not self._resume():
            self._show_grid()
            self._save(rollback_point=True)
        while self.engine.done < self.steps and not self.stopped:
            try:
                self._advance()
            except TrainingDiverged as error:
                self._roll_back(error)
        return self._result()  # the last score has been saved, so a kill after the run loses nothing

    def _advance(self) -> None:
        """One step and everything that is due after it."""
        if self.engine.interval_steps == 0:
            self.interval_began = time.perf_counter()
        self.engine.advance()
        done = self.engine.done
        # The last score is at the end; one shortly before it would be redundant.
        score_now = done == self.steps or (done % self.score_every == 0 and self.steps - done > self.score_every / 2)
        log_now = score_now or done % self.log_every == 0
        if log_now:
            self._log()
        if score_now:
            self._score()
            self._save(rollback_point=True)
        if log_now or self.distributed.size == 1:
            self._save_or_stop()

    def _log(self) -> None:
        """Record the means of the interval and check for alarms. Raises TrainingDiverged if a mean is not finite."""
        interval = self.engine.end_interval()  # the only synchronisation with the device
        seconds = time.perf_counter() - self.interval_began
        self._check_finite(interval)
        self.history.training_seconds += seconds
        values = dict(interval.means)
        rates = self.engine.step.rates.at(self.engine.done)
        values |= dict(zip(("lr_generator", "lr_discriminator"), rates, strict=True))
        values["images_per_second"] = interval.steps * images_per_step(self.train) / seconds
        diversity = self._diversity()
        if diversity is not None:
            values["diversity"] = float(diversity.nanmean())
            values["least_diversity"] = float(diversity.nan_to_num(torch.inf).min())
        progress = self._progress()
        self.history.add_losses(progress, values)
        if self.distributed.is_first:
            self.recorder.losses(progress, values)
        for kind, message in self.health.alarms(values, diversity).items():
            self._event(kind, message)

    def _check_finite(self, interval: Interval) -> None:
        for name, value in interval.means.items():
            if not math.isfinite(value):
                first = self.engine.done - interval.steps + min(interval.finite_steps + 1, interval.steps)
                tensors = self.engine.not_finite()
                where = f" (not finite now: {', '.join(tensors[:3])}{', ...' if len(tensors) > 3 else ''})"
                raise TrainingDiverged(
                    f"{name} is {value} since step {first} of {self.steps}{where if tensors else ''}"
                )

    def _diversity(self) -> Tensor | None:
        measure = self.data.diversity
        if measure is None:
            return None
        diversity: Tensor = self.distributed.from_first(lambda: measure(self.engine.step.average.network))
        return diversity

    def _score(self) -> None:
        """Compute the validation scores, keep the best networks, and decide whether to stop."""
        average, done = self.engine.step.average.network, self.engine.done
        scores = dict(self.distributed.from_first(lambda: self.data.judge(average)))
        if not math.isfinite(scores["score"]):
            raise TrainingDiverged(f"the validation score is {scores['score']} at step {done} of {self.steps}")
        progress = self._progress()
        self.history.add_scores(
            progress, scores, {"generator": average, "discriminator": self.engine.step.discriminator}
        )
        if self.distributed.is_first:
            self.recorder.scores(progress, scores)
        self._show_grid()
        patience = self.train.patience
        if done == self.steps:
            return
        if patience and self.history.checks_since >= patience:
            self.stopped = f"no better validation score in {patience} checks"
        else:
            self.stopped = self.distributed.from_first(self.recorder.stop_reason)

    def _show_grid(self) -> None:
        """Record ten images per class from fixed latents, the same in each column."""
        if self.distributed.is_first:
            classes = self.data.class_count
            labels = torch.arange(classes).repeat_interleave(GRID_COLUMNS)
            seeds = GRID_SEED + torch.arange(GRID_COLUMNS).repeat(classes)
            self.recorder.samples(self._progress(), generate(self.engine.step.average.network, labels, seeds))

    def _event(self, kind: str, message: str) -> None:
        self.history.add_event(self.engine.done, kind, message)
        if self.distributed.is_first:
            self.recorder.event(self._progress(), kind, message)

    def _record_rollback(self) -> None:
        """Record the last event if it is a rollback to this step."""
        last = self.history.events[-1] if self.history.events else {}
        if self.distributed.is_first and (last.get("kind"), last.get("step")) == ("rollback", self.engine.done):
            self.recorder.event(self._progress(), last["kind"], last["message"])

    def _save_or_stop(self) -> None:
        """Save a checkpoint if one is due or a signal has been received; SIGINT and SIGTERM then end the run."""
        minutes = (time.perf_counter() - self.saved_at) / 60
        due = self.distributed.from_first(lambda: minutes >= self.train.checkpoint_minutes)
        signals = self.distributed.gather(interrupts.take())
        if due or any(signals):
            self._save()
        if ends := [number for number in signals if number and number != interrupts.SAVE_ONLY]:
            raise interrupts.Stopped(ends[0])

    def _save(self, *, rollback_point: bool = False) -> None:
        """Write a checkpoint unless a weight is not finite. Failure to write it is only a warning.

        Rollback points, to which the run returns on divergence, are the first step and each validation score: they depend on
        the parameters and not on the clock, which determines the other checkpoints.
        """
        if self.checkpoints is None:
            return
        began = self.saved_at = time.perf_counter()
        if self.engine.not_finite():
            return  # detected at the end of the logging interval
        state = self._state_dict()
        if self.distributed.is_first:
            try:
                self.checkpoints.save(state, rollback_point=rollback_point)
            except UserError as error:
                print(f"warning: {error}; training continues, and the previous checkpoint is kept", file=sys.stderr)
        self.interval_began += time.perf_counter() - began

    def _roll_back(self, error: TrainingDiverged) -> None:
        """Return to the last rollback point with halved learning rates. Raises the error if no rollback is left."""
        allowed, count = self.train.max_rollbacks, self.rollbacks + 1
        checkpoints = self.checkpoints
        state = (
            self.distributed.from_first(checkpoints.rollback_point)
            if checkpoints is not None and count <= allowed
            else None
        )
        if state is None:
            again = f", after {self.rollbacks} rollbacks with halved learning rates"
            raise TrainingDiverged(f"{error}{again if self.rollbacks else ''}") from None
        self._load_state_dict(state)
        self.rollbacks = count
        self.engine.step.rates.scale /= 2
        back = f"back to step {self.engine.done} with halved learning rates ({count} of {allowed})"
        self.history.add_event(self.engine.done, "rollback", f"{error}; {back}")
        # Saved before it is recorded: a run killed in between records it when it resumes.
        self._save(rollback_point=True)
        self._record_rollback()

    def _resume(self) -> bool:
        """Restore the last checkpoint, if there is one."""
        state = self.distributed.from_first(self.checkpoints.load) if self.checkpoints is not None else None
        if state is None:
            return False
        self._load_state_dict(state)
        if self.distributed.is_first:
            self.recorder.resumed(self._progress())
        self._record_rollback()
        return True

    def _state_dict(self) -> dict[str, Any]:
        """All state that the rest of the run depends on. Every process must call it."""
        now = time.perf_counter()
        return {
            "engine": self.engine.state_dict(),
            "history": self.history.state_dict(),
            "health": vars(self.health),
            "rollbacks": self.rollbacks,
            "stopped": self.stopped,
            "interval_seconds": now - self.interval_began,
            "seconds": now - self.started,
        }

    def _load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.engine.load_state_dict(state["engine"])
        self.history.load_state_dict(state["history"])
        self.health = Health(**state["health"])
        self.rollbacks, self.stopped = state["rollbacks"], state["stopped"]
        now = self.saved_at = time.perf_counter()
        self.interval_began, self.started = now - state["interval_seconds"], now - state["seconds"]

    def _progress(self) -> Progress:
        done = self.engine.done
        return Progress(done, self.steps, done * images_per_step(self.train), time.perf_counter() - self.started)

    def _result(self) -> FitResult:
        """The best networks, which are part of the last checkpoint too."""
        generator, discriminator = self.engine.step.average.network, self.engine.step.discriminator
        for name, network in (("generator", generator), ("discriminator", discriminator)):
            network.load_state_dict(self.history.best_networks[name])
            network.eval().cpu().to(memory_format=torch.contiguous_format)
        rate = self.engine.done * images_per_step(self.train) / self.history.training_seconds
        return FitResult(generator, discriminator, self.history, rate, self.stopped)
