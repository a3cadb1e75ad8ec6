import io
import shutil
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from src.core import paths
from src.core.errors import UserError
from src.core.pixels import to_uint8
from src.networks.description import load_generator
from src.networks.weights import content_hash
from src.registry import versions
from src.sampling.draw import generate
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


def test_mlflow_loads_it_without_pickle(in_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    store.connect()
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    rows = np.array([[label, seed] for label in range(10) for seed in (0, 5)], dtype=np.int64)
    labels, seeds = torch.from_numpy(rows).unbind(1)
    expected = generate(load_generator(paths.GAN), labels, seeds)
    by_torch = mlflow.pytorch.load_model("models:/gan-digits@champion")(torch.from_numpy(rows), torch.ones(20))
    by_pyfunc = mlflow.pyfunc.load_model("models:/gan-digits@champion").predict(rows)
    assert torch.equal(to_uint8(by_torch.detach()), expected)
    assert torch.equal(to_uint8(torch.from_numpy(by_pyfunc)), expected)


def test_no_registered_file_is_a_pickle(in_project: Project, tmp_path: Path) -> None:
    store.connect()
    folder = mlflow.artifacts.download_artifacts("models:/gan-digits/1", dst_path=str(tmp_path))
    endings = {file.suffix for file in Path(folder).rglob("*") if file.is_file()}
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}


def test_what_pytorch_pickles_inside_the_exported_program_is_two_tensors(in_project: Project, tmp_path: Path) -> None:
    """They are the example inputs, and load where nothing but tensors may be loaded; MLflow checks the same."""
    store.connect()
    folder = Path(mlflow.artifacts.download_artifacts("models:/gan-digits/1", dst_path=str(tmp_path)))
    (program,) = folder.rglob("*.pt2")
    with zipfile.ZipFile(program) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith((".pt", ".pkl"))]
        rows, truncation = torch.load(io.BytesIO(archive.read(name)), weights_only=True)[0]
    assert (rows.dtype, truncation.dtype) == (torch.int64, torch.float32)


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


@pytest.mark.parametrize(
    "name", ["data/model.pt2", "code/served_generator.py", "extra_files/generator.onnx", "MLmodel"]
)
def test_each_file_of_a_version_is_checked(
    in_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    client = store.connect()
    version = versions.find_version(client, "gan-digits/1")
    folder = Path(mlflow.artifacts.download_artifacts("models:/gan-digits/1", dst_path=str(tmp_path / "model")))
    with (folder / name).open("ab") as file:
        file.write(b"#")
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda uri, dst_path: str(folder))
    with pytest.raises(UserError, match=r"the hash of its files is not that of its tag files\.sha256"):
        versions.load_version(client, version)


def test_tampered_files_are_refused(in_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = store.connect()
    version = versions.find_version(client, "gan-digits/1")
    folder = Path(mlflow.artifacts.download_artifacts("models:/gan-digits/1", dst_path=str(tmp_path / "model")))
    weights = folder / "extra_files" / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))

    def tampered(uri: str, dst_path: str) -> str:
        return str(shutil.copytree(folder, Path(dst_path) / "model"))

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", tampered)
    with pytest.raises(UserError, match="gan-digits/1 differs from what was registered"):
        versions.load_version(client, version)


def test_datasets_do_not_mix(in_project: Project) -> None:
    client = store.connect()
    versions.check_dataset(client, "gan-digits", "digits")
    versions.check_dataset(client, "gan-unknown", "fashion-mnist")
    with pytest.raises(UserError, match="'gan-digits' holds generators of digits, this one is of fashion-mnist"):
        versions.check_dataset(client, "gan-digits", "fashion-mnist")


def test_a_family_of_ones_own_needs_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    versions.check_family({"architecture": "mlp generator"}, "gan-digits/1")
    with pytest.raises(UserError, match=r"gan-digits/1: its family extras.tiny.Tiny is missing: extras/tiny.py is not"):
        versions.check_family({"architecture": "extras.tiny.Tiny generator"}, "gan-digits/1")
    (tmp_path / "extras").mkdir()
    (tmp_path / "extras" / "tiny.py").touch()
    versions.check_family({"architecture": "extras.tiny.Tiny generator"}, "gan-digits/1")
