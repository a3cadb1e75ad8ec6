import math
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from src.config.params import Params
from src.core import interrupts
from src.networks.interface import Generator
from src.networks.weights import content_hash
from src.sampling.draw import generate
from src.training.health import TrainingDiverged
from src.training.loop import GRID_COLUMNS, GRID_SEED, FitResult, fit
from src.training.recorder import Progress, Recorder
from tests.training.digits import judge, tiny, training_data


@dataclass
class Recording(Recorder):
    """Keeps all news, and answers ``stop`` from the second score on."""

    stop: str | None = None
    loss_rows: list[tuple[Progress, dict[str, float]]] = field(default_factory=list)
    score_rows: list[tuple[Progress, dict[str, float]]] = field(default_factory=list)
    grids: list[tuple[Progress, Tensor]] = field(default_factory=list)
    events: list[tuple[int, str, str]] = field(default_factory=list)
    resumed_at: int | None = None

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        self.loss_rows.append((progress, dict(values)))

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        self.score_rows.append((progress, dict(values)))

    def samples(self, progress: Progress, images: Tensor) -> None:
        self.grids.append((progress, images))

    def event(self, progress: Progress, kind: str, message: str) -> None:
        self.events.append((progress.step, kind, message))

    def resumed(self, progress: Progress) -> None:
        self.resumed_at = progress.step

    def stop_reason(self) -> str | None:
        return self.stop if len(self.score_rows) > 1 else None


