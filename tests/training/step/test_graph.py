"""Capture with a fake GPU, and on a GPU: the captured step does what the uncaptured one does."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.config.params import Train
from src.core.device import resolve
from src.core.errors import UserError
from src.data import batches
from src.networks.weights import content_hash
from src.training.checkpoint import Checkpoints
from src.training.engine import Engine
from src.training.loop import fit
from src.training.recorder import Recorder
from src.training.step.adversarial import AdversarialStep, Kind
from src.training.step.graph import GraphedStep
from tests.networks.tiny import FAMILIES, batch, pair
from tests.training.digits import digits, tiny
from tests.training.resumed import training_data

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class FakeStream:
    def wait_stream(self, other: Any) -> None:
        pass


class FakeCuda:
    """In place of torch.cuda: it notes how graphs are captured. As on a GPU, nothing is computed during a capture."""

    def __init__(self) -> None:
        self.captures: list[dict[str, Any]] = []
        self.on: FakeStream | None = None
        self.capturing = False
        self.end: Exception | None = None
        self.default = FakeStream()
        self.pools = 0
        self.calls: list[tuple[str, float]] = []

    def step(self, images: torch.Tensor, labels: torch.Tensor, kind: Any) -> None:
        self.calls.append(("captured" if self.capturing else "run", float(images.sum())))
        if kind == "waits":
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        if kind == "large" and self.capturing:
            raise torch.OutOfMemoryError("2 GiB")

    def new_graph(self) -> Any:
        return SimpleNamespace(
            register_generator_state=lambda one: None,
            replay=lambda: self.calls.append(("replayed", 0.0)),
        )

    @contextmanager
    def graph(self, graph: Any, **how: Any) -> Iterator[None]:
        self.captures.append(how)
        self.capturing = True
        try:
            yield
        finally:
            self.capturing = False
            if self.end is not None:
                raise self.end

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.on = stream
        yield
        self.on = None

    def current_stream(self) -> FakeStream:
        return self.default

    def graph_pool_handle(self) -> int:
        self.pools += 1
        return self.pools


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", fake.new_graph)
    for name in ("graph", "stream", "current_stream", "graph_pool_handle"):
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    return fake


def call(graphed: GraphedStep, kind: str, count: int) -> None:
    for number in range(count):
        graphed(torch.full((2, 1, 2, 2), float(number)), torch.zeros(2, dtype=torch.int64), kind)


def test_three_steps_of_a_kind_are_run_then_one_is_captured_and_replayed(cuda: FakeCuda) -> None:
    graphed = GraphedStep(cuda.step, [torch.Generator()])
    call(graphed, "plain", 6)
    assert cuda.calls == [("run", 0.0), ("run", 8.0), ("run", 16.0), ("captured", 24.0), *[("replayed", 0.0)] * 3]
    call(graphed, "penalised", 4)
    # One stream and one pool for all, and another thread may allocate memory.
    first, second = cuda.captures
    assert first == second
    assert (first["pool"], first["stream"], first["capture_error_mode"]) == (1, graphed._stream, "thread_local")
    graphed.reset()
    call(graphed, "plain", 4)
    assert [how["pool"] for how in cuda.captures] == [1, 1, 2]


@pytest.mark.parametrize("end", [None, RuntimeError("operation failed due to a previous error during capture")])
def test_a_step_that_cannot_be_captured_is_an_error_with_the_reason(cuda: FakeCuda, end: Exception | None) -> None:
    graphed = GraphedStep(cuda.step, [])
    graphed._calls["waits"] = 3
    cuda.end = end
    with pytest.raises(UserError) as caught:
        call(graphed, "waits", 1)
    assert str(caught.value) == (
        "the training step cannot be captured as a CUDA graph (operation not permitted when stream is capturing); "
        "set train.compile to none"
    )


@pytest.mark.parametrize("end", [None, RuntimeError("operation failed due to a previous error during capture")])
def test_too_little_memory_is_called_so(cuda: FakeCuda, end: Exception | None) -> None:
    graphed = GraphedStep(cuda.step, [])
    call(graphed, "large", 3)
    cuda.end = end
    with pytest.raises(torch.OutOfMemoryError, match="2 GiB"):
        call(graphed, "large", 1)


def test_a_failed_step_leaves_the_weights_trainable(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, discriminator = pair()
    step = AdversarialStep(generator, discriminator, Train(), 10)

    def fail(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("2 GiB")

    monkeypatch.setattr(step, "_train_generator", fail)
    images, labels, latents = batch()
    with pytest.raises(torch.OutOfMemoryError):
        step(0, images, labels, latents)
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def engine(compile_: str, family: str, precision: str = "float32") -> Engine:
    changes: dict[str, Any] = {"model__family": family, "model__width": 8, "train__kimg": 5, "train__batch_size": 48}
    split = digits().train
    ours = tiny(**changes, train__device="cuda", train__compile=compile_, train__precision=precision)
    return Engine(ours, split.images, split.labels, 10)


@on_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_replayed_steps_are_the_same_steps(family: str, precision: str) -> None:
    captured, plain = engine("graph", family, precision), engine("none", family, precision)
    for _ in range(4):
        for one in (captured, plain):
            for _ in range(20):
                one.advance()
        found, expected = captured.end_interval(), plain.end_interval()
        assert found.steps == found.finite_steps == 20
        assert found.means == pytest.approx(expected.means, rel=0.05, abs=0.02)
    assert captured._graphed_step is not None
    assert {isinstance(kind, Kind) and kind.penalises for kind in captured._graphed_step._graphs} == {False, True}
    assert plain._graphed_step is None


@on_gpu
@pytest.mark.parametrize("compile_", ["graph", "none"])
def test_a_deterministic_training_resumes_to_the_bit(tmp_path: Path, compile_: str) -> None:
    ours = tiny(model__family="dcgan", model__width=8, train__device="cuda", train__compile=compile_, train__kimg=3)
    ours = ours.replace({"train.deterministic": True})
    resolve(ours.train)
    try:

        class Crash(Recorder):
            def losses(self, progress: Any, values: Any) -> None:
                if progress.step == 30:
                    raise ZeroDivisionError

        whole = fit(ours, training_data(), Recorder())
        often = ours.replace({"train.checkpoint_minutes": 1e-5})
        with pytest.raises(ZeroDivisionError):
            fit(often, training_data(), Crash(), Checkpoints(tmp_path))
        again = fit(often, training_data(), Recorder(), Checkpoints(tmp_path))
        assert content_hash(again.generator) == content_hash(whole.generator)
    finally:
        torch.use_deterministic_algorithms(False)


@on_gpu
def test_streamed_batches_arrive_while_a_step_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ON_DEVICE_SHARE", 0.0)
    streamed = engine("graph", "dcgan")
    assert isinstance(streamed.batches, batches.StreamedBatches)
    for _ in range(30):
        streamed.advance()
    found = streamed.end_interval()
    assert found.steps == found.finite_steps == 30


@on_gpu
def test_bfloat16_trains(tmp_path: Path) -> None:
    result = fit(tiny(train__device="cuda", train__precision="bfloat16"), training_data(), Recorder())
    assert all(math.isfinite(value) for row in result.history.losses for value in row.values())
