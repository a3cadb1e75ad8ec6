from pathlib import Path

import mlflow
import pytest
from mlflow.tracking._tracking_service import utils

from src.doctor.stray import check_stray


@pytest.fixture(autouse=True)
def _nobody_has_set_an_address(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process as in a fresh one."""
    monkeypatch.setattr(utils, "_tracking_uri", None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def stray(name: str) -> Path:
    path = Path("mlruns", name, "meta.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(f"name: {name}\n")
    return path


def test_a_stray_folder_is_moved_aside_whole() -> None:
    assert [one.level for one in check_stray()] == ["ok"]
    stray("0").with_name("runs").mkdir()
    stray("models")
    assert mlflow.get_tracking_uri().endswith("/mlruns")
    (finding,) = check_stray()
    assert finding.level == "problem"
    assert finding.text.startswith("mlruns/0, mlruns/models would turn MLflow's default")
    assert finding.repair is not None
    assert finding.repair() == "moved mlruns/0 to mlruns/stray/0, mlruns/models to mlruns/stray/models"
    assert Path("mlruns/stray/0/meta.yaml").read_text() == "name: 0\n"
    assert Path("mlruns/stray/0/runs").is_dir()
    assert [one.level for one in check_stray()] == ["ok"]
    assert mlflow.get_tracking_uri().startswith("sqlite:")


def test_another_one_of_the_same_name_has_its_own_place() -> None:
    for number in range(3):
        stray("0").write_text(str(number))
        (finding,) = check_stray()
        assert finding.repair is not None
        finding.repair()
    names = ("0", "0.2", "0.3")
    assert [Path("mlruns/stray", name, "meta.yaml").read_text() for name in names] == ["0", "1", "2"]
