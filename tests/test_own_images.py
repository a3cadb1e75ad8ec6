"""A user's own pictures through the whole pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.config.edit import write_params
from tests.conftest import Project, copy_of

CHANGES = {
    **{"data.dataset": "folder", "data.image_size": 16, "data.channels": 3, "register.model_name": "gan-own"},
    **{"evaluate.samples": 20, "evaluate.nearest_k": 3, "train.score_samples": 20, "evaluate.reconstructions": 0},
    **{"classifier.batch_size": 16, "model.conditioning": "projection"},
    **{"train.kimg": 20, "train.score_every_kimg": 10, "train.log_every_kimg": 5},
}
SIZES = ((40, 30), (24, 24), (20, 50))


def pictures(folder: Path, colour: int, count: int = 60) -> None:
    """Noisy pictures in which one colour is strong, of several sizes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(colour)
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        pixels = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
        pixels[..., colour] += 150
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.mark.slow
def test_an_experiment_with_own_pictures_ends_with_a_champion(project: Project, tmp_path: Path) -> None:
    """What a newcomer does first, by DVC, and with nothing committed."""
    copy = copy_of(project, tmp_path / "project")
    pictures(copy.folder / "data/own/red", 0)
    pictures(copy.folder / "data/own/blue", 2)
    settings = [argument for name, value in CHANGES.items() for argument in ("-S", f"{name}={value}")]
    assert "gan-own/1 becomes champion" in copy.run("dvc", "exp", "run", *settings).stdout
    copy.module("sample", "--model", "gan-own", "--label", "red", "--count", "4", "--out", "red.png")


@pytest.fixture(scope="module")
def trained(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    copy = copy_of(project, tmp_path_factory.mktemp("own") / "project")
    pictures(copy.folder / "data/own/red", 0)
    pictures(copy.folder / "data/own/blue", 2)
    (copy.folder / "data/own/red/broken.png").write_bytes(b"\x89PNG no more")
    write_params(CHANGES, copy.folder / "params.yaml")
    for stage in ("download", "prepare", "train_classifier", "train", "evaluate", "report", "register"):
        copy.module(stage)
    copy.run("dvc", "commit", "--quiet", "--force")
    return copy


def test_they_are_trained_on_scored_and_registered(trained: Project) -> None:
    card = json.loads((trained.folder / "data/prepared/card.json").read_text())
    assert card["class_names"] == ["blue", "red"]
    described = json.loads((trained.folder / "models/gan/generator.json").read_text())["options"]
    assert (described["channels"], described["image_size"], described["class_count"]) == (3, 16, 2)
    report = json.loads((trained.folder / "data/raw/own.json").read_text())
    assert report["images"] == 120
    assert list(report["left_out"]) == ["README.md", "red/broken.png"]
    assert [int(one.version) for one in trained.client().search_model_versions("name = 'gan-own'")] == [1]
    # params.yaml differs from the commit, as after `dvc exp run`: that is recorded, and the version is champion all the same.
    assert trained.run("git", "status", "--porcelain", "params.yaml").stdout == " M params.yaml\n"
    trained.module("sample", "--model", "gan-own", "--label", "red", "--count", "4", "--out", "red.png")
    assert Image.open(trained.folder / "red.png").mode == "RGB"


def test_a_picture_more_is_noticed(trained: Project, tmp_path: Path) -> None:
    copy = copy_of(trained, tmp_path / "copy")
    assert json.loads(copy.run("dvc", "status", "--json").stdout) == {"register": ["always changed"]}
    Image.new("RGB", (30, 30), "red").save(copy.folder / "data/own/red/more.png")
    assert "download" in json.loads(copy.run("dvc", "status", "--json").stdout)


def test_without_class_folders_there_are_clusters(trained: Project, tmp_path: Path) -> None:
    copy = copy_of(trained, tmp_path / "copy")
    for colour in ("red", "blue"):
        for file in (copy.folder / "data/own" / colour).iterdir():
            file.rename(copy.folder / "data/own" / f"{colour}-{file.name}")
        (copy.folder / "data/own" / colour).rmdir()
    write_params({"data.clusters": 2}, copy.folder / "params.yaml")
    for stage in ("download", "prepare"):
        copy.module(stage)
    card = json.loads((copy.folder / "data/prepared/card.json").read_text())
    assert card["class_names"] == ["cluster 0", "cluster 1"]
    # The two colours are the clusters.
    counts = [sum(part[name] for part in card["images_per_class"].values()) for name in card["class_names"]]
    assert counts == [60, 60]
