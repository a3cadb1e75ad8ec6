import ast
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from src.core import paths
from src.core.errors import UserError
from src.core.pixels import to_uint8
from src.networks.description import load_generator
from src.registry import export
from src.sampling.draw import SeededGenerator, generate
from src.tracking import store
from tests.conftest import Project, work_in
from tests.networks.tiny import PAIRS, pair

ALONE = Path(__file__).with_name("alone.py")
QUICK = {("mlp", "projection"), ("dcgan", "none")}


def program_of(family: str, conditioning: str, channels: int = 1) -> SeededGenerator:
    return SeededGenerator(pair(family, conditioning, channels=channels)[0]).eval()


@pytest.fixture(scope="session")
def folder(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registered model's files."""
    with pytest.MonkeyPatch.context() as patch:
        work_in(project.folder, patch)
        store.connect()
        uri, place = "models:/gan-digits/1", tmp_path_factory.mktemp("model")
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(place)))


# ONNX


@pytest.mark.parametrize(
    ("family", "conditioning"),
    [pytest.param(*both, marks=() if both in QUICK else pytest.mark.slow) for both in PAIRS],
)
def test_onnx_gives_the_images_of_pytorch(tmp_path: Path, family: str, conditioning: str) -> None:
    program = program_of(family, conditioning, channels=3)
    allowed = 5e-4 if family == "progressive" else 1e-5
    difference = export.write_onnx(program, tmp_path / "generator.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["generator.onnx"]
    onnx.checker.check_model(tmp_path / "generator.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "generator.onnx")
    assert [(one.name, one.type) for one in session.get_inputs()] == [
        ("label_and_seed", "tensor(int64)"),
        ("truncation", "tensor(float)"),
    ]
    seeds = torch.tensor([0, 1, 2**31, 2**53 + 1, 2**62, 2**63 - 1])
    for count in (1, 2, 6):
        rows = torch.stack([torch.arange(count) % 3, seeds[-count:]], dim=1)
        truncation = torch.linspace(0.3, 1, count)
        made = session.run(["images"], {"label_and_seed": rows.numpy(), "truncation": truncation.numpy()})[0]
        with torch.no_grad():
            expected = program(rows, truncation).numpy()
        assert made.shape == (count, 3, 8, 8)
        assert np.abs(made - expected).max() <= allowed
    assert 0 <= difference <= allowed


def test_onnx_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_onnx = export._export_onnx

    def other_weights(program: SeededGenerator, path: Path) -> None:
        changed = program_of("mlp", "concat")
        with torch.no_grad():
            next(changed.parameters()).add_(1e-3)
        export_onnx(changed, path)

    monkeypatch.setattr(export, "_export_onnx", other_weights)
    with pytest.raises(
        UserError, match=r"^the ONNX form of this generator differs from PyTorch by .* at most 1e-05 is"
    ):
        export.write_onnx(program_of("mlp", "concat"), tmp_path / "generator.onnx")
    assert not list(tmp_path.iterdir())


# What is registered


def test_the_folder_says_what_it_holds(folder: Path) -> None:
    stored = mlflow.models.Model.load(str(folder))
    assert set(stored.flavors) == {"pytorch", "python_function"}
    code = [path for path in (folder / "code").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert [path.name for path in code] == ["served_generator.py"]
    assert stored.metadata is not None
    assert stored.metadata["served_code.sha256"] == hashlib.sha256(code[0].read_bytes()).hexdigest()
    assert code[0].read_bytes() == export.SERVED.read_bytes()
    assert 0 <= stored.metadata["onnx.max_difference"] <= 1e-5
    names = {path.name for path in (folder / "extra_files").iterdir()}
    assert names == {"card.json", "generator.json", "generator.onnx", "generator.safetensors"}


def test_nothing_in_it_is_pickled_but_two_tensors(folder: Path) -> None:
    """They are the program's example inputs, and load where nothing but tensors may be loaded; MLflow checks the same."""
    endings = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}
    (program,) = folder.rglob("*.pt2")
    with zipfile.ZipFile(program) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith((".pt", ".pkl"))]
        rows, truncation = torch.load(io.BytesIO(archive.read(name)), weights_only=True)[0]
    assert (rows.dtype, truncation.dtype) == (torch.int64, torch.float32)


def test_the_served_code_needs_nothing_else() -> None:
    imported = set()
    for node in ast.walk(ast.parse(export.SERVED.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == {"PIL", "mlflow", "numpy", "pandas", "torch"}


def test_the_stored_onnx_gives_the_pixels_of_generate(folder: Path) -> None:
    rows = np.array([[label, 2**40 * seed] for label in range(10) for seed in range(10)], dtype=np.int64)
    session = onnxruntime.InferenceSession(folder / "extra_files" / "generator.onnx")
    feed: dict[str, Any] = {"label_and_seed": rows, "truncation": np.ones(100, dtype=np.float32)}
    labels, seeds = torch.from_numpy(rows).unbind(1)
    made = to_uint8(torch.from_numpy(session.run(None, feed)[0])).int()
    expected = generate(load_generator(folder / "extra_files"), labels, seeds).int()
    # A float that is 1e-7 off may be rounded to the next of 256 values.
    assert (made - expected).abs().max() <= 1
    assert (made != expected).float().mean() < 1e-3


def test_both_flavours_give_the_pixels_of_generate(in_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    store.connect()
    labels, seeds = torch.arange(10), torch.arange(10) * 2**59
    rows = torch.stack([labels, seeds], dim=1)
    uri = "models:/gan-digits@champion"
    by_pyfunc = torch.from_numpy(mlflow.pyfunc.load_model(uri).predict(rows.numpy()))
    by_pytorch = mlflow.pytorch.load_model(uri)(rows, torch.ones(10)).detach()
    expected = generate(load_generator(paths.GAN), labels, seeds)
    assert torch.equal(to_uint8(by_pyfunc), expected)
    assert torch.equal(to_uint8(by_pytorch), expected)


@pytest.mark.slow
def test_it_loads_with_mlflow_and_torch_alone(in_project: Project, tmp_path: Path) -> None:
    """In another folder, with ``-I``, no pickle, and every package refused that those two do not bring."""
    store.connect()
    clean = {name: value for name, value in in_project.environment.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", str(ALONE), in_project.tracking_uri, "models:/gan-digits@champion"],
        cwd=tmp_path,
        env={**clean, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    # The hook does refuse what is not theirs.
    assert answer["refused"] == ["optuna", "safetensors", "src", "torchvision"]
    seeds = torch.arange(10) * 2**59
    expected = generate(load_generator(paths.GAN), torch.arange(10), seeds).flatten().tolist()
    assert answer["pyfunc"] == expected
    assert answer["pytorch"] == expected
