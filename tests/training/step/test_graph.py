"""On a GPU only: the captured step does what the uncaptured one does."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from src.core.device import resolve
from src.networks.weights import content_hash
from src.training.checkpoint import Checkpoints
from src.training.engine import Engine
from src.training.loop import fit
from src.training.recorder import Recorder
from src.training.step.adversarial import Kind
from tests.networks.tiny import FAMILIES
from tests.training.digits import digits, tiny
from tests.training.resumed import training_data

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def engine(compile_: str, family: str, precision: str = "float32") -> Engine:
    changes: dict[str, Any] = {"model__family": family, "model__width": 8, "train__kimg": 5, "train__batch_size": 48}
    split = digits().train
    ours = tiny(**changes, train__device="cuda", train__compile=compile_, train__precision=precision)
    return Engine(ours, split.images, split.labels, 10)


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


def test_bfloat16_trains(tmp_path: Path) -> None:
    result = fit(tiny(train__device="cuda", train__precision="bfloat16"), training_data(), Recorder())
    assert all(math.isfinite(value) for row in result.history.losses for value in row.values())
