"""Looking into the registry and changing it, by the commands that a person types."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from src.core.errors import UserError
from src.registry import __main__ as registry
from src.registry.facts import facts
from src.registry.promotion import refusals
from src.registry.versions import aliases_of
from tests.conftest import Project, copy_of, work_in


@pytest.fixture
def two(two_versions: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A copy of the project with two versions, the first of them champion, as the current folder."""
    copy = copy_of(two_versions, tmp_path / "copy")
    work_in(copy.folder, monkeypatch)
    client = copy.client()
    for alias in ("champion", "previous"):
        client.delete_registered_model_alias("gan-digits", alias)
    client.set_registered_model_alias("gan-digits", "champion", "1")
    return client


def test_list(in_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["list"])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["model", "alias", "validation.score"]
    assert row.split()[:3] == ["gan-digits/1", "candidate,", "champion"]
    assert "promoted" in row


def test_best(two: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {
        f"gan-digits/{one.version}": float(one.tags["validation.score"])
        for one in two.search_model_versions("name = 'gan-digits'")
    }
    registry.main(["best"])
    assert capsys.readouterr().out.splitlines()[1].split()[0] == min(scores, key=scores.__getitem__)


def test_show_tells_all(project: Project, in_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["show", "gan-digits"])
    told = capsys.readouterr().out
    shown = " ".join(told.split())
    version = project.client().get_model_version("gan-digits", "1")
    card = json.loads((project.folder / "models/evaluation/scorecard.json").read_text(encoding="utf-8"))
    commit = project.run("git", "rev-parse", "HEAD").stdout.strip()
    for part in (
        "gan-digits/1 aliases candidate, champion verdict",
        str(version.run_id),
        version.tags["generator.hash"],
        card["data_hash"],
        card["classifier_hash"],
        commit,
        "python -m src.registry rebuild gan-digits/1",
        "requirements, SHA-256",
        "dvc.lock, SHA-256",
        "device cpu, 1 threads",
        "torch 2.",
    ):
        assert part in shown
    (accuracy,) = (line for line in told.splitlines() if "GAN-test accuracy" in line)
    one = card["generated"]["gan_test_accuracy"]
    assert f"{one['value']:.3f}  [{one['low']:.3f}, {one['high']:.3f}]" in accuracy


def test_promote_and_roll_back(two: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["promote", "gan-digits/2", "--yes"])
    assert "gan-digits/2 becomes champion in place of gan-digits/1, which becomes previous." in capsys.readouterr().out
    assert aliases_of(two, "gan-digits") == {"candidate": "2", "champion": "2", "previous": "1"}
    assert "promoted by hand" in two.get_model_version("gan-digits", "2").tags["champion.since"]
    registry.main(["rollback", "gan-digits", "--yes"])
    assert "gan-digits/1 becomes champion again, and gan-digits/2 becomes previous." in capsys.readouterr().out
    assert aliases_of(two, "gan-digits") == {"candidate": "2", "champion": "1", "previous": "2"}


def test_a_version_that_was_rolled_back_is_not_promoted_by_the_gate(two: MlflowClient) -> None:
    registry.main(["promote", "gan-digits/2", "--yes"])
    registry.main(["rollback", "gan-digits", "--yes"])
    tags = facts(two, two.get_model_version("gan-digits", "2"))
    found = list(refusals(tags, tags["data.hash"], allow_dirty=False))
    assert found[0].startswith("it was champion, and was rolled back to gan-digits/1; ")
    registry.main(["promote", "gan-digits/2", "--yes"])
    assert (
        list(refusals(facts(two, two.get_model_version("gan-digits", "2")), tags["data.hash"], allow_dirty=False)) == []
    )


def test_delete(two: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="gan-digits/1 is the champion, which cannot be deleted"):
        registry.main(["delete", "gan-digits/1", "--yes"])
    registry.main(["delete", "gan-digits/2", "--yes"])
    assert "and with it the alias candidate; its run " in capsys.readouterr().out
    assert [str(one.version) for one in two.search_model_versions("name = 'gan-digits'")] == ["1"]
    assert aliases_of(two, "gan-digits") == {"champion": "1"}


@pytest.mark.parametrize("command", ["promote gan-digits/2", "delete gan-digits/2"])
def test_without_a_terminal_nothing_is_done_unasked(two: MlflowClient, command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "src.registry", *command.split()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "gan-digits/2 " in result.stdout
    assert result.stderr == "error: nothing was changed: there is no terminal for a confirmation; add --yes\n"
    assert aliases_of(two, "gan-digits") == {"candidate": "2", "champion": "1"}


@pytest.mark.parametrize(("answer", "champion"), [("y\n", "2"), ("n\n", "1"), ("\n", "1")])
def test_a_person_is_asked(two: MlflowClient, answer: str, champion: str) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "src.registry", "promote", "gan-digits/2"], stdin=slave)
    os.write(master, answer.encode())
    assert process.wait(timeout=60) == 0
    os.close(master)
    os.close(slave)
    assert aliases_of(two, "gan-digits")["champion"] == champion


def test_compare(two: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    registry.main(["compare", "gan-digits/2"])
    forth = capsys.readouterr().out
    registry.main(["compare", "gan-digits/1", "gan-digits/2"])
    back = capsys.readouterr().out
    assert "# Gate: gan-digits/2, " in forth
    assert "| | gan-digits/2 | gan-digits/1 | difference |" in forth
    differences = [float(text.split("| objective |")[1].split("|")[2].split()[0]) for text in (forth, back)]
    assert differences[0] == -differences[1] != 0
    assert aliases_of(two, "gan-digits") == {"candidate": "2", "champion": "1"}
    with pytest.raises(UserError, match="both are gan-digits/1; name two versions"):
        registry.main(["compare", "gan-digits/1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "boots@champion"], "has no model 'boots'"),
        (["promote", "gan-digits/1"], "gan-digits/1 is the champion already"),
        (["rollback", "gan-digits"], "gan-digits has no previous champion to restore"),
        (["rollback", "gan-digits/1"], "rollback takes the NAME of a model alone, not 'gan-digits/1'"),
        (["delete", "gan-digits/9"], "gan-digits has no version '9'"),
    ],
)
def test_wrong_input(in_project: Project, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.main(arguments)


def test_an_empty_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_in(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="is empty; `dvc repro` trains and registers a model"):
        registry.main(["list"])
