"""One small project for all tests of stages and commands: the digits set, tiny networks, the whole pipeline run once."""

import importlib
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, closing, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
import torch
from filelock import FileLock
from mlflow import MlflowClient

from src.config.edit import commented, write_params
from src.core import interrupts
from src.core.errors import run_command
from src.doctor.moved import COLUMNS
from src.tracking import sync
from src.tracking.store import connect
from tests.tuning.postgres import Unavailable, postgres_server

ROOT = Path(__file__).parent.parent
_SAMPLES = TemporaryDirectory()
SAMPLE = Path(_SAMPLES.name) / "params.yaml"
"""A params file with every parameter, whatever a user writes into params.yaml."""
SAMPLE.write_text(commented("train: {batch_size: 128, lr_generator: 0.002, lr_discriminator: 0.002}\ntune: {kimg: 60}"))
TINY = {
    "data.dataset": "digits",
    "classifier.width": 8,
    "classifier.feature_size": 32,
    "classifier.epochs": 8,
    "classifier.batch_size": 64,
    "classifier.lr": 0.004,
    "train.lr_decay_from": 0.5,
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
    "evaluate.reconstructions": 10,
    "evaluate.resamples": 50,
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
        return {**clean, **fixed, "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"}

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

    def process(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``python -m src.NAME`` as a process, with the code of this folder."""
        return self.run(sys.executable, "-m", f"src.{name}", *arguments, check=check)

    def module(
        self, name: str, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The same in this process, which has imported everything already; its code is that of the tests."""
        module = importlib.import_module(f"src.{name}")
        main = getattr(module, "main", None) or importlib.import_module(f"src.{name}.__main__").main
        out, err, status = io.StringIO(), io.StringIO(), 0
        with (
            self.here(**environment),
            redirect_stdout(out),
            redirect_stderr(err),
            mock.patch.object(interrupts, "install"),
        ):
            try:
                run_command(partial(main, arguments))
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if check and status:
            raise AssertionError(f"src.{name} ended with {status}\n{out.getvalue()}\n{err.getvalue()}")
        return subprocess.CompletedProcess([name, *arguments], status, out.getvalue(), err.getvalue())

    @contextmanager
    def here(self, **environment: str) -> Iterator[None]:
        """Within it, this folder is the current one, and no variable but those given leads to another store."""
        unset = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DVC_ROOT")
        clean = {name: value for name, value in os.environ.items() if name not in unset}
        with chdir(self.folder), mock.patch.dict(os.environ, clean | environment, clear=True):
            yield

    @property
    def tracking_uri(self) -> str:
        """The project's own store."""
        return f"sqlite:///{self.folder}/mlruns/mlflow.db"

    def client(self) -> MlflowClient:
        """A client of that store; the registry is there too, whatever this process has been told before."""
        return MlflowClient(self.tracking_uri, self.tracking_uri)


def sample_params(folder: Path, changes: Mapping[str, object]) -> Path:
    """A whole params.yaml in a folder, with some values changed; returns its path."""
    path = folder / "params.yaml"
    shutil.copyfile(SAMPLE, path)
    write_params(changes, path)
    return path


def copy_project(folder: Path) -> Project:
    """A fresh clone, as git would make it, of the working tree; tiny parameters; committed."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")) and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    sample_params(folder, TINY)
    project = Project(folder)
    project.run("git", "init", "-q", "-b", "main")
    project.run("git", "config", "user.email", "test@example.com")
    project.run("git", "config", "user.name", "test")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", "tiny")
    return project


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine() -> None:
    torch.set_num_threads(1)
    os.environ["MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"] = "false"  # tests that are about them set it


@contextmanager
def made_once(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder for all workers of the session, and whether this one is the first and has to fill it."""
    place = tmp_path_factory.getbasetemp()
    place = place.parent if os.environ.get("PYTEST_XDIST_WORKER") else place
    with FileLock(place / f"{name}.lock"):
        done = place / f"{name}.done"
        yield place / name, not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose pipeline has been run once by ``dvc repro``; tests leave its files as they are."""
    with made_once(tmp_path_factory, "tiny_project") as (folder, first):
        if first:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            copy_project(folder).run("dvc", "repro")
    return Project(folder)


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
    with made_once(tmp_path_factory, "two_versions") as (folder, first):
        if first:
            shutil.rmtree(folder, ignore_errors=True)
            made = copy_of(project, folder)
            write_params({"train.seed": 1}, made.folder / "params.yaml")
            made.run("git", "commit", "-qam", "another seed")
            for stage in ("train", "evaluate", "report", "register"):
                made.module(stage)
    return Project(folder)


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


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh MLflow store, to be copied: to make one takes seconds, so all the places that import this share it."""
    folder = tmp_path_factory.getbasetemp() / "empty-store"
    if not folder.exists():
        made = tmp_path_factory.mktemp("store")
        with pytest.MonkeyPatch.context() as patch:
            work_in(made, patch)
            connect()
        made.rename(folder)
    return folder / "mlruns"


@pytest.fixture
def place(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with an empty store, as the current folder."""
    shutil.copytree(empty_store, tmp_path / "mlruns")
    work_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for longer than a test likes."""
    for name, seconds in {"INTERVAL": 0.05, "LONGEST_PAUSE": 0.2, "HEALTHY_CLOSE": 10.0, "AWAY_CLOSE": 0.3}.items():
        monkeypatch.setattr(sync, name, seconds)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def cuda_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocasting of fake tensors on a GPU, which PyTorch disables without one."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
