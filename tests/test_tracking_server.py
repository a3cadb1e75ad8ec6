"""The whole project against a real ``mlflow server`` with PostgreSQL and a folder of artifacts."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from src import compare, lineage, register, sample
from src.core.errors import UserError
from src.registry import __main__ as registry
from src.registry.facts import facts, run_of
from tests.conftest import Project, copy_of, work_in
from tests.tracking.server import Server
from tests.tuning.postgres import create_database

pytestmark = pytest.mark.slow


class ServedProject(Project):
    """A project whose MLflow is a server."""

    def __init__(self, folder: Path, uri: str) -> None:
        super().__init__(folder)
        self.uri = uri

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MLFLOW_TRACKING_URI": self.uri}

    @property
    def tracking_uri(self) -> str:
        return self.uri


@pytest.fixture(scope="module")
def served(project: Project, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProject]:
    """A project that was trained twice, by ``dvc repro`` and by ``dvc exp run``."""
    place = tmp_path_factory.mktemp("served")
    (place / "server").mkdir()
    server = Server(
        place / "server", create_database(postgres, "mlflow").replace("postgresql:", "postgresql+psycopg:", 1)
    )
    server.start()
    try:
        made = ServedProject(copy_of(project, place / "project", "mlruns").folder, server.uri)
        made.run("git", "checkout", "--", "mlruns")
        made.run("dvc", "repro", "--force", "--single-item", "train", "evaluate", "register")
        made.run("git", "add", "dvc.lock")
        made.run("git", "commit", "-qm", "lock")
        made.run("dvc", "exp", "run", "-n", "other", "-S", "train.seed=1")
        yield made
    finally:
        server.kill()


@pytest.fixture
def here(served: ServedProject, monkeypatch: pytest.MonkeyPatch) -> ServedProject:
    """The same, as the current folder of this process, which asks the server too."""
    work_in(served.folder, monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    return served


def test_nothing_is_left_in_the_project(served: ServedProject) -> None:
    assert not (served.folder / "mlruns" / "mlflow.db").exists()
    assert not (served.folder / "mlruns" / "artifacts").exists()
    files = [file for file in (served.folder.parent / "server" / "files").rglob("*") if file.is_file()]
    assert {"generator.safetensors", "scorecard.json", "samples.png", "git.diff"} <= {file.name for file in files}


def test_runs_and_versions_are_on_the_server(served: ServedProject) -> None:
    client = served.client()
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"mlp-projection-bce", "other"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    version = client.get_model_version("gan-digits", "2")
    assert run_of(version) == runs["other"].info.run_id
    assert len(version.tags) <= 12
    tags = facts(client, version)
    assert len(tags["code.sha256"]) == 64
    assert tags["gate.decision"] in ("promoted", "kept")
    assert "gate.allowed_dirty" not in tags


def test_the_registry_answers_and_changes(
    here: ServedProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(main: Callable[[Sequence[str]], None], *arguments: str) -> str:
        capsys.readouterr()
        main(arguments)
        return capsys.readouterr().out

    assert "gan-digits/2" in said(registry.main, "list")
    shown = said(registry.main, "show", "gan-digits/2")
    assert f"MLflow store {here.uri}" in " ".join(shown.split())
    assert "GAN-test accuracy (label agreement)" in shown
    client = here.client()
    commit = client.get_model_version("gan-digits", "1").tags["git.commit"]
    assert "gan-digits/1" in said(lineage.main, commit[:8])
    assert "Beyond noise" in said(compare.main, "gan-digits/1", "gan-digits/2")
    assert "# Gate: gan-digits/" in said(registry.main, "compare", "gan-digits/2", "gan-digits/1")
    champion = str(client.get_registered_model("gan-digits").aliases["champion"])
    other = {"1": "2", "2": "1"}[champion]
    registry.main(["promote", f"gan-digits/{other}", "--yes"])
    assert str(client.get_registered_model("gan-digits").aliases["champion"]) == other
    registry.main(["rollback", "gan-digits", "--yes"])
    assert str(client.get_registered_model("gan-digits").aliases["champion"]) == champion
    with pytest.raises(UserError):
        registry.main(["delete", f"gan-digits/{champion}", "--yes"])
    sample.main(["--model", "gan-digits/1", "--count", "4", "--out", str(tmp_path / "a.png")])
    sample.main(["--model", "models/gan", "--count", "4", "--out", str(tmp_path / "b.png")])
    assert (tmp_path / "a.png").is_file()


def test_another_machine_loads_the_champion(served: ServedProject, tmp_path: Path) -> None:
    """With the server's address alone: no project, no files of it."""
    code = (
        "import json, mlflow, pandas as pd\n"
        "model = mlflow.pyfunc.load_model('models:/gan-digits@champion')\n"
        "images = model.predict(pd.DataFrame({'label': [0, 1], 'seed': [0, 0]}))\n"
        "import numpy as np\n"
        "print(json.dumps([list(np.asarray(images).shape), float(np.asarray(images).max())]))\n"
    )
    environment = {**served.environment, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    shape, highest = json.loads(result.stdout.splitlines()[-1])
    assert shape == [2, 1, 8, 8]
    assert np.isfinite(highest)
    assert -1 <= highest <= 1


def test_a_lost_run_is_recreated_on_the_server(here: ServedProject, capsys: pytest.CaptureFixture[str]) -> None:
    client = here.client()
    lost = str(run_of(client.get_model_version("gan-digits", "2")))
    client.delete_run(lost)
    register.main([])
    assert "one is re-created from models/gan" in capsys.readouterr().out
    found = str(run_of(client.get_model_version("gan-digits", "2")))
    assert found != lost
    assert client.get_run(found).data.tags["registered"] == "gan-digits/2"
