from pathlib import Path

import mlflow
import pytest

from src.core import paths
from src.core.errors import UserError
from src.networks.description import load_generator
from src.networks.weights import content_hash
from src.registry import versions
from src.tracking import store
from tests.conftest import Project


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("gan@champion", ("gan", "alias", "champion")),
        ("gan/3", ("gan", "version", "3")),
        ("gan", ("gan", "alias", "champion")),
        ("models:/gan@candidate", ("gan", "alias", "candidate")),
    ],
)
def test_references(reference: str, parts: tuple[str, str, str]) -> None:
    assert versions.split_reference(reference) == parts


@pytest.mark.parametrize("reference", ["", "@champion", "gan@", "gan/x", "gan/"])
def test_wrong_references(reference: str) -> None:
    with pytest.raises(UserError, match="is not a model: write NAME@ALIAS or NAME/VERSION"):
        versions.split_reference(reference)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nothing@champion", "has no model 'nothing'; it has gan-digits"),
        (
            "gan-digits@winner",
            "gan-digits has no alias 'winner'; it has gan-digits@candidate, gan-digits@champion, gan-digits/1",
        ),
        (
            "gan-digits/7",
            "gan-digits has no version '7'; it has gan-digits@candidate, gan-digits@champion, gan-digits/1",
        ),
    ],
)
def test_unknown_models(in_project: Project, reference: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        versions.find_version(store.connect(), reference)


def test_a_version_comes_back_as_it_was(in_project: Project) -> None:
    client = store.connect()
    version = versions.find_version(client, "gan-digits@champion")
    stored, original = versions.load_version(client, version), load_generator(paths.GAN)
    assert content_hash(stored.network) == content_hash(original) == version.tags["generator.hash"]
    assert stored.class_names == tuple("0123456789")
    assert float(version.tags["validation.score"]) > 0


def test_compiled_code_beside_the_stored_one_changes_nothing(
    in_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.connect()
    version = versions.find_version(client, "gan-digits/1")
    folder = Path(mlflow.artifacts.download_artifacts("models:/gan-digits/1", dst_path=str(tmp_path / "model")))
    cache = folder / "code" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "served_generator.pyc").write_bytes(b"something else")
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda uri, dst_path: str(folder))
    assert versions.fetch(client, version, str(tmp_path)) == folder
    assert not cache.exists()


@pytest.mark.parametrize("name", ["data/model.pt2", "code/served_generator.py", "extra_files/generator.safetensors"])
@pytest.mark.parametrize("tagged", [True, False])
def test_changed_files_are_refused(
    in_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tagged: bool
) -> None:
    """Versions of early releases have only the hash of the generator."""
    client = store.connect()
    version = versions.find_version(client, "gan-digits/1")
    folder = Path(mlflow.artifacts.download_artifacts("models:/gan-digits/1", dst_path=str(tmp_path / "model")))
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(bytes(content))
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda uri, dst_path: str(folder))
    if not tagged:
        monkeypatch.setattr(versions, "FILES_TAG", "no such tag")
    if tagged or name.endswith(".safetensors"):
        tag = r"files\.sha256" if tagged else r"generator\.hash"
        with pytest.raises(UserError, match=rf"gan-digits/1 differs from what was registered: .* of its tag {tag}"):
            versions.load_version(client, version)
    else:
        versions.load_version(client, version)


def test_datasets_do_not_mix(in_project: Project) -> None:
    client = store.connect()
    versions.check_dataset(client, "gan-digits", "digits")
    versions.check_dataset(client, "gan-unknown", "fashion-mnist")
    with pytest.raises(UserError, match="'gan-digits' holds generators of digits, this one is of fashion-mnist"):
        versions.check_dataset(client, "gan-digits", "fashion-mnist")


def test_a_custom_family_needs_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    versions.check_family({"architecture": "mlp generator"}, "gan-digits/1")
    with pytest.raises(
        UserError, match=r"^gan-digits/1: its family extras.tiny.Tiny is missing: extras/tiny.py is not in"
    ):
        versions.check_family({"architecture": "extras.tiny.Tiny generator"}, "gan-digits/1")
    (tmp_path / "extras").mkdir()
    (tmp_path / "extras" / "tiny.py").touch()
    versions.check_family({"architecture": "extras.tiny.Tiny generator"}, "gan-digits/1")
