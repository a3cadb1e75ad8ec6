import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from src import recipes
from src.config.params import Params, load_params
from src.config.recipes import dvc_arguments, load_recipe, recipe_names
from src.core.errors import UserError
from src.networks.description import build_pair
from tests.conftest import ROOT, SAMPLE, Project, copy_of, sample_params

NAMED = [
    *("mlp-gan", "mlp-cgan", "dcgan", "wgan-gp", "lsgan", "acgan", "sngan-projection", "progressive", "r3gan"),
]


def test_every_milestone_has_one_that_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(NAMED) <= set(recipe_names())
    recipes.main([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    assert all(len(load_recipe(name).about) > 10 for name in recipe_names())


@pytest.mark.parametrize("name", [*NAMED, "best-cpu", "gpu"])
def test_each_is_a_small_difference_of_allowed_values(name: str) -> None:
    recipe, defaults = load_recipe(name), load_params(ROOT / "params.yaml")
    params = recipe.applied(defaults)
    assert 1 <= len(recipe.changes) <= 12
    assert all(params.flat()[one] == value for one, value in recipe.changes.items())
    assert {one.partition(".")[0] for one in recipe.changes} <= {"model", "train"}
    assert "train.kimg" in recipe.changes  # a length of its own
    build_pair(**params.model.model_dump(), class_count=10, channels=1, image_size=28)


def test_what_they_stand_for() -> None:
    params = {name: load_recipe(name).applied(Params()) for name in NAMED}
    assert (params["mlp-gan"].model.family, params["mlp-gan"].model.conditioning) == ("mlp", "none")
    assert (params["mlp-cgan"].model.family, params["mlp-cgan"].model.conditioning) == ("mlp", "concat")
    assert params["dcgan"].model.family == params["wgan-gp"].model.family == "dcgan"
    assert params["wgan-gp"].train.loss == "wasserstein"
    assert params["wgan-gp"].train.gp_weight > 0
    assert params["wgan-gp"].train.critic_steps > 1
    assert params["lsgan"].train.loss == "least_squares"
    assert params["acgan"].model.conditioning == "auxiliary"
    assert (params["sngan-projection"].train.loss, params["sngan-projection"].model.spectral_norm) == ("hinge", True)
    assert params["progressive"].model.family == "progressive"
    assert params["r3gan"].train.loss == "relativistic"
    assert min(params["r3gan"].train.r1_weight, params["r3gan"].train.r2_weight) > 0


def test_dvc_is_told_every_change(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    recipes.main(["wgan-gp"])
    words = capsys.readouterr().out.split()
    assert words[:2] == ["-n", "wgan-gp"]
    assert words[2::2] == ["-S"] * (len(words) // 2 - 1)
    told = dict(word.split("=", 1) for word in words[3::2])
    assert {name: YAML(typ="safe").load(value) for name, value in told.items()} == load_recipe("wgan-gp").changes


def folder(tmp_path: Path, **files: str) -> None:
    (tmp_path / "recipes").mkdir()
    for name, text in files.items():
        (tmp_path / "recipes" / f"{name}.yaml").write_text(text)
    sample_params(tmp_path, {})


def test_apply_writes_them_into_params_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path, mine="# my own\nmodel: {width: 16}\ntrain: {loss: hinge}\n")
    recipes.main(["mine", "--apply"])
    text = (tmp_path / "params.yaml").read_text()
    assert load_params(tmp_path / "params.yaml") == load_params(SAMPLE).replace(
        {"model.width": 16, "train.loss": "hinge"}
    )
    assert "# all but mlp: channels at a quarter of the image size" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {width: 1}", "recipes/mine.yaml: model.width: 1 is not allowed: it must be int >= 4 and <= 2048"),
        ("model: {wide: 1}", "recipes/mine.yaml: model.wide: unknown parameter"),
        ("model: 3", "recipes/mine.yaml: a recipe is a mapping of sections to parameters, as params.yaml is"),
        ("- 3", "recipes/mine.yaml: a recipe is a mapping of sections to parameters, as params.yaml is"),
        ("model: {", "recipes/mine.yaml: not valid YAML"),
        ("train: {loss: wasserstein}", "recipes/mine.yaml: train.loss: wasserstein needs train.gp_weight above 0"),
    ],
)
def test_a_wrong_one_is_named(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path, mine=text)
    with pytest.raises(UserError) as caught:
        recipes.main(["mine"])
    assert message in str(caught.value)


def test_an_unknown_one_and_none_to_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path, one="model: {width: 16}", two="model: {width: 16}")
    with pytest.raises(UserError, match="three: unknown recipe; allowed are one, two in recipes"):
        recipes.main(["three"])
    with pytest.raises(UserError, match="--apply needs the name of a recipe; there are one, two"):
        recipes.main(["--apply"])
    assert load_recipe("one").about == ""
    assert dvc_arguments(load_recipe("one")) == "-n one -S model.width=16"


@pytest.mark.slow
def test_one_command_trains_one(project: Project, tmp_path: Path) -> None:
    copy = copy_of(project, tmp_path / "copy")
    command = "dvc exp run $(python -m src.recipes lsgan) -S model.width=4 -S train.kimg=2"
    copy.run("bash", "-c", command)
    shown = json.loads(copy.run("dvc", "exp", "show", "--json").stdout)
    assert "lsgan" in json.dumps(shown)
    assert load_params(copy.folder / "params.yaml").train.loss == "least_squares"
    described = json.loads((copy.folder / "models/gan/generator.json").read_text())
    assert described["architecture"] == "dcgan generator"
    runs = copy.client().search_runs(["1"], order_by=["attributes.start_time DESC"], max_results=1)
    assert runs[0].info.run_name == "lsgan"
    assert runs[0].data.params["train.loss"] == "least_squares"
