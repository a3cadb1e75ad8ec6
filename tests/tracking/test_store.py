import importlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from src.core.errors import UserError, run_command
from src.tracking import store
from tests.conftest import Project, work_in


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_in(tmp_path, monkeypatch)


def test_the_store_is_in_the_project(tmp_path: Path) -> None:
    assert store.tracking_uri() == f"sqlite:///{tmp_path}/mlruns/mlflow.db"


def test_dvc_names_the_project_of_a_temporary_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    assert store.tracking_uri() == f"sqlite:///{tmp_path}/project/mlruns/mlflow.db"


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert store.tracking_uri() == "http://127.0.0.1:9"


def test_a_dead_server_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"the MLflow store http://127\.0\.0\.1:9 cannot be reached"):
        store.connect()


def test_artifacts_are_beside_the_database(place: Path) -> None:
    client = store.connect()
    first = store.experiment_id(client, "digits")
    assert store.experiment_id(client, "digits") == first
    assert client.get_experiment(first).artifact_location == (place / "mlruns/artifacts/digits").as_uri()


@pytest.mark.slow
def test_four_processes_may_create_the_store_at_once(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); from src.tracking import store; "
        "print(store.experiment_id(store.connect(), 'x'))"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, outputs
    assert len({output for output, _ in outputs}) == 1


def _random(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 400)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _overwritten(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8192:40960] = b"\xff" * 32768
    file.write_bytes(content)


def _foreign(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("create table trials (number int)")
        connection.execute("create table alembic_version (version_num text)")


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("registry_alone", [True, False])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_random, "is corrupt (file is not a database)"),
        (_cut, "is corrupt (database disk image is malformed)"),
        (_overwritten, "is corrupt ("),
        (_foreign, "is the database of another program"),
        (_folder, "is not a file"),
    ],
)
def test_a_damaged_or_foreign_database_is_a_sentence_and_left_as_it_is(
    damage: Callable[[Path], None], sentence: str, registry_alone: bool, place: Path
) -> None:
    file = place / "mlruns" / "mlflow.db"
    damage(file)
    before = file.read_bytes() if file.is_file() else b""
    with pytest.raises(UserError, match=r"mlruns/mlflow.db .*nothing was changed") as raised:
        store.connect(registry_alone=registry_alone)
    assert sentence in str(raised.value)
    assert (file.read_bytes() if file.is_file() else b"") == before


@pytest.mark.parametrize("command", ["register", "registry list", "lineage abcdef", "train"])
def test_each_command_says_so(command: str, own: Project, capsys: pytest.CaptureFixture[str]) -> None:
    _random(Path("mlruns/mlflow.db"))
    name, *arguments = command.split()
    module = importlib.import_module("src.registry.__main__" if name == "registry" else f"src.{name}")
    with pytest.raises(SystemExit) as raised:
        run_command(lambda: module.main(arguments))
    assert raised.value.code == 2
    assert "error: the MLflow store mlruns/mlflow.db is corrupt (" in capsys.readouterr().err


def test_a_database_without_tables_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/mlflow.db").touch()
    store.check_file()


POOL = (
    "API request to http://host/api failed with exception HTTPConnectionPool(host='host', port=1): Max retries exceeded"
)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (f"{POOL} (Caused by NewConnectionError('<x>: [Errno 111] Connection refused'))", "Connection refused"),
        (f"{POOL} (Caused by ResponseError('too many 503 error responses'))", "too many 503 error responses"),
        (f"{POOL}: Read timed out. (read timeout=30)", "timed out"),
        ("(sqlite3.OperationalError) database is locked [SQL: UPDATE ...]", "database is locked"),
        ("[Errno 28] No space left on device: 'file'", "No space left on device:"),
        ("first line\nsecond line", "first line"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_in_a_long_message(sentence: str, words: str) -> None:
    assert store.reason(RuntimeError(sentence)) == words
