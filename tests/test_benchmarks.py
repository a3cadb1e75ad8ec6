"""The benchmarks on tiny networks: what they print is not looked at as a speed, only how it comes about."""

import importlib
import os
import shlex
import shutil
import time
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import gpu, machine, memory, report, time_to_quality, train_speed
from benchmarks.settings import for_family, random_images
from benchmarks.textbook import TextbookImages, TextbookTraining
from src.config.params import Params
from src.core.errors import UserError
from src.core.pixels import to_float
from src.data import prepared
from src.training import flops
from src.training.step.losses import find_loss
from tests.conftest import ROOT, SAMPLE, work_in
from tests.training.digits import digits, judge, tiny


@pytest.fixture
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with nothing but parameters, where nothing may be left."""
    work_in(tmp_path, monkeypatch)
    shutil.copy(SAMPLE, "params.yaml")
    monkeypatch.setitem(machine.MATMUL_SIZE, "cpu", 128)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


# The textbook loop


@pytest.mark.parametrize("channels", [1, 3])
def test_textbook_images_are_the_floats_of_the_project(channels: int) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3 * channels).view(3, channels, 16, 16)
    images[1:] = images[1:].flip(3)
    data = TextbookImages(images, torch.tensor([4, 5, 6]))
    assert len(data) == 3
    for index in range(3):
        image, label = data[index]
        assert label == 4 + index
        torch.testing.assert_close(image, to_float(images[index]), atol=1e-6, rtol=0)


def test_the_loss_is_the_one_that_textbooks_take() -> None:
    real, fake = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    ones, zeros = torch.ones(9), torch.zeros(9)
    expected = F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(fake, zeros)
    torch.testing.assert_close(find_loss("bce").discriminator(real, fake), expected)
    torch.testing.assert_close(find_loss("bce").generator(real, fake), F.binary_cross_entropy_with_logits(fake, ones))


def test_the_textbook_loop_learns() -> None:
    params = tiny(model__hidden_sizes=[64, 128], train__lr_generator=2e-3, train__lr_discriminator=2e-3)
    training = TextbookTraining(params, digits().train.images, digits().train.labels, 10)
    before = judge()(training.generator)["frechet_classifier_distance"]
    losses = list(islice(training.steps(), 160))
    after = judge()(training.generator)["frechet_classifier_distance"]
    assert torch.tensor(losses).isfinite().all()
    assert after < before / 3
    assert training.generator.training


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UserError, match="there are only 20 images"):
        TextbookTraining(tiny(), *random_images(20, 8), 10)


# What the machine does


def multiplications(*sizes: int) -> int:
    return sum(first * second for first, second in pairwise(sizes))


def test_the_operations_of_a_step_are_those_counted_by_hand() -> None:
    params = Params().replace({"model.family": "mlp", "train.batch_size": 64})
    images, labels = random_images(10)
    generator, discriminator = multiplications(64 + 10, 256, 512, 1024, 784), multiplications(784, 1024, 512, 256, 1)
    # No gradient is built for what enters a network's first layer, nor for the discriminator's weights in the second part.
    train_discriminator = 2 * (3 * discriminator - 784 * 1024)
    train_generator = 3 * generator - 74 * 256 + 2 * discriminator
    by_hand = 2 * 64 * (train_discriminator + train_generator)
    plain = flops.step_flops(params, images, labels, 10, penalise=False)
    assert plain == pytest.approx(by_hand, rel=0.02)
    # The gradient penalty: forward, gradient, and backward through both of them.
    regularised = flops.step_flops(params, images, labels, 10, penalise=True)
    assert regularised - plain == pytest.approx(2 * 64 * 6 * discriminator, rel=0.02)
    mean = flops.training_flops(params, images, labels, 10)
    assert mean == pytest.approx((7 * plain + regularised) / 8 / 64)
    off = flops.training_flops(params.replace({"train.r1_weight": 0.0}), images, labels, 10)
    assert off == plain / 64


def test_the_operations_of_a_convolution_are_counted_both_ways() -> None:
    layer, count = nn.Conv2d(3, 8, 3, padding=1), flops.FlopCount()
    with count:
        layer(torch.randn(5, 3, 10, 10, requires_grad=True)).sum().backward()
    assert count.total == 3 * 2 * 5 * 10 * 10 * 3 * 8 * 9


def test_overlapping_kernels_count_once() -> None:
    assert machine.covered_share([]) == 0
    assert machine.covered_share([(3, 4), (0, 1)]) == pytest.approx(0.5)
    assert machine.covered_share([(0, 6), (1, 2), (5, 8), (9, 10)]) == pytest.approx(0.9)


def test_the_matmul_rate_is_positive() -> None:
    assert machine.matmul_rate(torch.device("cpu"), torch.float32, 64) > 0


# What is printed


def test_a_target_is_reached_or_missed() -> None:
    figures = {"mlp, batch 64: ratio": 4.0, "cost of tracking": 2.0, "mlp: peak resident memory": 1600.4}
    assert report.target_lines(figures, gpu=False) == [
        "target mlp, batch 64: ratio >= 4: reached (4.00)",
        "target cost of tracking < 2 %: missed (2.00 %)",
        "target mlp: peak resident memory < 1536 MiB: missed (1,600.40 MiB)",
    ]
    assert report.target_lines({"mlp, batch 64: ratio": 4.0}, gpu=True) == [
        "target mlp, batch 64: ratio >= 10: missed (4.00)"
    ]


def test_a_row_has_medians_of_pairs() -> None:
    row = train_speed.Row("mlp", 64, True, 2e6, [10, 20, 10], [40, 60, 50], [30, 40, 20], [1e8, 2e8, 4e8], 91.0)
    assert row.ratios == [4, 3, 5]
    assert row.shares == pytest.approx([80, 60, 25])
    figures = {"mlp, batch 64: ratio": 4, "mlp, default batch: share of the matmul rate": 60}
    assert row.figures() == {**figures, "mlp, default batch: GPU busy": 91}
    cells = row.cells()
    assert (cells["ratio"], cells["range"], cells["plain ratio"]) == ("4.00", "3.00 - 5.00", "2.00")


def test_a_table_in_markdown() -> None:
    rows = [{"what": "mlp", "images/s": "1,000"}]
    assert report.table(rows, markdown=True) == "| what | images/s |\n| --- | ---: |\n| mlp | 1,000 |"


def test_a_family_comes_with_its_batch_and_rates() -> None:
    own = Params().replace({"train.batch_size": 32})
    assert for_family(own, "compact") is own
    assert for_family(own, "mlp").train.batch_size == 256


# The commands


@pytest.mark.usefixtures("_in_folder")
def test_both_loops_are_measured(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_speed, "TEXTBOOK_WARM_UP", 1)
    train_speed.main(["--parts", "speed", "--kimg", "0.2", "--runs", "1"])
    title, _, header, *rows = lines_of(capsys)
    assert title.startswith("training speed on ")
    assert title.endswith(f"threads; PyTorch {torch.__version__}")
    assert header.split()[:5] == ["family", "batch", "textbook", "project", "ratio"]
    assert [row.split()[:2] for row in rows[:3]] == [["mlp", "64"], ["mlp", "256"], ["compact", "64"]]
    assert all(float(row.split()[4]) > 0 for row in rows[:3])
    assert [row.split(":")[0] for row in rows[-2:]] == ["target mlp, default batch", "target compact, default batch"]


@pytest.mark.usefixtures("_in_folder")
def test_tracking_is_measured_and_leaves_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = dict(os.environ)
    quick = ["--tracking-kimg", "0.6", "--tracking-runs", "2"]
    train_speed.main(["--parts", "tracking", "--family", "mlp", "--batch-size", "64", "--markdown", *quick])
    *_, header, _, row, _, target = lines_of(capsys)
    assert header == "| what | median | range |"
    assert row.startswith("| tracking, mlp, 0.6 kimg | ")
    assert target.startswith("target cost of tracking < 2 %: ")
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml"}
    assert {name: os.environ.get(name) for name in before} == before


def test_the_peak_memory_is_that_of_a_process_of_its_own() -> None:
    params = tiny(train__score_samples=100, train__device="cpu", train__batch_size=64)
    peak = memory.peak_memory(params, 0.6, images=500)
    assert 50 < peak.resident < 10_000
    assert peak.gpu >= 0


def quality(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """The command, with the digits in place of a prepared dataset and its classifier."""

    def some_data(folder: Path) -> Any:
        return digits()

    def some_judge(*_: Any) -> Any:
        return judge()

    def some_params() -> Params:
        return tiny(train__kimg=4, train__device="cpu")

    monkeypatch.setattr(prepared, "load", some_data)
    monkeypatch.setattr(time_to_quality, "validation_judge", some_judge)
    monkeypatch.setattr(time_to_quality, "load_params", some_params)
    time_to_quality.main(["--every-kimg", "1", *arguments])


def cells(line: str) -> Sequence[str]:
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_the_seconds_to_an_easy_quality(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quality(monkeypatch, "--thresholds", "1e8", "1e9", "--markdown")
    title, _, _, *rows = lines_of(capsys)
    assert title.startswith(
        "seconds until frechet_classifier_distance < 1e+09, 1e+08 on digits, mlp, batch 50, seed 0; "
    )
    assert [cells(row)[0] for row in rows] == ["project", "textbook", "guide"]
    first = float(cells(rows[0])[1].removesuffix(" s"))
    for row in rows:
        _, seconds, ratio, again, _, kimg, last, best, _ = cells(row)
        assert seconds == again
        assert float(seconds.removesuffix(" s")) == pytest.approx(float(ratio) * first, abs=0.06 + 0.06 * float(ratio))
        assert float(kimg) == pytest.approx(1.0, abs=0.05)
        assert last == best


@pytest.mark.parametrize(("limit", "kimg"), [("0.000001", "1.0"), ("600", "4.0")])
def test_a_quality_that_is_not_reached(
    limit: str, kimg: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quality(monkeypatch, "--thresholds", "0", "--limit", limit, "--loops", "project", "textbook", "--markdown")
    for row in lines_of(capsys)[-2:]:
        assert cells(row)[1].startswith("not within ")
        assert cells(row)[2] == ""
        assert cells(row)[3] == kimg


def test_the_clock_does_not_count_the_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def slow_judge(generator: Any) -> dict[str, float]:
        now[0] += 50
        return {"score": 1.0, time_to_quality.MEASURE: 3.0}

    def clock() -> float:
        return now[0]

    monkeypatch.setattr(time, "perf_counter", clock)
    race = time_to_quality.Race(slow_judge, [4.0, 2.0], 25.0, began=clock())  # type: ignore[arg-type]
    generator: Any = None
    for seconds in (10.0, 20.0):
        now[0] += 10
        race.score(generator)
        assert race.seconds == seconds
    assert race.stop_reason() is None
    now[0] += 10
    race.score(generator)
    assert race.stop_reason() == "the time is up"
    assert race.reached == {4.0: 10.0}
    race.seconds = 30.0
    other = time_to_quality.Race(slow_judge, [4.0, 2.0], 25.0, reached={4.0: 2.5, 2.0: 15.0})  # type: ignore[arg-type]
    row = race.cells("textbook", other)
    assert (row["< 4"], row["ratio, < 4"]) == ("10.0 s", "4.00")
    assert (row["< 2"], row["ratio, < 2"]) == ("not within 30 s", "over 2.00")


def test_the_commands_for_a_gpu_exist(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    commands = [shlex.split(command) for _, commands in gpu.PARTS.values() for command in commands]
    for module, *arguments in commands:
        if module == "pytest":
            assert all(Path(place).exists() for place in arguments if not place.startswith("-"))
            continue
        with pytest.raises(SystemExit) as end:
            importlib.import_module(module).main([*arguments, "--help"])
        assert end.value.code == 0, capsys.readouterr().err


def test_a_part_that_fails_does_not_end_the_others(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    parts = {"first": ("First", ["nonesuch"]), "second": ("Second", ["calendar 2026 11"])}
    monkeypatch.setattr(gpu, "PARTS", parts)
    with pytest.raises(SystemExit) as end:
        gpu.main(["--any-device"])
    assert end.value.code == 1
    output, errors = capfd.readouterr()
    assert "November 2026" in output.partition("## Second")[2]
    assert errors.endswith("failed: first\n")
    with pytest.raises(UserError, match="unknown part 'third'; allowed are first, second"):
        gpu.main(["third"])
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="PyTorch sees no CUDA GPU here"):
            gpu.main([])
