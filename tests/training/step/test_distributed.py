import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from src.core.device import DeviceContext
from src.core.errors import UserError
from src.training.engine import Engine
from src.training.step.distributed import DistributedContext, Draws
from tests.training import together
from tests.training.digits import digits, tiny

ROOT = Path(__file__).parents[3]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def run(folder: Path, *launcher: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What each of two processes has written."""
    for old in folder.glob("*.json"):
        old.unlink()
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "tests.training.together", str(folder), *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return written(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of a training of two processes that nobody has interrupted."""
    return run(tmp_path_factory.mktemp("whole"), options=("2",))


def assert_close(rows: list[dict[str, float]], expected: list[dict[str, float]], tolerance: float = 1e-5) -> None:
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row == pytest.approx(other, rel=tolerance)


def test_two_processes_train_as_one(whole: list[dict[str, Any]], tmp_path: Path) -> None:
    together.train(tmp_path)
    (alone,) = written(tmp_path)
    first, second = whole
    assert (alone["size"], first["size"], second["size"]) == (1, 2, 2)
    assert len(alone["losses"]) == 20
    assert_close(first["losses"], alone["losses"])
    assert_close(first["scores"], alone["scores"])
    # All have the same networks to the bit, and one of them speaks.
    for name in ("generator", "discriminator", "losses", "scores", "best"):
        assert first[name] == second[name]
    assert (first["losses_at"], first["scores_at"]) == (list(range(1, 21)), [10, 20])
    assert (second["losses_at"], second["scores_at"]) == ([], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"model.family": "dcgan", "model.width": 8, "train.lr_generator": 1e-4, "train.lr_discriminator": 1e-4},
        {"train.augment": ["translation", "cutout"], "train.augment_target": 0.2, "train.augment_kimg": 1},
    ],
    ids=["batch norm", "adaptive augmentation"],
)
def test_so_do_batch_norm_and_adaptive_augmentation(changes: dict[str, Any], tmp_path: Path) -> None:
    """Both depend on the whole batch."""
    first, second = run(tmp_path, options=("2", json.dumps(changes)))
    (tmp_path / "alone").mkdir()
    together.train(tmp_path / "alone", changes)
    (alone,) = written(tmp_path / "alone")
    assert len(alone["losses"]) == 20
    assert_close(first["losses"], alone["losses"], 1e-3)
    for name in ("generator", "discriminator", "losses", "scores", "best"):
        assert first[name] == second[name]


@pytest.mark.slow
def test_a_signal_to_one_ends_both_and_they_go_on_together(whole: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "term").touch()
    stopped = run(tmp_path, *TORCHRUN)
    assert [one["stopped"] for one in stopped] == [signal.SIGTERM] * 2
    (tmp_path / "term").unlink()
    first, second = run(tmp_path, *TORCHRUN)
    assert first["losses_at"] == list(range(11, 21))
    for name in ("generator", "discriminator", "losses", "scores", "best"):
        assert first[name] == second[name] == whole[0][name]


def test_a_batch_that_cannot_be_split_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DistributedContext, "join", lambda device: DistributedContext(0, 3))
    split = digits().train
    with pytest.raises(
        UserError, match=r"train\.batch_size 50 cannot be split over 3 processes; it must be a multiple of 3"
    ):
        Engine(tiny(), split.images, split.labels, 10)


def test_steps_of_several_processes_are_not_captured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(DistributedContext, "join", lambda device: DistributedContext(0, 2))
    monkeypatch.setattr(DistributedContext, "parallel", lambda self, network: network)
    monkeypatch.setattr(DeviceContext, "graphs", True)
    split = digits().train
    engine = Engine(tiny(), split.images, split.labels, 10)
    assert engine._graphed_step is None
    assert capsys.readouterr().out == "2 processes train together: steps are not captured as CUDA graphs\n"
    with pytest.raises(UserError, match=r"train\.compile is graph, but steps of 2 processes are not captured"):
        Engine(tiny(train__compile="graph"), split.images, split.labels, 10)


def test_alone_every_call_is_the_identity() -> None:
    distributed = DistributedContext()
    whole = torch.arange(4.0)
    assert distributed.is_first
    assert torch.equal(distributed.share(whole), whole)
    assert torch.equal(distributed.mean(whole), whole)
    assert distributed.from_first(lambda: 3) == 3
    assert distributed.gather("x") == ["x"]


def test_the_shares_of_two_processes_are_the_draws_of_one() -> None:
    def made(distributed: DistributedContext, count: int) -> list[torch.Tensor]:
        draws = Draws(torch.Generator().manual_seed(3), distributed)
        return [draws.normal(count, 5), draws.uniform(count, 1, 1, 1), draws.normal(count)]

    whole = made(DistributedContext(), 6)
    parts = [made(DistributedContext(rank, 2), 3) for rank in (0, 1)]
    for one, *shares in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat(shares), one)


def test_what_is_drawn_has_its_distribution() -> None:
    draws = Draws(torch.Generator().manual_seed(0), DistributedContext())
    uniform, normal = draws.uniform(20_000), draws.normal(20_000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
