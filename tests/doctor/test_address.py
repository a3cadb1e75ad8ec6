import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from src.doctor.address import RIGHT, check_address
from src.doctor.finding import Finding
from tests.conftest import work_in

DATABASE = Path("mlruns/mlflow.db")
SHOWN = "sqlite:///./mlruns/mlflow.db"
FILE_STORE = "the address of a file store, which MLflow does not support since 3.13"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def found() -> Finding:
    began = time.monotonic()
    (finding,) = check_address()
    assert time.monotonic() - began < 15
    return finding


def test_a_store_that_answers(place: Path) -> None:
    assert (found().level, found().text.partition(", ")[0]) == ("ok", f"{SHOWN} answers")


def test_no_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_in(tmp_path, monkeypatch)
    assert (found().level, found().text) == ("ok", f"no store yet: the first run creates {SHOWN}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        *((uri, FILE_STORE) for uri in ("./mlruns", "mlruns", "file:///tmp/mlruns", "file:mlruns")),
        *((uri, "invalid") for uri in ("sqlite:mlflow.db", "ftp://host/x")),
    ],
)
def test_a_wrong_address(uri: str, what: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finding = found()
    assert (finding.level, finding.text) == ("problem", f"MLFLOW_TRACKING_URI={uri} is {what}")
    assert finding.advice == RIGHT


@pytest.mark.parametrize("revision", ["451aebb31d03", "ffffffffffff"])  # of an MLflow of 2019, and of none yet
def test_tables_of_another_mlflow(revision: str, place: Path) -> None:
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.execute("update alembic_version set version_num = ?", (revision,))
    finding = found()
    assert finding.level == "problem"
    assert finding.text.startswith(f"{SHOWN} cannot be used: out-of-date database schema (found version {revision}, ")
    assert finding.advice.startswith(f"back up the database, then `mlflow db upgrade {SHOWN}`; or install the MLflow")


def test_a_database_that_cannot_be_used(place: Path) -> None:
    with closing(sqlite3.connect(DATABASE)) as other:
        other.execute("begin exclusive")
        locked = found()
    assert (locked.level, locked.text) == ("problem", f"{SHOWN} cannot be used: database is locked")
    DATABASE.write_bytes(b"no database at all, but longer than a header of one hundred bytes is" * 9)
    assert found().text == f"{SHOWN} cannot be used: file is not a database"
    DATABASE.unlink()
    with closing(sqlite3.connect(DATABASE)) as other, other:
        other.execute("create table other (x)")
    assert found().text == f"{SHOWN} cannot be used: the database of another program"


@pytest.mark.parametrize(
    ("uri", "shown", "reason"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9", "Connection refused"),
        ("postgresql+psycopg://me:secret@127.0.0.1:9/x", "postgresql+psycopg://127.0.0.1:9/x", "onnection"),
        ("mysql://me:secret@127.0.0.1:9/x", "mysql://127.0.0.1:9/x", "No module named 'MySQLdb'"),
    ],
)
def test_a_server_that_is_away(uri: str, shown: str, reason: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finding = found()
    assert finding.level == "problem"
    assert finding.text.startswith(f"{shown} cannot be used: ")
    assert reason in finding.text
    assert "secret" not in finding.text
    assert len(finding.text) < 200
