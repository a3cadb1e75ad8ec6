"""Which slow libraries a command imports; how long it takes is what ``python -m benchmarks.startup`` measures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.startup import COMMANDS, HEAVY, row
from tests.conftest import ROOT, SAMPLE, Project

STAGES = ("download", "prepare", "train_classifier", "train", "evaluate", "report", "register")
LIGHT = (
    *HEAVY,
    "numpy",
    "rich",
    "safetensors",
    "scipy",
    "src.evaluation.scored",
    "src.networks.interface",
    "src.training",
)
"""what no command needs to read its arguments"""
HEAD = """
import contextlib, importlib, io, json, sys

known = set()

def main_of(name):
    module = importlib.import_module(f"src.{name}")
    return getattr(module, "main", None) or importlib.import_module(f"src.{name}.__main__").main

def call(main, arguments):
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        try:
            main(arguments)
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except Exception as error:
            status = repr(error)
    return status, output.getvalue()

def news(names):
    found = sorted(name for name in names if name in sys.modules and name not in known)
    known.update(found)
    return found
"""
ANSWERS = """
names, commands = json.loads(sys.argv[1])
for name in commands:
    try:
        main = main_of(name)
    except Exception as error:
        main = lambda arguments: sys.exit(repr(error))
    answers = [call(main, [argument]) for argument in ("--help", "--no-such-option")]
    print(json.dumps([name, answers, news(names)]), flush=True)
"""
LOOKS = """
names, calls = json.loads(sys.argv[1])
news(names)
for name, *arguments in calls:
    status, output = call(main_of(name), arguments)
    print(json.dumps([" ".join([name, *arguments[:1]]), status, output, news(names)]), flush=True)
"""
REGISTRY = """
import mlflow
from src.doctor import __main__ as doctor
doctor.CHECKS["device"] = lambda: []  # which needs PyTorch
"""
STUDY = """
from src.config.params import load_params
from src.tuning.storage import open_storage
from src.tuning.study import fingerprint, open_study

params = load_params()
study = open_study(params, fingerprint(params, "data", "classifier"), open_storage(None))
study.tell(study.ask(), 1.0)
"""


def in_a_fresh_process(code: str, given: Any, folder: Path) -> list[Any]:
    """What the code prints, a line of JSON each, when it runs in the folder."""
    command = [sys.executable, "-c", HEAD + code, json.dumps(given)]
    environment = {**Project(folder).environment, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of every command: its answers to --help and to an unknown option, and what it has imported for them."""
    folder = tmp_path_factory.mktemp("empty")
    found = in_a_fresh_process(ANSWERS, [LIGHT, COMMANDS], folder)
    assert list(folder.iterdir()) == []
    return {name: (*spoken, imported) for name, spoken, imported in found}


def test_every_command_is_asked() -> None:
    files = [*(ROOT / "src").glob("*.py"), *(ROOT / "src").glob("*/__main__.py")]
    run = {
        file.parent.name if file.stem == "__main__" else file.stem
        for file in files
        if "\n    run_command(main)\n" in file.read_text("utf-8")
    }
    assert run == set(COMMANDS) >= set(STAGES)


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_are_read_before_anything_slow_is_imported(answers: dict[str, Any], name: str) -> None:
    (status, shown), (refused, why), imported = answers[name]
    assert (status, refused) == (0, 2)
    assert shown.startswith(f"usage: python -m src.{name} ")
    assert "unrecognized arguments: --no-such-option" in why or "required" in why
    assert imported == []


def test_the_registry_is_read_without_pytorch_and_pandas(project: Project) -> None:
    names = [*HEAVY, "safetensors.torch", "src.evaluation.scored", "src.networks.interface", "src.training"]
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    calls = [["registry", "list"], ["registry", "show", "gan-digits"], ["lineage", commit], ["registry", "best"]]
    found = in_a_fresh_process(REGISTRY + LOOKS, [names, [*calls, ["doctor"]]], project.folder)
    for name, status, output, imported in found:
        assert status == 0 or name == "doctor", output
        assert imported == ([] if name != "doctor" else ["optuna"]), name
    assert "gan-digits/1" in found[0][2]


def test_the_list_leaves_the_store_of_the_runs_closed(project: Project) -> None:
    """It is more than MLflow itself takes to start."""
    names = ["mlflow.store.tracking.sqlalchemy_store"]
    ((name, status, output, imported),) = in_a_fresh_process(
        "import mlflow\n" + LOOKS, [names, [["registry", "list"]]], project.folder
    )
    assert (status, imported) == (0, []), name
    assert "gan-digits/1" in output


def test_a_study_is_shown_without_pytorch_and_mlflow(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "params.yaml")
    names = [name for name in HEAVY if name not in ("optuna", "pandas")]
    calls = [["tune", "status"], ["tune", "best"], ["tune", "show", "0"]]
    for _, status, output, imported in in_a_fresh_process(STUDY + LOOKS, [names, calls], tmp_path):
        assert (status, imported) == (0, []), output


def test_the_benchmark_tells_time_and_imports() -> None:
    found = row(1, "src.recipes", "--help")
    assert (found["what"], found["imports"]) == ("recipes --help", "-")
    assert float(found["processor s"]) > 0
    assert row(1, "optuna")["imports"] == "optuna"
