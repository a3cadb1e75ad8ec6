import pytest

from src import lineage
from src.core.errors import UserError
from src.registry.facts import facts
from src.tracking.store import connect
from tests.conftest import Project


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("git.commit", "trained at commit, registered at commit"),
        ("data.hash", "data"),
        ("generator.hash", "generator"),
        ("dvc.out.data/prepared/dataset.safetensors", "DVC data/prepared/dataset.safetensors"),
        ("requirements.sha256", "requirements"),
    ],
)
def test_models_by_what_they_came_from(
    in_project: Project, tag: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    version = (client := connect()).get_model_version("gan-digits", "1")
    lineage.main([facts(client, version)[tag][:9].upper()])
    (row,) = capsys.readouterr().out.splitlines()[1:]
    assert row.split()[:3] == ["gan-digits/1", "candidate,", "champion"]
    assert words in row
    assert str(version.run_id) in row


def test_nothing_came_from_it(in_project: Project) -> None:
    with pytest.raises(UserError, match=r"no model in the registry at .* came from 0123456789ab"):
        lineage.main(["0123456789ab"])


@pytest.mark.parametrize("text", ["12345", "main", "g" * 8])
def test_not_a_hash(text: str) -> None:
    with pytest.raises(UserError, match="is not a hash: write 6 to 64 hexadecimal digits"):
        lineage.main([text])
