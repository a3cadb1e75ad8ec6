import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from src import compare
from src.core.errors import UserError, run_command
from src.evaluation.bootstrap import Estimate
from src.reports import side_by_side
from tests.conftest import work_in
from tests.evaluation.test_comparison import evaluation
from tests.registry.test_stored_scorecards import log, register, save

CHANGES = {"frechet_joint_distance": 11.5, "precision": 0.65, "coverage": 0.8001}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work_in(tmp_path, monkeypatch)
    monkeypatch.delenv("COLUMNS", raising=False)
    save(evaluation(changes={"gan_train_accuracy": 0.8}), tmp_path / "a")
    save(evaluation(changes=CHANGES, seed=1, warnings=["few samples"]), tmp_path / "b")
    return tmp_path


def test_the_table(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main(["a", "b"])
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[:2] == ["A  a", f"   generator {'0' * 12}, classifier {'c' * 12}, 10,000 samples"]
    assert lines[2] == "B  b"
    start = next(number for number, line in enumerate(lines) if line.startswith("Frechet joint"))
    row = lines[start].replace("distance", "").split()
    assert row == ["Frechet", "joint", "↓", "0.95", "12.00", "11.50", "-0.50", "B", "better"]
    low, high = map(float, lines[start + 1].split("[")[-1].rstrip(" ]").split(","))
    assert low == pytest.approx(-0.5 - 1.96 * 0.033, abs=0.012)
    assert high == pytest.approx(-0.5 + 1.96 * 0.033, abs=0.012)
    text = " ".join(shown.split())
    assert (
        "Beyond noise: B is better in Frechet joint distance; A is better in Precision; "
        "within noise: GAN-test accuracy (label agreement), Kernel classifier distance, Coverage."
    ) in text
    assert "one number in twenty of equally good generators is beyond noise by chance" in text
    assert "Left out, since only A has it: GAN-train accuracy (CAS)." in text
    assert "Warning in the scorecard of B: few samples" in text


def test_beyond_real_images_neither_wins(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, (name, value) in enumerate({"c": 1.2, "d": 1.3}.items()):
        save(evaluation(changes={"gan_test_accuracy": value}, seed=seed), folders / name)
    compare.main(["c", "d"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Better than real images in both, so neither wins: GAN-test accuracy (label agreement)." in text
    assert "Beyond noise: nothing" in text
    assert "both beyond real" in text


def test_json(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main(["a", "b", "--json"])
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["frechet_joint_distance"]["verdict"] == "better"
    assert rows["precision"]["verdict"] == "worse"
    assert rows["precision"]["difference"]["value"] == pytest.approx(-0.05)
    assert rows["precision"]["real"] == {"value": 0.95, "low": 0.94, "high": 0.96}
    assert (found["only_first"], found["only_second"]) == (["gan_train_accuracy"], [])
    assert (found["first"]["reference"], found["second"]["generator_hash"]) == ("a", "0001" * 16)
    assert found["second"]["warnings"] == ["few samples"]
    assert (found["samples"], found["seeds"]["bootstrap"]) == (10_000, 2)
    assert found["summary"][0].startswith("Beyond noise: B is better in Frechet joint distance")


def test_a_run_against_a_model(folders: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(empty_store, folders / "mlruns")
    first, second = evaluation(), evaluation(changes=CHANGES, seed=1)
    one, two = log("mlp", first), log("dcgan", second, experiment="fashion-mnist")
    register("gan-digits", two, second)
    compare.main([one[:8], "gan-digits@champion"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"A  {one[:8]}, run mlp, run id {one}"
    assert lines[2] == f"B  gan-digits@champion, gan-digits/1, run id {two}"
    compare.main([two, "dcgan"])
    assert "A and B are the same generator." in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["80", "60"])
def test_a_narrow_terminal(
    folders: Path, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    compare.main(["a", "b"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("one", "shown"),
    [
        (Estimate(0.91234, 0.90512, 0.91951), "0.912\n[0.905, 0.920]"),
        (Estimate(1234.5, 1200.0, 1270.0), "1234\n[1200, 1270]"),
        (Estimate(-0.00001, -0.02, 0.02), "0.000\n[-0.020, 0.020]"),
        (Estimate(0.5, 0.5, 0.5), "0.5000\n[0.5000, 0.5000]"),
        (Estimate(2e-9, 1e-9, 3e-9), "0.000000\n[0.000000, 0.000000]"),
    ],
)
def test_digits(one: Estimate, shown: str) -> None:
    assert side_by_side.with_interval(one, side_by_side.digits(one)) == shown


def test_scorecards_that_do_not_compare(folders: Path) -> None:
    save(evaluation(samples=500, classifier_hash="e" * 64), folders / "b")
    with pytest.raises(UserError, match=r"a and b are not comparable: classifier_hash .*; samples 10000 and 500"):
        compare.main(["a", "b"])


def test_a_terminal_that_knows_only_ascii(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    compare.main(["a", "b"])
    sys.stdout.flush()
    assert b"+ higher is better, - lower is better" in written.getvalue()


def test_a_file_that_is_missing_ends_with_2(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders / "b/bootstrap.csv").unlink()
    with pytest.raises(SystemExit) as end:
        run_command(lambda: compare.main(["a", "b"]))
    assert end.value.code == 2
    assert capsys.readouterr() == (
        "",
        "error: b/bootstrap.csv is missing; create it with `dvc repro evaluate` or `python -m src.evaluate`\n",
    )
