"""The command as a person runs it, on a whole project and on one with many things broken at once."""

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from src.core.errors import UserError
from src.doctor.finding import Check, Finding
from src.doctor.runner import Doctor
from src.tracking import store
from src.tracking.origin import Origin
from src.tracking.runs import new_run
from tests.conftest import Project

pytestmark = pytest.mark.slow
TITLES = ("store", "artifacts", "outbox", "runs", "registry", "pipeline", "device", "packages", "git")


def contents() -> dict[str, str]:
    """Every file that the doctor might touch, with its hash."""
    places = [Path(name) for name in ("data", "mlruns", "models", ".dvc/cache")]
    files = [file for place in places for file in place.rglob("*") if file.is_file() and file.suffix != ".lock"]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run(project: Project, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Exit status and lines."""
    with mock.patch.dict(os.environ, COLUMNS="120"):
        result = project.module("doctor", *arguments, check=False, **environment)
    assert result.stderr == ""
    return result.returncode, result.stdout.splitlines()


def marks(lines: list[str], mark: str) -> list[str]:
    """Titles of the lines with a mark."""
    return [line.split()[1] for line in lines if line.startswith(f"{mark} ")]


@pytest.mark.parametrize("fix", [[], ["--fix"]])
def test_a_healthy_project(own: Project, fix: list[str]) -> None:
    before = contents()
    status, lines = run(own, *fix)
    assert (status, lines[-1]) == (0, "no problems")
    assert set(TITLES) <= set(marks(lines, "ok"))
    assert not marks(lines, "problem") + marks(lines, "warning") + marks(lines, "fixed")
    assert contents() == before


def test_many_things_at_once(own: Project, tmp_path: Path) -> None:
    with new_run("digits", Origin.here("open", {}, {})) as opened:
        pass
    hold = f"from src.tracking.runs import reopened_run\nwith reopened_run('{opened.run_id}'): print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own.environment
    ) as evaluate:
        assert evaluate.stdout is not None
        assert evaluate.stdout.readline() == b"1\n"
        evaluate.kill()
    Path("models/gan/history.png").unlink()
    Path("models/gan/scores.csv").write_text("mine\n")
    (weights,) = Path("mlruns/artifacts/digits/models").glob("*/artifacts/extra_files/generator.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection, connection:
        connection.execute("update registered_model_aliases set version = 9 where alias = 'candidate'")
    new = Project(tmp_path / "new")
    own.folder.rename(new.folder)
    os.chdir(new.folder)

    before = contents()
    status, lines = run(new)
    assert status == 1
    assert marks(lines, "problem") == ["artifacts", "pipeline", "pipeline"]
    assert marks(lines, "warning") == ["runs", "registry"]
    assert lines[-1] == "3 problems, 2 warnings; `python -m src.doctor --fix` repairs 3 of them"
    assert contents() == before

    status, lines = run(new, "--fix")
    assert marks(lines, "fixed") == ["artifacts", "runs", "registry", "pipeline"]
    assert marks(lines, "problem") == ["registry", "pipeline"]
    assert (status, lines[-1]) == (1, "4 repaired; 2 problems left")
    assert any("hash" in line for line in lines)
    assert Path("models/gan/history.png").is_file()
    assert Path("models/gan/scores.csv").read_text() == "mine\n"
    assert store.connect().get_run(opened.run_id).info.status == "KILLED"

    before = contents()
    status, lines = run(new, "--fix")
    assert (status, lines[-1]) == (1, "2 problems")
    assert not marks(lines, "fixed")
    assert contents() == before


def test_a_fresh_clone(own: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = Project(tmp_path / "clone")
    own.run("git", "clone", "-q", ".", str(clone.folder))
    monkeypatch.chdir(clone.folder)
    status, lines = run(clone)
    assert (status, lines[-1]) == (0, "1 warning")
    assert "ok       store      no store yet: the first run creates sqlite:///./mlruns/mlflow.db" in lines
    assert marks(lines, "warning") == ["pipeline"]
    assert not Path("mlruns/mlflow.db").exists()


def test_a_server_that_is_away_is_told_at_once_and_the_rest_is_checked(own: Project) -> None:
    began = time.monotonic()
    status, lines = run(own, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert time.monotonic() - began < 60
    assert status == 1
    assert lines[0] == "problem  store      http://127.0.0.1:9 cannot be used: Connection refused"
    assert "warning  store      artifacts, runs and registry are not checked: the store cannot be used" in lines
    assert {"pipeline", "disk", "packages"} <= set(marks(lines, "ok"))


def test_broken_files_are_lines_and_stop_nothing(own: Project) -> None:
    Path("params.yaml").write_text("train: [")
    Path("mlruns/optuna.journal").write_text('{"op": 0}\n{"op": 0}\n')
    status, lines = run(own, "--fix")
    assert status == 1
    assert {"trials", "pipeline", "device"} <= set(marks(lines, "problem"))
    assert "telemetry" in marks(lines, "ok")
    assert not any("Traceback" in line for line in lines)


def test_a_terminal_without_utf8(own: Project, tmp_path: Path) -> None:
    new = Project(tmp_path / "für Bilder")
    own.folder.rename(new.folder)
    command = (sys.executable, "-m", "src.doctor")
    result = new.run(*command, check=False, COLUMNS="120", PYTHONIOENCODING="ascii")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert any("f?r Bilder" in line for line in lines)
    assert "\n".join(lines).isascii()


def test_bad_usage(own: Project) -> None:
    assert own.module("doctor", "--mend", check=False).returncode == 2


def check(*findings: Finding) -> Check:
    return lambda: findings


def test_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "a sentence that is long enough for a second line, with a/path-that-stays/in-one/piece.txt and some more words"
    )
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        Doctor(fix=False).examine("title", check(Finding("problem", text, "do this")))
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("problem  title      a sentence")
        assert lines[-1] == " " * 20 + "-> do this"
        assert sum("a/path-that-stays/in-one/piece.txt" in line for line in lines) == 1


def test_a_check_and_a_repair_that_fail(capsys: pytest.CaptureFixture[str]) -> None:
    def failing() -> list[Finding]:
        raise ZeroDivisionError("by zero\nand more")

    def stuck() -> str:
        raise UserError("the disk is full")

    made = Doctor(fix=True)
    made.examine("first", failing)
    made.examine("second", check(Finding("warning", "odd", "mends it", stuck)))
    made.examine("third", check(Finding("ok", "fine")))
    assert capsys.readouterr().out.splitlines() == [
        "problem  first      this check failed: ZeroDivisionError: by zero",
        "problem  second     the repair failed: the disk is full",
        "warning  second     odd",
        " " * 20 + "-> --fix mends it",
        "ok       third      fine",
    ]
    assert made.summary() == "1 problem, 1 warning; `python -m src.doctor --fix` repairs 1 of them"
