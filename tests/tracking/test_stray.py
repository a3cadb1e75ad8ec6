import os
import subprocess
import sys
from pathlib import Path

from src.tracking.stray import check_stray

DEFAULT = "import mlflow; print(mlflow.get_tracking_uri())"


def default_address() -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, "-c", DEFAULT]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def stray(name: str) -> Path:
    path = Path("mlruns", name, "meta.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(f"name: {name}\n")
    return path


def test_a_stray_folder_is_moved_aside_whole(place: Path) -> None:
    assert [one.level for one in check_stray()] == ["ok"]
    stray("0").with_name("runs").mkdir()
    stray("models")
    assert default_address().endswith("/mlruns")
    (finding,) = check_stray()
    assert finding.level == "problem"
    assert finding.text.startswith("mlruns/0, mlruns/models would turn MLflow's default")
    assert finding.repair is not None
    assert finding.repair() == "moved mlruns/0 to mlruns/stray/0, mlruns/models to mlruns/stray/models"
    assert Path("mlruns/stray/0/meta.yaml").read_text() == "name: 0\n"
    assert Path("mlruns/stray/0/runs").is_dir()
    assert [one.level for one in check_stray()] == ["ok"]
    assert default_address().startswith("sqlite:")


def test_another_one_of_the_same_name_has_its_own_place(place: Path) -> None:
    for number in range(3):
        stray("0").write_text(str(number))
        (finding,) = check_stray()
        assert finding.repair is not None
        finding.repair()
    names = ("0", "0.2", "0.3")
    assert [Path("mlruns/stray", name, "meta.yaml").read_text() for name in names] == ["0", "1", "2"]
