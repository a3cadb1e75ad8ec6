"""One small project for all tests of stages and commands: the digits set, tiny networks, the whole pipeline run once."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from src.params_edit import write_params
from src.tracking.moved import COLUMNS
from tests.tuning.postgres import Unavailable, postgres_server

ROOT = Path(__file__).parent.parent
SAMPLE = Path(__file__).parent / "params_sample.yaml"
"""A params file that stays as it is, whatever a user writes into params.yaml."""
TINY = {
    "data.dataset": "digits",
    "classifier.width": 8,
    "classifier.feature_size": 32,
    "classifier.epochs": 8,
    "classifier.batch_size": 64,
    "model.family": "mlp",
    "model.hidden_sizes": [32, 64],
    "model.latent_size": 8,
    "train.device": "cpu",
    "train.kimg": 6,
    "train.batch_size": 32,
    "train.log_every_kimg": 1,
    "train.score_every_kimg": 2,
    "train.score_samples": 200,
    "evaluate.samples": 200,
    "register.model_name": "gan-digits",
    "tune.kimg": 2,
    "tune.score_every_kimg": 1,
}


def work_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make ``folder`` the current one, with a store of its own; MLflow sets MLFLOW_TRACKING_URI for its children."""
    patch.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)


def start(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> subprocess.Popen[str]:
    """Start a command in the background that hears Ctrl-C; the caller kills it or waits for it."""
    # Where the tests themselves run in the background, SIGINT may be ignored, and the command would inherit that.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, handler)


class Project:
    """A copy of this project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def environment(self) -> dict[str, str]:
        """That of a person who works there, with this interpreter first on the PATH."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # Byte code is written as for a user: beside the modules, where DVC must not take it for a change.
        unset = ("MLFLOW_", "DVC_", "PYTHONDONTWRITEBYTECODE")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        # Tiny networks are faster on one thread, and do not wait for a busy second core.
        fixed = {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "true", "OMP_NUM_THREADS": "1"}
        return {**clean, **fixed}

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command there as a person would."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if check and result.returncode:
            raise AssertionError(
                f"{' '.join(command)} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
            )
        return result

    def start(self, *command: str) -> subprocess.Popen[str]:
        """The same, in the background; the caller kills it or waits for it."""
        return start(command, self.environment, self.folder)

    def module(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``python -m src.NAME``."""
        return self.run(sys.executable, "-m", f"src.{name}", *arguments, check=check)

    @property
    def tracking_uri(self) -> str:
        """The project's own store."""
        return f"sqlite:///{self.folder}/mlruns/mlflow.db"

    def client(self) -> MlflowClient:
        """A client of that store; the registry is there too, whatever this process has been told before."""
        return MlflowClient(self.tracking_uri, self.tracking_uri)


def copy_project(folder: Path) -> Project:
    """A fresh clone, as git would make it, of the working tree; tiny parameters; committed."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.copy(SAMPLE, folder / "params.yaml")
    write_params(TINY, folder / "params.yaml")
    project = Project(folder)
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "config", "user.email", "test@example.com")
    project.run("git", "config", "user.name", "test")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "tiny")
    return project


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pipeline has been run once by ``dvc repro``; tests leave its files as they are."""
    made = copy_project(tmp_path_factory.mktemp("project"))
    made.run("dvc", "repro")
    return made


@pytest.fixture
def in_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same, as the current folder of this process."""
    work_in(project.folder, monkeypatch)
    return project


@pytest.fixture
def own(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the same as the current folder, to be broken: nothing in it leads to the project that was copied."""
    made = copy_of(project, tmp_path / "own")
    work_in(made.folder, monkeypatch)
    return made


@pytest.fixture(scope="session")
def two_versions(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same project after a second training, with another seed: gan-digits/2, whatever the gate has said of it."""
    made = copy_of(project, tmp_path_factory.mktemp("two") / "project")
    write_params({"train.seed": 1}, made.folder / "params.yaml")
    made.run("git", "commit", "-qam", "another seed")
    for stage in ("train", "evaluate", "register"):
        made.module(stage)
    return made


def copy_of(project: Project, folder: Path, *ignored: str) -> Project:
    """A copy in which a test may change what it likes: nothing in it leads to the project that was copied."""
    shutil.copytree(project.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(*ignored))
    database = folder / "mlruns" / "mlflow.db"
    if database.exists():
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, column in COLUMNS:
                places = str(project.folder), str(folder)
                connection.execute(f"update {table} set {column} = replace({column}, ?, ?)", places)
    return Project(folder)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database on a server of the tests' own."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres_server(tmp_path_factory.mktemp("postgres")))
        except Unavailable as reason:
            pytest.skip(str(reason))
        yield url
