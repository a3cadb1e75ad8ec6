"""Several recipes trained with one budget of images, and a leaderboard of them. Finished ones are not trained again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.params import Params
from ..config.recipes import load_recipe, recipe_names
from ..core import paths
from ..core.files import replacing, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.prepared import PreparedData
    from ..evaluation.evaluation import Leaderboard
    from ..networks.interface import Generator
    from ..tracking.runs import Run, TrainingRun
    from ..training.folder import TrainingFolder
    from ..training.loop import FitResult

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

    from ..sampling.draw import generate
    from ..training.loop import GRID_SEED

    labels = torch.arange(generator.class_count).repeat_interleave(count)
    return generate(generator, labels, GRID_SEED + torch.arange(len(labels)))


class Comparison:
    """Recipes trained on the same images with the same budget. What is made of each is in a folder of its name."""

    def __init__(self, data: "PreparedData", leaderboard: "Leaderboard", folder: Path, parent: str) -> None:
        """``parent`` is the MLflow run above those of the recipes."""
        self.data, self.leaderboard, self.folder, self.parent = data, leaderboard, folder, parent

    def result(self, name: str, params: Params) -> Result:
        """Of a training that has finished, or that is done now, and goes on where it was interrupted."""
        from ..tracking import outputs
        from ..tracking.origin import Origin
        from ..tracking.runs import training_run
        from ..tracking.store import project_root
        from ..training.folder import TrainingFolder
        from ..training.identity import identity, source_tags
        from ..training.step.distributed import DistributedContext

        tags = {**source_tags(params, self.data), "recipe": name}
        known = {**identity(params, tags, DistributedContext()), "recipe": name}
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
            run.metrics({"best.score": result["score"], **tested})
            self._save(trained, self.folder / name, f"{name}: {params.train.kimg:,.4g} thousand images")
            write_json(result, path)
            run.artifact(self.folder / name)
        place.remove()
        return result

    def _train(self, name: str, params: Params, place: "TrainingFolder", run: "TrainingRun") -> "FitResult":
        from ..core.progress import ProgressLine
        from ..tracking.mlflow_recorder import MlflowRecorder
        from ..training.console import ConsoleRecorder
        from ..training.loop import GRID_COLUMNS, fit
        from ..training.recorder import Recorders
        from ..training.setup import training_data

        with ProgressLine(name, params.train.kimg, "kimg") as line:
            recorder = Recorders([ConsoleRecorder(line), MlflowRecorder(run, GRID_COLUMNS)])
            return fit(params, training_data(params, self.data), recorder, place.checkpoints)

    def _found(self, params: Params, trained: "FitResult") -> Result:
        """The numbers of a row."""
        from ..training.engine import images_per_step
        from ..training.flops import drawing_flops, training_flops

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
        from ..networks.weights import save_network
        from ..sampling.grids import save_grid
        from ..training.loop import GRID_COLUMNS

        save_network(trained.generator, folder, "generator")
        save_network(trained.discriminator, folder, "discriminator")
        names, images = self.data.class_names, class_images(trained.generator, GRID_COLUMNS)
        save_grid(images, folder / "samples.png", GRID_COLUMNS, names if trained.generator.conditional else None, title)


@contextmanager
def parent_run(folder: Path, data: "PreparedData", title: str) -> "Iterator[Run]":
    """The MLflow run above those of the recipes: the one of before, where the comparison goes on."""
    from ..tracking.origin import Origin
    from ..tracking.runs import new_run, reopened_run, run_exists
    from ..tracking.store import connect

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
    from ..reports.leaderboard import as_markdown, as_table

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

    from ..networks.description import load_generator
    from ..sampling.grids import save_grid

    rows = [class_images(load_generator(folder / name), PER_CLASS) for name in names]
    title = f"{PER_CLASS} images of each class, not selected (without labels: any {len(rows[0])})"
    save_grid(torch.cat(rows), folder / "leaderboard.png", len(rows[0]), names, title)
