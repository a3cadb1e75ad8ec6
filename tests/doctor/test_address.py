import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.db.utils import _get_latest_schema_revision

from src.doctor.address import check_address
from src.doctor.finding import Finding
from tests.conftest import work_in

DATABASE = Path("mlruns/mlflow.db")
OLDER = "451aebb31d03"
"""revision of an MLflow of 2019"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def found() -> Finding:
    began = time.monotonic()
    (finding,) = check_address()
    assert time.monotonic() - began < 15
    return finding


def set_revision(revision: str) -> None:
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.execute("update alembic_version set version_num = ?", (revision,))


def test_a_store_that_answers(place: Path) -> None:
    assert (found().level, found().text[:45]) == ("ok", "sqlite:///./mlruns/mlflow.db answers, MLflow ")


def test_no_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_in(tmp_path, monkeypatch)
    assert (found().level, found().text) == (
        "ok",
        "no store yet: the first training makes sqlite:///./mlruns/mlflow.db",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", "file:///tmp/mlruns", "file:mlruns"])
def test_a_file_store_is_a_wrong_address(uri: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finding = found()
    assert finding.level == "problem"
    assert finding.text == f"MLFLOW_TRACKING_URI={uri} is the address of a file store, which MLflow refuses since 3.13"
    assert finding.advice.startswith("unset MLFLOW_TRACKING_URI")


@pytest.mark.parametrize("uri", ["sqlite:mlflow.db", "ftp://host/x"])
def test_an_address_that_is_none(uri: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert found().text == f"MLFLOW_TRACKING_URI={uri} is not allowed"


def test_tables_of_another_mlflow(place: Path) -> None:
    newest = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    set_revision(OLDER)
    older = found()
    assert (older.level, "made by an older MLflow" in older.text) == ("problem", True)
    assert older.advice == "copy the database, then `mlflow db upgrade sqlite:///./mlruns/mlflow.db`"
    set_revision("ffffffffffff")
    newer = found()
    assert (newer.level, "made by a newer MLflow" in newer.text) == ("problem", True)
    set_revision(newest)
    assert found().level == "ok"


def test_a_database_that_cannot_be_used(place: Path) -> None:
    with closing(sqlite3.connect(DATABASE)) as other:
        other.execute("begin exclusive")
        locked = found()
    assert (locked.level, locked.text) == (
        "problem",
        "sqlite:///./mlruns/mlflow.db cannot be used: database is locked",
    )
    DATABASE.write_bytes(b"no database at all, but longer than a header of one hundred bytes is" * 9)
    assert found().text == "sqlite:///./mlruns/mlflow.db cannot be used: file is not a database"
    DATABASE.unlink()
    with closing(sqlite3.connect(DATABASE)) as other, other:
        other.execute("create table other (x)")
    assert found().text == "sqlite:///./mlruns/mlflow.db has no tables of MLflow"


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
    assert (finding.level, finding.text.partition(":/")[2][:2]) == ("problem", "/1")
    assert finding.text.startswith(f"{shown} cannot be used: ")
    assert reason in finding.text
    assert "secret" not in finding.text
    assert len(finding.text) < 200
