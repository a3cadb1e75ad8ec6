import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from src.doctor.audit import check_registry
from src.registry import versions
from src.tracking import store
from tests.conftest import Project

REBUILD = "`python -m src.registry rebuild gan-digits/1` recreates it, `python -m src.registry delete gan-digits/1`"


def model_files() -> Path:
    (folder,) = Path("mlruns/artifacts/digits/models").glob("*/artifacts")
    return folder


def test_a_whole_registry(own: Project) -> None:
    client = store.connect()
    assert [(one.level, one.text) for one in check_registry(client)] == [("ok", "1 registered version is intact")]


@pytest.mark.parametrize("place", [-1, 3])
def test_a_flipped_byte(own: Project, place: int) -> None:
    weights = model_files() / "extra_files/generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[place] ^= 1
    weights.write_bytes(content)
    (finding,) = check_registry(store.connect())
    assert (finding.level, finding.repair) == ("problem", None)
    assert finding.text.startswith("gan-digits/1")
    assert "\n" not in finding.text
    assert len(finding.text) < 200
    assert finding.advice.startswith(REBUILD)


@pytest.mark.parametrize("what", ["", "extra_files", "extra_files/card.json", "extra_files/generator.safetensors"])
def test_missing_files(own: Project, what: str) -> None:
    path = model_files() / what
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    (finding,) = check_registry(store.connect())
    assert (finding.level, finding.repair) == ("problem", None)
    assert "gan-digits/1" in finding.text
    assert len(finding.text) < 400
    assert finding.advice.startswith(REBUILD)


def test_an_alias_that_means_nothing_is_removed(own: Project) -> None:
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection, connection:
        connection.execute("update registered_model_aliases set version = 9 where alias = 'candidate'")
    client = store.connect()
    broken, whole = check_registry(client)
    assert whole.level == "ok"
    assert (broken.level, broken.text) == ("problem", "gan-digits@candidate refers to version 9, which does not exist")
    assert broken.repair is not None
    assert broken.repair() == "removed the alias gan-digits@candidate"
    assert versions.aliases_of(client, "gan-digits") == {"champion": "1"}


def test_models_of_other_programs_are_not_looked_at(own: Project) -> None:
    client = store.connect()
    client.create_registered_model("other")
    client.create_model_version("other", "/nowhere")
    assert [one.text for one in check_registry(client)] == ["1 registered version is intact"]
