"""What a user may get wrong: one line, exit status 2, no traceback. Real processes."""

from pathlib import Path

import pytest

from tests.conftest import Project, copy_of


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    target = copy_of(project, tmp_path / "copy", ".dvc", ".git", "mlruns")
    (target.folder / "mlruns").mkdir()
    return target


def failure(project: Project, name: str, *arguments: str) -> str:
    result = project.module(name, *arguments, check=False)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_an_unknown_and_a_wrong_parameter_stop_the_training(copy: Project) -> None:
    path = copy.folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("lr_generator: 0.002", "lr_generater: 0.002\n  lr_generator: -1"), encoding="utf-8")
    lines = failure(copy, "train").splitlines()
    assert len(lines) == 2
    assert any(
        "params.yaml: train.lr_generater: unknown parameter; did you mean lr_generator?" in line for line in lines
    )
    assert any("params.yaml: train.lr_generator: -1 is not allowed" in line and "> 0" in line for line in lines)
    assert not list((copy.folder / "mlruns").iterdir())


def test_a_corrupt_dataset_and_a_corrupt_classifier(copy: Project) -> None:
    weights = copy.folder / "models/classifier/classifier.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "models/classifier/classifier.safetensors is corrupt" in failure(copy, "train")
    dataset = copy.folder / "data/prepared/dataset.safetensors"
    dataset.write_bytes(dataset.read_bytes()[:1000])
    assert "data/prepared/dataset.safetensors" in failure(copy, "train_classifier")


def test_no_gpu(copy: Project) -> None:
    path = copy.folder / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("device: cpu", "device: cuda"), encoding="utf-8")
    result = copy.run("env", "CUDA_VISIBLE_DEVICES=", "python", "-m", "src.train", check=False)
    assert result.returncode == 2
    assert "train.device is cuda, but PyTorch sees no CUDA GPU here; use auto or cpu" in result.stderr
