"""The stage as a person runs it, on generators that no training would leave behind."""

from pathlib import Path

import pytest
import torch
from torch import nn

from src.config.edit import write_params
from src.networks.description import build_pair, load_generator
from src.networks.interface import Generator
from src.networks.weights import save_network
from tests.conftest import Project, copy_of
from tests.test_pipeline import read_json


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Project:
    return copy_of(project, tmp_path / "copy", ".dvc", ".git")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(project: Project) -> str:
    """The one sentence with which the evaluation ends; the scorecard that was there stays as it is."""
    folder = project.folder / "models/evaluation"
    before = contents(folder)
    result = project.module("evaluate", check=False)
    assert result.returncode == 2, result.stderr
    assert contents(folder) == before
    (line,) = result.stderr.splitlines()
    return line


def last_layer(generator: Generator) -> nn.Linear:
    return [module for module in generator.modules() if isinstance(module, nn.Linear)][-1]


def save_changed(project: Project, scale: float, bias: float) -> None:
    """Let the trained generator's last layer give ``scale`` times what it gave, plus ``bias``, before the tanh."""
    folder = project.folder / "models/gan"
    generator = load_generator(folder)
    layer = last_layer(generator)
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.mul_(scale).add_(bias)
    save_network(generator, folder, "generator")


def test_a_broken_generator_is_refused(copy: Project) -> None:
    save_changed(copy, float("nan"), 0)
    assert "the generator gives NaN or infinite pixels, in 200 of 200 images" in refused(copy)


def test_a_generator_of_other_images_is_refused(copy: Project) -> None:
    options = {
        "class_count": 10,
        "latent_size": 8,
        "hidden_sizes": [32, 64],
        "conditioning": "projection",
        "dropout": 0.0,
    }
    generator, _ = build_pair("mlp", channels=3, image_size=16, spectral_norm=False, **options)
    save_network(generator, copy.folder / "models/gan", "generator")
    line = refused(copy)
    assert "the generator gives images of (3, 16, 16) (channels, height, width), the data has (1, 8, 8)" in line


def test_pixels_from_0_to_1_are_refused(copy: Project) -> None:
    save_changed(copy, 0.1, 3)
    assert "this looks like 0..1 instead of -1..1" in refused(copy)


def test_too_few_samples_name_the_number_that_needs_more(copy: Project) -> None:
    write_params({"evaluate.samples": 10, "evaluate.nearest_k": 20}, copy.folder / "params.yaml")
    line = refused(copy)
    assert "precision and recall with 20 neighbours: needs at least 21 images, there are 10" in line
    assert "raise evaluate.samples" in line


def test_missing_inception_weights_are_named_before_any_work(copy: Project) -> None:
    write_params({"evaluate.inception_weights": "nowhere.pth"}, copy.folder / "params.yaml")
    assert "evaluate.inception_weights: nowhere.pth cannot be read (No such file or directory)" in refused(copy)


def test_a_generator_of_one_pale_image_has_its_scorecard_with_a_warning(copy: Project) -> None:
    save_changed(copy, 0, -0.5)
    write_params({"evaluate.resamples": 200}, copy.folder / "params.yaml")
    result = copy.module("evaluate")
    card = read_json(copy.folder / "models/evaluation/scorecard.json")
    assert card["generated"]["gan_test_accuracy"]["value"] == pytest.approx(0.1, abs=0.03)
    assert card["generated"]["recall"] == {"value": 0, "low": 0, "high": 0}
    assert card["p_values"]["class_imbalance"] < 1e-6
    (warning,) = card["warnings"]
    assert "the pixels of generated images go from 69 to 69, those of real ones from 0 to 255" in warning
    assert f"warning: {warning}" in result.stdout
    copy.module("report")
    assert warning in (copy.folder / "models/evaluation/scorecard.md").read_text(encoding="utf-8")
