import subprocess
import sys
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.tracking import store
from tests.conftest import work_in


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
