from pathlib import Path

import pytest

from src import registry
from src.errors import UserError
from tests.conftest import Project, work_in


def test_list(in_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["list"])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["model", "alias", "validation.score"]
    assert row.split()[:3] == ["gan-digits/1", "candidate,", "champion"]


def test_show(in_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["show", "gan-digits"])
    shown = capsys.readouterr().out
    for part in ("gan-digits/1", "candidate, champion", "generator.hash", "git.commit", "classifier.hash", "verdict"):
        assert part in shown


def test_best(in_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["best"])
    assert "gan-digits/1" in capsys.readouterr().out


def test_unknown_name(in_project: Project) -> None:
    with pytest.raises(UserError, match="has no model 'boots'"):
        registry.main(["show", "boots@champion"])


def test_an_empty_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_in(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="is empty; `dvc repro` trains and registers a model"):
        registry.main(["list"])
