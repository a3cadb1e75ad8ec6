"""A training that is interrupted, in whatever way, ends as one that is not: the same bits and the same history."""

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from src.config.params import Params
from src.core import interrupts
from src.training.checkpoint import Checkpoints
from src.training.engine import Engine
from src.training.health import TrainingDiverged
from src.training.loop import fit
from src.training.recorder import Progress, Recorder
from tests.training.resumed import WRITES, params, summary, training_data

ROOT = Path(__file__).parent.parent.parent


def run(folder: Path, result: Path, **options: Any) -> list[int]:
    """The statuses of the processes that were to die."""
    command = [sys.executable, "-m", "tests.training.resumed", str(folder), str(result), json.dumps(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    statuses: list[int] = json.loads(done.stdout.splitlines()[-1])
    return statuses


@cache
def whole(kimg: float) -> dict[str, Any]:
    """What comes out of the training when nobody interrupts it."""
    with tempfile.TemporaryDirectory() as name:
        found = summary(fit(params({"train.kimg": kimg}), training_data(), Recorder(), Checkpoints(Path(name))))
    result: dict[str, Any] = json.loads(json.dumps(found))
    assert len(result["losses"]) == 2 * kimg
    assert result["best"]["step"] < 20 * kimg
    return result


def check_kills(tmp_path: Path, kimg: float, kills: int, latest: float) -> None:
    """Kill at random times up to ``latest`` seconds, the start-up included, and in each place of a write."""
    source = random.Random(kills)
    deaths: list[float | str] = [source.uniform(0.02, latest) for _ in range(kills - len(WRITES))]
    for place in WRITES:
        deaths.insert(source.randrange(len(deaths)), place)
    result = tmp_path / "result.json"
    statuses = run(tmp_path / "checkpoints", result, attempts=deaths, **{"train.kimg": kimg})
    assert statuses == [128 + signal.SIGKILL] * kills, "the training is too short for so many kills"
    assert json.loads(result.read_text(encoding="utf-8")) == whole(kimg)


def test_kills_at_random_points_change_no_bit(tmp_path: Path) -> None:
    check_kills(tmp_path, kimg=20, kills=8, latest=0.15)


@pytest.mark.slow
def test_fifty_kills_change_no_bit(tmp_path: Path) -> None:
    check_kills(tmp_path, kimg=200, kills=50, latest=0.2)


class At(Recorder):
    """Does something when the losses of a step are recorded, and notes what it hears."""

    def __init__(self, step: int = 0, action: Callable[[], None] = lambda: None) -> None:
        self.step, self.action = step, action
        self.steps: list[int] = []
        self.resumed_at: int | None = None
        self.events: list[tuple[int, str, str]] = []

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        self.steps.append(progress.step)
        if progress.step == self.step:
            self.action()

    def event(self, progress: Progress, kind: str, message: str) -> None:
        self.events.append((progress.step, kind, message))

    def resumed(self, progress: Progress) -> None:
        self.resumed_at = progress.step


def short(**changes: Any) -> Params:
    """Sixty steps; checkpoints only where one is asked for."""
    return params({"train.kimg": 3, "train.checkpoint_minutes": 60, **changes})


@pytest.fixture(autouse=True)
def _signals_are_not_ignored() -> Iterator[None]:
    """Where the tests themselves run in the background, SIGINT may be ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_a_signal_saves_and_ends_and_the_next_call_goes_on(tmp_path: Path, number: int, family: str) -> None:
    ours = short(**{"model.family": family, "model.width": 4, "train.kimg": 2})
    expected = summary(fit(ours, training_data(), Recorder()))
    with pytest.raises(interrupts.Stopped, match=f"stopped by {interrupts.describe(number)}"):
        fit(ours, training_data(), At(20, send(number)), Checkpoints(tmp_path))
    state = Checkpoints(tmp_path).load()
    assert state is not None
    assert state["engine"]["done"] == 20
    rest = At()
    assert summary(fit(ours, training_data(), rest, Checkpoints(tmp_path))) == expected
    assert (rest.resumed_at, rest.steps) == (20, [30, 40])
    assert signal.getsignal(number) is not interrupts._note


def test_sigusr1_saves_and_goes_on(tmp_path: Path) -> None:
    expected = summary(fit(short(), training_data(), Recorder()))
    steps: list[int] = []

    class Noting(Checkpoints):
        def save(self, state: Mapping[str, Any], *, rollback_point: bool = False) -> None:
            steps.append(state["engine"]["done"])
            super().save(state, rollback_point=rollback_point)

    result = fit(short(), training_data(), At(20, send(signal.SIGUSR1)), Noting(tmp_path))
    assert summary(result) == expected
    assert steps == [0, 20, 60]


def test_without_checkpoints_a_signal_still_ends_the_training() -> None:
    with pytest.raises(interrupts.Stopped):
        fit(short(), training_data(), At(20, send(signal.SIGTERM)))


def test_time_makes_checkpoints(tmp_path: Path) -> None:
    def crash() -> None:
        raise ZeroDivisionError

    ours = short(**{"train.checkpoint_minutes": 0.001 / 60})
    with pytest.raises(ZeroDivisionError):
        fit(ours, training_data(), At(30, crash), Checkpoints(tmp_path))
    state = Checkpoints(tmp_path).load()
    assert state is not None
    assert state["engine"]["done"] == 29


def test_what_has_ended_is_not_done_again(tmp_path: Path) -> None:
    first = fit(short(), training_data(), Recorder(), Checkpoints(tmp_path))
    again = At()
    assert summary(fit(short(), training_data(), again, Checkpoints(tmp_path))) == summary(first)
    assert (again.resumed_at, again.steps) == (60, [])


def test_a_checkpoint_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill() -> None:
        monkeypatch.setattr(os, "fsync", full)
        os.kill(os.getpid(), signal.SIGUSR1)

    expected = summary(fit(short(), training_data(), Recorder()))
    result = fit(short(), training_data(), At(20, fill), Checkpoints(tmp_path))
    assert summary(result) == expected
    told = capsys.readouterr().err
    assert "No space left on device; training continues, and the previous checkpoint is kept" in told
    state = Checkpoints(tmp_path).load()
    assert state is not None
    assert state["engine"]["done"] == 0


class Poison:
    """Makes a weight of the generator NaN after some steps, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: list[int]) -> None:
        real, left = Engine.advance, list(steps)

        def advance(engine: Engine) -> None:
            real(engine)
            if left and engine.done == left[0]:
                left.pop(0)
                with torch.no_grad():
                    next(engine.step.generator.parameters())[0, 0] = torch.nan

        monkeypatch.setattr(Engine, "advance", advance)


SCORED = {"train.score_every_kimg": 1, "train.lr_decay_from": 1.0}
"""three scores, each of them a rollback point: after 20, 40 and 60 steps"""


def test_a_nan_goes_back_to_the_last_score_with_halved_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint of step 30 is newer, but a signal has made it; another time it may be the clock."""
    Poison(monkeypatch, [34])
    recorder = At(30, send(signal.SIGUSR1))
    result = fit(short(**SCORED), training_data(), recorder, Checkpoints(tmp_path))
    rollbacks = [event for event in recorder.events if event[1] == "rollback"]
    ((step, _, message),) = rollbacks
    assert step == 20
    assert re.match(r"loss_\w+ is nan since step 35 of 60 \(not finite now: generator\.", message), message
    assert message.endswith("; back to step 20 with halved learning rates (1 of 3)")
    assert {"step": 20, "kind": "rollback", "message": message} in result.history.events
    # The history is that of the way that led to the end.
    assert [row["step"] for row in result.history.losses] == [10, 20, 30, 40, 50, 60]
    base = short().train.lr_generator
    rates = [row["lr_generator"] for row in result.history.losses]
    assert rates == pytest.approx([base, base, base / 2, base / 2, base / 2, base / 2])
    assert all(value.isfinite().all() for value in result.generator.state_dict().values())


def test_a_signal_after_a_nan_does_not_save_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, [31])
    ours = short(**SCORED, **{"train.log_every_kimg": 1, "train.checkpoint_minutes": 0.001 / 60})
    steps: list[int] = []

    class Noting(Checkpoints):
        def save(self, state: Mapping[str, Any], *, rollback_point: bool = False) -> None:
            steps.append(state["engine"]["done"])
            super().save(state, rollback_point=rollback_point)

    result = fit(ours, training_data(), Recorder(), Noting(tmp_path))
    (rollback,) = [event for event in result.history.events if event["kind"] == "rollback"]
    assert rollback["step"] == 20
    assert steps[steps.index(30) + 1] == 20


def test_a_rollback_returns_to_the_same_step_whatever_the_clock_has_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Poison(monkeypatch, [34])
    expected = summary(fit(short(**SCORED), training_data(), Recorder(), Checkpoints(tmp_path / "alone")))
    for name, step in {"before": 10, "after": 30}.items():
        with pytest.raises(interrupts.Stopped):
            fit(short(**SCORED), training_data(), At(step, send(signal.SIGTERM)), Checkpoints(tmp_path / name))
        Poison(monkeypatch, [34])
        often = short(**SCORED, **{"train.checkpoint_minutes": 0.001 / 60})
        assert summary(fit(often, training_data(), Recorder(), Checkpoints(tmp_path / name))) == expected


@pytest.mark.parametrize("allowed", [0, 2])
def test_a_training_that_diverges_too_often_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    Poison(monkeypatch, [5, 5, 5])
    recorder = At()
    with pytest.raises(TrainingDiverged) as caught:
        fit(short(**{"train.max_rollbacks": allowed}), training_data(), recorder, Checkpoints(tmp_path))
    assert [event[0] for event in recorder.events if event[1] == "rollback"] == [0] * allowed
    assert re.match(r"loss_\w+ is nan since step 6 of 60 ", str(caught.value))
    again = f", after {allowed} rollbacks with halved learning rates"
    assert str(caught.value).endswith(again if allowed else ")")


def test_a_killed_training_remembers_its_halved_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Poison(monkeypatch, [5])
    ours = short(**{"train.lr_decay_from": 1.0})
    with pytest.raises(interrupts.Stopped):
        fit(ours, training_data(), At(20, send(signal.SIGTERM)), Checkpoints(tmp_path))
    result = fit(ours, training_data(), Recorder(), Checkpoints(tmp_path))
    assert result.history.losses[-1]["lr_generator"] == pytest.approx(ours.train.lr_generator / 2)
    assert [event["step"] for event in result.history.events if event["kind"] == "rollback"] == [0]