class Scripted:
    """A judge with its scores in a list; remembers the generators that it has seen."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = list(scores)
        self.seen: list[str] = []

    def __call__(self, generator: Generator) -> dict[str, float]:
        self.seen.append(content_hash(generator))
        return {"score": self.scores[len(self.seen) - 1], "other": float(len(self.seen))}


def train(params: Params, scores: Sequence[float] = (5, 4, 3, 2, 1)) -> FitResult:
    return fit(params, training_data(Scripted(scores)), Recorder())


def timeless(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "images_per_second")} for row in rows
    ]


@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_the_seed_decides_every_bit(family: str) -> None:
    params = tiny(model__family=family, model__width=4, model__dropout=0.2)
    results = []
    for noise, seed in ((1, 0), (2, 0), (3, 1)):
        torch.manual_seed(noise)
        results.append(fit(params.replace({"train.seed": seed}), training_data(judge()), Recorder()))
    first, again, other = results
    for network in ("generator", "discriminator"):
        hashes = [content_hash(getattr(result, network)) for result in results]
        assert hashes[0] == hashes[1] != hashes[2]
    assert timeless(first.history.losses) == timeless(again.history.losses) != timeless(other.history.losses)
    assert timeless(first.history.scores) == timeless(again.history.scores)
    assert first.best == again.best


@pytest.mark.parametrize(("kimg", "batch_size", "steps"), [(0.5, 50, 10), (0.3, 32, 9), (0.25, 32, 8), (0.001, 50, 1)])
def test_kimg_says_how_many_steps_there_are(kimg: float, batch_size: int, steps: int) -> None:
    result = train(tiny(train__kimg=kimg, train__batch_size=batch_size, train__log_every_kimg=0.001))
    assert [row["step"] for row in result.history.losses] == list(range(1, steps + 1))
    assert result.history.losses[-1]["kimg"] == pytest.approx(steps * batch_size / 1000)
    assert result.history.scores[-1]["step"] == steps
    assert result.stopped is None


def test_news_comes_at_its_intervals() -> None:
    recorder = Recording()
    result = fit(tiny(), training_data(Scripted([3, 2])), recorder)
    assert [progress.step for progress, _ in recorder.loss_rows] == [2, 4, 6, 8, 10]
    assert [progress.step for progress, _ in recorder.score_rows] == [4, 10]  # whole logging intervals
    assert [progress.step for progress, _ in recorder.grids] == [0, 4, 10]
    for progress, _ in [*recorder.loss_rows, *recorder.score_rows]:
        assert (progress.steps, progress.images) == (10, 50 * progress.step)
    seconds = [row["seconds"] for row in result.history.losses]
    assert seconds == sorted(seconds)
    assert [values for _, values in recorder.score_rows] == [{"score": 3, "other": 1}, {"score": 2, "other": 2}]
    place = ("step", "kimg", "seconds")
    assert [{name: row[name] for name in row if name not in place} for row in result.history.losses] == [
        values for _, values in recorder.loss_rows
    ]
    assert {row["kimg"]: row["score"] for row in result.history.scores} == {0.2: 3, 0.5: 2}
    assert result.images_per_second > 0


@pytest.mark.parametrize(
    ("every_kimg", "steps"), [(0.05, list(range(1, 11))), (0.15, [4, 10]), (0.2, [4, 10]), (0.3, [6, 10]), (9, [10])]
)
def test_the_end_is_scored_and_nothing_just_before_it(every_kimg: float, steps: list[int]) -> None:
    result = train(tiny(train__score_every_kimg=every_kimg), list(range(20, 0, -1)))
    assert [row["step"] for row in result.history.scores] == steps
    assert result.best["step"] == 10


def test_a_row_is_the_mean_since_the_last_one() -> None:
    every = train(tiny(train__log_every_kimg=0.05)).history.losses
    seldom = train(tiny(train__log_every_kimg=0.2)).history.losses
    assert [row["step"] for row in seldom] == [4, 8, 10]
    for row, steps in zip(seldom, (range(4), range(4, 8), range(8, 10)), strict=True):
        for name in ("loss_discriminator", "loss_generator", "real_accuracy", "fake_accuracy"):
            assert row[name] == pytest.approx(sum(every[step][name] for step in steps) / len(steps), rel=1e-5)


def test_rates_in_the_history_follow_the_schedule() -> None:
    rows = train(
        tiny(
            train__log_every_kimg=0.05,
            train__lr_generator=0.01,
            train__lr_discriminator=0.02,
            train__lr_decay_from=0.5,
        )
    ).history.losses
    factors = [1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0]
    assert [row["lr_generator"] for row in rows] == pytest.approx([0.01 * factor for factor in factors])
    assert [row["lr_discriminator"] for row in rows] == pytest.approx([0.02 * factor for factor in factors])


def test_the_best_networks_are_kept_and_not_the_last() -> None:
    constant = {"train__lr_decay_from": 1.0, "train__score_every_kimg": 0.1}
    scripted = Scripted([3, 1.5, 2, 1.5, 9])
    result = fit(tiny(**constant), training_data(scripted), Recorder())
    assert len(set(scripted.seen)) == 5
    assert content_hash(result.generator) == scripted.seen[1]
    assert result.best == {"score": 1.5, "other": 2, "step": 4}
    assert [row["score"] for row in result.history.scores] == [3, 1.5, 2, 1.5, 9]
    # A training that ends there has the same networks, the discriminator too.
    shorter = train(tiny(**constant, train__kimg=0.2))
    assert content_hash(shorter.generator) == content_hash(result.generator)
    assert content_hash(shorter.discriminator) == content_hash(result.discriminator)


def test_the_result_is_ready_for_use() -> None:
    result = train(tiny(model__family="dcgan", model__width=4))
    for network in (result.generator, result.discriminator):
        assert not any(module.training for module in network.modules())
        assert all(value.isfinite().all() for value in network.state_dict().values())
        assert all(value.is_contiguous() for value in network.state_dict().values())
    assert generate(result.generator, torch.tensor([3]), torch.tensor([1])).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("scores", "stopped_at"),
    [([5, 4, 3, 2, 1], None), ([5, 4, 6, 7, 1], 4), ([5, 5, 5, 1, 1], 3), ([5, 6, 4, 6, 6], None)],
)
def test_patience_ends_a_training_that_does_not_get_better(scores: list[float], stopped_at: int | None) -> None:
    result = train(tiny(train__patience=2, train__score_every_kimg=0.1), scores)
    assert len(result.history.scores) == (stopped_at or 5)
    assert result.stopped == ("no better validation score in 2 checks" if stopped_at else None)
    assert result.best["score"] == min(scores[:stopped_at])


def test_the_recorder_can_end_the_training() -> None:
    recorder = Recording(stop="enough")
    result = fit(tiny(train__score_every_kimg=0.1), training_data(Scripted([5, 4, 3, 2, 1])), recorder)
    assert (result.stopped, len(result.history.scores), result.best["step"]) == ("enough", 2, 4)
    assert recorder.loss_rows[-1][0].step == 4


def test_a_training_that_has_come_to_its_end_was_not_stopped() -> None:
    result = fit(tiny(), training_data(Scripted([5, 4])), Recording(stop="enough"))
    assert (result.stopped, result.best["step"]) == (None, 10)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_a_divergence(value: float) -> None:
    with pytest.raises(TrainingDiverged, match=rf"^the validation score is {value} at step 10 of 10$"):
        train(tiny(), [5, value])


def test_a_loss_that_is_not_finite_is_a_divergence() -> None:
    params = tiny(train__optimizer="sgd", train__loss="least_squares", train__lr_discriminator=1, train__beta1=0.9)
    recorder = Recording()
    with pytest.raises(TrainingDiverged, match=r"^loss_(discriminator|generator) is (inf|nan) since step \d+ of 40"):
        fit(params.replace({"train.kimg": 2}), training_data(Scripted([1] * 20)), recorder)
    # What was recorded before is finite.
    assert all(math.isfinite(value) for _, values in recorder.loss_rows for value in values.values())


def test_the_grid_has_the_same_latents_and_labels_each_time() -> None:
    recorder, scripted = Recording(), Scripted([5, 4])
    still: dict[str, Any] = {"train__lr_generator": 1e-30, "model__conditioning": "concat", "train__optimizer": "sgd"}
    result = fit(tiny(**still), training_data(scripted), recorder)
    first, *others = [images for _, images in recorder.grids]
    assert (first.shape, first.dtype) == ((10 * GRID_COLUMNS, 1, 8, 8), torch.uint8)
    assert len(others) == 2
    assert all(torch.equal(images, first) for images in others)
    for row in (0, 7):
        seeds = torch.arange(GRID_SEED, GRID_SEED + GRID_COLUMNS)
        expected = generate(result.generator, torch.full((GRID_COLUMNS,), row), seeds)
        assert torch.equal(first[GRID_COLUMNS * row : GRID_COLUMNS * (row + 1)], expected)
    assert first.flatten(1).unique(dim=0).shape[0] == 10 * GRID_COLUMNS


def test_the_grid_shows_the_averaged_generator() -> None:
    recorder = Recording()
    result = fit(tiny(), training_data(Scripted([5, 4])), recorder)
    seeds = torch.arange(GRID_SEED, GRID_SEED + GRID_COLUMNS)
    expected = generate(result.generator, torch.full((GRID_COLUMNS,), 3), seeds)
    assert torch.equal(recorder.grids[2][1][3 * GRID_COLUMNS : 4 * GRID_COLUMNS], expected)
    assert not torch.equal(recorder.grids[0][1], recorder.grids[1][1])
    assert not torch.equal(recorder.grids[1][1], recorder.grids[2][1])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("loss", ["bce", "least_squares", "hinge"])
def test_every_loss_trains_with_every_optimiser(loss: str, optimizer: str) -> None:
    params = tiny(train__loss=loss, train__optimizer=optimizer, train__kimg=0.15, train__log_every_kimg=0.05)
    rows = train(params, [1]).history.losses
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert rows[0]["loss_discriminator"] != rows[2]["loss_discriminator"]


def test_training_brings_the_images_close_to_the_real_ones() -> None:
    params = tiny(model__hidden_sizes=[64, 128], train__kimg=20, train__score_every_kimg=20)
    untrained = fit(params.replace({"train.kimg": 0.001}), training_data(judge()), Recorder()).best
    trained = fit(params, training_data(judge()), Recorder()).best
    assert trained["frechet_joint_distance"] < 0.15 * untrained["frechet_joint_distance"]
    assert untrained["gan_test_accuracy"] < 0.2
    assert trained["gan_test_accuracy"] > 0.75
    assert trained["coverage"] > 0.7


def test_a_ctrl_c_that_was_swallowed_elsewhere_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_noted", [signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        train(tiny())
    assert train(tiny()).stopped is None
