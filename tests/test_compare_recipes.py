import io
import json
import math
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from src import compare_recipes
from src.config.edit import write_params
from src.config.params import load_params
from src.config.recipes import SCORES, budgeted, recipe_names
from src.core.errors import UserError, run_command
from src.networks.description import load_generator
from src.networks.weights import content_hash
from src.sampling.draw import generate
from src.training.loop import GRID_SEED
from tests.conftest import ROOT, Project, copy_of, work_in

BUDGET = ("--kimg", "4")
FOLDER = "models/recipes/digits-4kimg-seed0"


@pytest.fixture(scope="module")
def compared(project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """Two recipes and params.yaml itself, and what was printed."""
    copy = copy_of(project, tmp_path_factory.mktemp("compared") / "project")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        work_in(copy.folder, patch)
        compare_recipes.main(["default", "mlp-gan", "mlp-cgan", *BUDGET])
    return copy, printed.getvalue()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Compares the named recipes in the current folder, and gives what is printed."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        compare_recipes.main(arguments)
        return capsys.readouterr().out

    return run


def results(copy: Project) -> dict[str, dict[str, object]]:
    files = (copy.folder / FOLDER).glob("*/result.json")
    return {file.parent.name: json.loads(file.read_text()) for file in files}


def test_the_leaderboard(compared: tuple[Project, str]) -> None:
    copy, printed = compared
    text = (copy.folder / FOLDER / "leaderboard.md").read_text()
    assert text in printed
    table = pd.read_csv(copy.folder / FOLDER / "leaderboard.csv")
    assert set(table["recipe"]) == {"default", "mlp-gan", "mlp-cgan", "real images"}
    assert list(table["recipe"])[-1] == "real images"
    scores = table["validation score"][:3].tolist()
    assert scores == sorted(scores)
    found = results(copy)
    for row in table[:3].to_dict("records"):
        one = found[row["recipe"]]
        assert row["validation score"] == pytest.approx(one["score"], abs=1e-3)
        assert float(row["images/s"].replace(",", "") if isinstance(row["images/s"], str) else row["images/s"]) > 0
        low, high = map(float, row["Coverage"].split("[")[1].rstrip("]").split(", "))
        assert low <= float(row["Coverage"].split()[0]) <= high
        assert "/" in row["parameters of both"]
        # A score about labels is none of a generator that ignores them.
        assert (row["recipe"] == "mlp-gan") == (not isinstance(row["GAN-test accuracy (label agreement)"], str))


def test_the_picture_has_a_row_for_each_best_first(compared: tuple[Project, str]) -> None:
    place = compared[0].folder / FOLDER
    names = pd.read_csv(place / "leaderboard.csv")["recipe"][:3].tolist()
    picture = Image.open(place / "leaderboard.png")
    for row, name in enumerate(names):
        generator = load_generator(place / name)
        labels = torch.arange(10).repeat_interleave(2)
        last = generate(generator, labels, GRID_SEED + torch.arange(20))[-1]
        # 8 pixels enlarged seven times; the last image ends at the margin, rows are 4 pixels apart.
        right, bottom = picture.width - 12, picture.height - 12 - (2 - row) * 60
        drawn = picture.crop((right - 56, bottom - 56, right, bottom)).resize((8, 8), Image.Resampling.NEAREST)
        assert torch.equal(torch.from_numpy(np.array(drawn.convert("L"))), last[0])


def test_each_has_its_networks_pictures_and_the_same_budget(compared: tuple[Project, str]) -> None:
    copy, _ = compared
    for name, one in results(copy).items():
        place = copy.folder / FOLDER / name
        generator = load_generator(place)
        assert one["parameters"]["generator"] == sum(some.numel() for some in generator.parameters())  # type: ignore[index]
        assert Image.open(place / "samples.png").width > 500
        run = copy.client().get_run(str(one["run_id"]))
        assert float(run.data.params["train.kimg"]) == 4
        assert run.data.metrics["best.score"] == pytest.approx(one["score"])
        assert run.data.tags["recipe"] == name
        assert run.info.status == "FINISHED"
    assert content_hash(load_generator(copy.folder / FOLDER / "default")) != content_hash(
        load_generator(copy.folder / FOLDER / "mlp-cgan")
    )


def test_mlflow_has_them_below_one_run(compared: tuple[Project, str]) -> None:
    copy, _ = compared
    client = copy.client()
    parent = json.loads((copy.folder / FOLDER / "run.json").read_text())["run_id"]
    assert client.get_run(parent).data.tags["mlflow.note.content"].startswith("| recipe |")
    children = client.search_runs(
        [client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
    )
    assert {run.info.run_name for run in children} == {"default", "mlp-gan", "mlp-cgan"}
    assert {file.path for file in client.list_artifacts(parent)} >= {
        *("leaderboard.csv", "leaderboard.md", "leaderboard.png")
    }


def test_finished_ones_are_not_trained_again_and_changed_ones_are(
    compared: tuple[Project, str], said: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of(compared[0], tmp_path / "copy")
    work_in(copy.folder, monkeypatch)
    before = results(copy)
    shutil.rmtree(copy.folder / FOLDER / "mlp-cgan")
    write_params({"model.latent_size": 9}, copy.folder / "params.yaml")
    # A recipe trains with what params.yaml has beside the recipe's own values.
    printed = said("default", *BUDGET)
    assert "already trained" not in printed
    write_params({"model.latent_size": 8}, copy.folder / "params.yaml")
    printed = said("mlp-gan", "mlp-cgan", *BUDGET)
    assert "mlp-gan: already trained" in printed
    assert "mlp-cgan: already trained" not in printed
    after = results(copy)
    assert after["mlp-gan"] == before["mlp-gan"]
    # The same seed and processor: the same training.
    assert after["mlp-cgan"]["score"] == before["mlp-cgan"]["score"]
    assert after["mlp-cgan"]["run_id"] != before["mlp-cgan"]["run_id"]


def test_one_that_diverges_is_told_and_the_others_go_on(own: Project, capsys: pytest.CaptureFixture[str]) -> None:
    broken = (
        "# too fast\nmodel: {family: mlp}\ntrain: {optimizer: sgd, lr_generator: 1.0, lr_discriminator: 1.0, l1: 1.0}\n"
    )
    (own.folder / "recipes" / "broken.yaml").write_text(broken)
    write_params({"train.max_rollbacks": 0}, own.folder / "params.yaml")
    compare_recipes.main(["broken", "default", "--kimg", "1"])
    text = (own.folder / "models/recipes/digits-1kimg-seed0/leaderboard.md").read_text()
    assert "\nbroken: " in text
    assert "| default |" in text
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        run_command(lambda: compare_recipes.main(["broken", "--kimg", "1"]))
    assert end.value.code == 2
    assert "every run diverged: broken: " in capsys.readouterr().err


def test_several_seeds_have_a_leaderboard_of_means_and_deviations(
    own: Project, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = "# short\nmodel: {family: mlp}\ntrain: {kimg: 1}\n"
    (own.folder / "recipes" / "short.yaml").write_text(recipe)
    write_params({"train.kimg": 2}, own.folder / "params.yaml")
    printed = said("default", "short", "--own-length", "--seed", "3", "--seeds", "2")
    place = own.folder / "models/recipes"
    table = pd.read_csv(place / "digits-own-length-seeds3-4/leaderboard.csv").set_index("recipe")
    assert (place / "digits-own-length-seeds3-4/leaderboard.md").read_text() in printed
    for name, kimg in (("default", 2), ("short", 1)):
        found = [
            json.loads((place / f"digits-own-length-seed{seed}/{name}/result.json").read_text()) for seed in (3, 4)
        ]
        coverage = [one["numbers"]["coverage"]["value"] for one in found]
        mean, deviation = sum(coverage) / 2, abs(coverage[0] - coverage[1]) / math.sqrt(2)
        assert table.loc[name, "Coverage"] == f"{mean:.3f} ± {deviation:.3f}"
        assert table.loc[name, "thousand images"] == kimg
        assert table.loc[name, "seeds"] == 2
    assert "±" not in str(table.loc["real images", "Coverage"])
    client = own.client()
    parent = json.loads((place / "digits-own-length-seeds3-4/run.json").read_text())["run_id"]
    assert client.get_run(parent).data.tags["mlflow.note.content"].startswith("| recipe | seeds |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonesuch"], "nonesuch: unknown recipe; allowed are "),
        (["--kimg", "0"], "--kimg 0 must be above 0"),
        (["--kimg", "nan"], "--kimg nan must be above 0"),
        (["--seed", "-1"], "--seed -1 must be from 0 to 4294967295"),
        (["--seeds", "0"], "--seeds 0 must be from 1 to 4294967296"),
        (["--seed", "4294967295", "--seeds", "2"], "--seeds 2 must be from 1 to 1"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, in_project: Project) -> None:
    with pytest.raises(UserError) as caught:
        compare_recipes.main(arguments)
    assert str(caught.value).startswith(message)


def test_a_budget_makes_as_many_scores_whatever_its_size(in_project: Project) -> None:
    for kimg in (0.5, 240.0):
        params = budgeted(load_params(), "dcgan", kimg, 3)
        assert params.train.kimg / params.train.score_every_kimg == SCORES
        assert params.train.log_every_kimg <= params.train.score_every_kimg
        assert params.train.seed == 3
        assert math.isclose(params.train.kimg, kimg)


def test_one_with_a_length_of_its_own_is_compared_only_when_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert compare_recipes.parse_arguments([]).recipes == [
        "default",
        *(name for name in recipe_names() if name not in ("best-cpu", "gpu")),
    ]
    assert compare_recipes.parse_arguments(["gpu", "default"]).recipes == ["gpu", "default"]
    assert budgeted(load_params(), "gpu", 8, 0).train.kimg == 8
