import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest

from src import sample
from src.core.errors import UserError
from src.doctor.moved import COLUMNS, check_moved
from src.registry import __main__ as registry
from src.tracking import store
from src.tracking.origin import Origin
from src.tracking.runs import new_run
from tests.conftest import Project, work_in


def use_it(png: str) -> bytes:
    """What a person does with the registry, in three ways."""
    store.connect()
    registry.main(["show", "gan-digits@champion"])
    sample.main(["--model", "gan-digits@champion", "--label", "3", "--count", "2", "--seed", "0", "--out", png])
    images = mlflow.pyfunc.load_model("models:/gan-digits@champion").predict(np.array([[3, 0]], dtype=np.int64))
    assert images.shape == (1, 1, 8, 8)
    return Path(png).read_bytes()


def locations(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "mlruns/mlflow.db")) as connection:
        queries = [f"select {column} from {table}" for table, column in COLUMNS]
        return sorted(row[0] for query in queries for row in connection.execute(query))


def test_a_project_that_was_really_moved(own: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.level for one in check_moved()] == ["ok"]
    before = use_it("before.png")
    new = tmp_path / "mlruns" / "a new name, ä #"
    new.parent.mkdir()
    own.folder.rename(new)
    work_in(new, monkeypatch)
    with pytest.raises(UserError, match=r"if the project was moved, `python -m src\.doctor --fix` updates"):
        use_it("after.png")

    old = locations(new)
    (finding,) = check_moved()
    assert finding.level == "problem"
    assert f"point to {own.folder}/mlruns, but the files are in {new}/mlruns" in finding.text
    assert finding.repair is not None
    said = finding.repair()
    (backup,) = Path("mlruns").glob("mlflow.before-*.db")
    assert said == f"{finding.text.split()[0]} paths point to {new}/mlruns now; {backup} is a backup of the database"
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("select artifact_uri from runs").fetchone()[0] in old

    assert [one.level for one in check_moved()] == ["ok"]
    assert not any(str(own.folder) in location for location in locations(new))
    assert [location.startswith("file:") for location in locations(new)].count(True) == 4
    assert use_it("after.png") == before
    with new_run("digits", Origin.here("later", {}, {})) as run:  # a new run's place is made from the experiment's
        run.text("here", "note.txt")
    assert Path(f"mlruns/artifacts/digits/{run.run_id}/artifacts/note.txt").read_text() == "here"
    assert not own.folder.exists()


def test_a_copy_gets_its_own_and_leaves_the_original_alone(
    own: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, copy = locations(own.folder), tmp_path / "copy"
    shutil.copytree(own.folder, copy)
    work_in(copy, monkeypatch)
    (finding,) = check_moved()
    assert finding.repair is not None
    finding.repair()
    assert locations(own.folder) == original
    assert locations(copy) == [one.replace(str(own.folder), str(copy)) for one in original]


def test_files_that_stayed_behind_are_told_and_left(
    own: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run was made after the move, and before the repair: MLflow has made the old folder anew for it."""
    new = tmp_path / "new"
    own.folder.rename(new)
    work_in(new, monkeypatch)
    with new_run("digits", Origin.here("between", {}, {})) as run:
        run.text("there", "note.txt")
    moved, stayed = check_moved()
    assert (stayed.level, stayed.repair) == ("warning", None)
    assert stayed.text == f"the files of 1 paths in mlruns/mlflow.db are in {own.folder}/mlruns"
    assert stayed.advice == f"to move them here: `cp -rn {own.folder}/mlruns/artifacts mlruns/`, then --fix"
    assert moved.repair is not None
    moved.repair()
    client = store.connect()
    assert client.list_artifacts(run.run_id)[0].path == "note.txt"
    shutil.copytree(own.folder / "mlruns/artifacts", "mlruns/artifacts", dirs_exist_ok=True)
    (again,) = check_moved()
    assert again.repair is not None
    again.repair()
    shutil.rmtree(own.folder)
    assert client.list_artifacts(run.run_id)[0].path == "note.txt"
    assert [one.level for one in check_moved()] == ["ok"]


def test_a_database_in_use_is_left_as_it_is(own: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.doctor.moved.SECONDS", 0.1)
    new = tmp_path / "new"
    own.folder.rename(new)
    work_in(new, monkeypatch)
    before = locations(new)
    (finding,) = check_moved()
    with closing(sqlite3.connect("mlruns/mlflow.db")) as other:
        other.execute("begin immediate")
        assert finding.repair is not None
        with pytest.raises(UserError, match=r"mlruns/mlflow.db cannot be changed: database is locked; it is unchanged"):
            finding.repair()
    assert locations(new) == before
    assert not list(Path("mlruns").glob("*.before-*"))


def test_a_server_has_its_files_where_it_says(own: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.folder.rename(tmp_path / "new")
    work_in(tmp_path / "new", monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert list(check_moved()) == []
