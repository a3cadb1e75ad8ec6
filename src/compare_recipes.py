"""Train several recipes with one budget of images, and make a leaderboard of them. Finished ones are not trained again.

``python -m src.compare_recipes --kimg 240``, ``python -m src.compare_recipes dcgan r3gan --kimg 480 --seed 1``
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import paths
from src.errors import UserError, run_command
from src.files import replacing, write_json
from src.params import Params, load_params
from src.recipes import load_recipe, recipe_names

if TYPE_CHECKING:
    from torch import Tensor

    from src.datasets.store import PreparedData
    from src.metrics.leaderboard import Leaderboard
    from src.networks.interface import Generator
    from src.tracking.runs import Run, TrainingRun
    from src.training.folder import TrainingFolder
    from src.training.loop import FitResult

FOLDER = Path("models/recipes")
DEFAULT = "default"
"""what params.yaml itself has, as a recipe"""
RESULT, PARENT = "result.json", "run.json"
SCORES = 8
"""validation scores in a training, whose best networks count"""
PER_CLASS = 2
"""images of each class in the picture of all recipes"""
Result = dict[str, Any]


def comparable() -> list[str]:
    """The recipes that leave the length to params.yaml. The others were made for their own: one budget is unfair to them."""
    return [name for name in recipe_names() if "train.kimg" not in load_recipe(name).changes]


def budgeted(params: Params, name: str, kimg: float, seed: int) -> Params:
    """The parameters of a recipe's training."""
    chosen = params if name == DEFAULT else load_recipe(name).applied(params)
    budget = {"train.kimg": kimg, "train.seed": seed, "train.score_every_kimg": kimg / SCORES}
    logged = {"train.log_every_kimg": min(chosen.train.log_every_kimg, kimg / SCORES)}
    return chosen.replace({**budget, **logged})


def class_images(generator: "Generator", count: int) -> "Tensor":
    """``count`` images of each class, uint8 (classes * count, C, H, W), class by class; the seeds are always the same."""
    import torch

    from src.networks.sampling import generate
    from src.training.loop import GRID_SEED

    labels = torch.arange(generator.class_count).repeat_interleave(count)
    return generate(generator, labels, GRID_SEED + torch.arange(len(labels)))


class Comparison:
    """Recipes trained on the same images with the same budget. What is made of each is in a folder of its name."""

    def __init__(self, data: "PreparedData", leaderboard: "Leaderboard", folder: Path, parent: str) -> None:
        """``parent`` is the MLflow run above those of the recipes."""
        self.data, self.leaderboard, self.folder, self.parent = data, leaderboard, folder, parent

    def result(self, name: str, params: Params) -> Result:
        """Of a training that has finished, or that is done now, and goes on where it was interrupted."""
        from src.identity import identity, source_tags
        from src.tracking import outputs
        from src.tracking.lineage import Origin
        from src.tracking.runs import training_run
        from src.tracking.store import project_root
        from src.training.folder import TrainingFolder
        from src.training.world import World

        tags = {**source_tags(params, self.data), "recipe": name}
        known = {**identity(params, tags, World()), "recipe": name}
        place = TrainingFolder(project_root() / paths.CHECKPOINTS / "recipes", known)
        path = self.folder / name / RESULT
        if path.is_file():
            result: Result = json.loads(path.read_text(encoding="utf-8"))
            if result["identity"] == place.identity:
                place.remove()
                print(f"{name}: trained already, validation score {result['score']:.3f}")
                return result
        origin = Origin.here(name, params.flat(), tags)
        with training_run(self.data.name, origin, self.parent, place.run_id) as run:
            place.run_id = run.run_id
            outputs.record_dataset(run, self.data)
            trained = self._train(name, params, place, run)
            result = {"recipe": name, "identity": place.identity, "run_id": run.run_id, **self._found(params, trained)}
            tested = {f"test.{number}": one["value"] for number, one in result["numbers"].items()}
            run.metrics({"best.score": result["score"], **tested}, 0, "best")
            self._save(trained, self.folder / name, f"{name}: {params.train.kimg:,.4g} thousand images")
            write_json(result, path)
            run.artifact(self.folder / name)
        place.remove()
        return result

    def _train(self, name: str, params: Params, place: "TrainingFolder", run: "TrainingRun") -> "FitResult":
        from src.setup import training_data
        from src.tracking.recorder import MlflowRecorder
        from src.training.loop import GRID_COLUMNS, fit
        from src.training.progress import ConsoleRecorder, ProgressLine
        from src.training.recorder import Recorders

        with ProgressLine(name, params.train.kimg, "kimg") as line:
            recorder = Recorders([ConsoleRecorder(line), MlflowRecorder(run, GRID_COLUMNS)])
            return fit(params, training_data(params, self.data), recorder, place.checkpoints)

    def _found(self, params: Params, trained: "FitResult") -> Result:
        """The numbers of a row."""
        from src.training.flops import drawing_flops, training_flops
        from src.training.steps import images_per_step

        train, networks = self.data.train, (trained.generator, trained.discriminator)
        sizes = [sum(weight.numel() for weight in network.parameters()) for network in networks]
        return {
            "score": trained.best["score"],
            "best_kimg": trained.best["step"] * images_per_step(params.train) / 1000,
            "images_per_second": trained.images_per_second,
            "minutes": trained.history.training_seconds / 60,
            "parameters": dict(zip(("generator", "discriminator"), sizes, strict=True)),
            "drawing_flops": drawing_flops(trained.generator),
            "training_flops": training_flops(params, train.images, train.labels, len(self.data.class_names)),
            "numbers": {name: asdict(one) for name, one in self.leaderboard.generator(trained.generator).items()},
        }

    def _save(self, trained: "FitResult", folder: Path, title: str) -> None:
        """Both networks, and images of every class."""
        from src.networks.weights import save_network
        from src.pictures.grids import save_grid
        from src.training.loop import GRID_COLUMNS

        save_network(trained.generator, folder, "generator")
        save_network(trained.discriminator, folder, "discriminator")
        names, images = self.data.class_names, class_images(trained.generator, GRID_COLUMNS)
        save_grid(images, folder / "samples.png", GRID_COLUMNS, names if trained.generator.conditional else None, title)


@contextmanager
def parent_run(folder: Path, data: "PreparedData", title: str) -> "Iterator[Run]":
    """The MLflow run above those of the recipes: the one of before, where the comparison goes on."""
    from src.tracking.lineage import Origin
    from src.tracking.runs import new_run, reopened_run, run_exists
    from src.tracking.store import connect

    path = folder / PARENT
    run_id = json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else ""
    if not (run_id and run_exists(connect(), run_id)):
        with new_run(data.name, Origin.here(title, {}, {"data.hash": data.content_hash})) as run:
            run_id = run.run_id
        write_json({"run_id": run_id}, path)
    with reopened_run(run_id) as run:
        yield run


def write_leaderboard(results: Sequence[Result], failed: Mapping[str, str], ceiling: Result, folder: Path) -> str:
    """``leaderboard.csv``, ``.md`` and ``.png``; ``results`` are those of ``folder``. Returns the Markdown."""
    from src.metrics.leaderboard import as_markdown, as_table

    table = as_table(results, ceiling)
    _draw_leaderboard(list(table["recipe"][:-1]), folder)
    text = as_markdown(table) + "".join(f"\n{name}: {why}\n" for name, why in failed.items())
    with replacing(folder / "leaderboard.csv") as part:
        table.to_csv(part, index=False)
    with replacing(folder / "leaderboard.md") as part:
        part.write_text(text, encoding="utf-8")
    return text


def _draw_leaderboard(names: Sequence[str], folder: Path) -> None:
    """A row of images for each recipe, the same classes and seeds in each."""
    import torch

    from src.networks.description import load_generator
    from src.pictures.grids import save_grid

    rows = [class_images(load_generator(folder / name), PER_CLASS) for name in names]
    title = f"{PER_CLASS} images of each class, not selected (without labels: any {len(rows[0])})"
    save_grid(torch.cat(rows), folder / "leaderboard.png", len(rows[0]), names, title)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Raises UserError for a budget or a seed that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m src.compare_recipes", description=(__doc__ or "").splitlines()[0])
    what = f"recipes, or {DEFAULT} for what params.yaml has itself; without any: all that have no length of their own"
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=what)
    parser.add_argument("--kimg", type=float, default=240.0, help="thousand real images for each (240)")
    parser.add_argument("--seed", type=int, default=0, help="seed of each training (0)")
    options = parser.parse_args(arguments)
    if not (options.kimg > 0 and math.isfinite(options.kimg)):
        raise UserError(f"--kimg {options.kimg:g} must be above 0")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed} must be from 0 to {2**32 - 1}")
    options.recipes = list(dict.fromkeys(options.recipes)) or [DEFAULT, *comparable()]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score, and write the leaderboard."""
    options, params = parse_arguments(arguments), load_params()
    # All of them before any work: the last one's mistake must not be found after hours.
    plans = {name: budgeted(params, name, options.kimg, options.seed) for name in options.recipes}
    from src.datasets import store
    from src.device import pick_device, set_up
    from src.metrics.leaderboard import Leaderboard
    from src.metrics.real_images import RealImages
    from src.networks.description import load_classifier
    from src.training.classifier import fit_by
    from src.training.health import TrainingDiverged

    device = pick_device(params.train.device)
    set_up(device, deterministic=params.train.deterministic)
    data = store.load(paths.PREPARED)

    real_images = RealImages(load_classifier(paths.CLASSIFIER, device), data, paths.FEATURES)
    leaderboard = Leaderboard(
        params.evaluate, real_images, fit_by(params.classifier, len(data.class_names), device), device
    )
    folder = FOLDER / f"{data.name}-{options.kimg:g}kimg-seed{options.seed}"
    results, failed = [], {}
    with parent_run(folder, data, f"recipes, {options.kimg:g} kimg, seed {options.seed}") as parent:
        comparison = Comparison(data, leaderboard, folder, parent.run_id)
        for name, plan in plans.items():
            try:
                results.append(comparison.result(name, plan))
            except TrainingDiverged as error:
                failed[name] = str(error)
                print(f"{name}: {error}")
        if not results:
            raise UserError(f"every training diverged: {'; '.join(f'{name}: {why}' for name, why in failed.items())}")
        ceiling = {name: asdict(one) for name, one in leaderboard.ceiling().items()}
        text = write_leaderboard(results, failed, ceiling, folder)
        for file in ("leaderboard.csv", "leaderboard.md", "leaderboard.png"):
            parent.artifact(folder / file)
        parent.tags({"mlflow.note.content": text})
    print(f"\n{text}\n{folder}/leaderboard.md and .png; each recipe's images and networks are in {folder}")


if __name__ == "__main__":
    run_command(main)
