"""Recipes trained to be compared. Finished runs are not repeated."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config.params import Params
from ..core import paths
from ..core.files import write_json
from ..core.progress import ProgressLine
from ..data.prepared import PreparedData
from ..evaluation.evaluation import Leaderboard
from ..networks.weights import save_network
from ..reports.leaderboard import class_images
from ..sampling.grids import save_grid
from ..tracking import outputs
from ..tracking.mlflow_recorder import MlflowRecorder
from ..tracking.origin import Origin
from ..tracking.runs import Run, TrainingRun, new_run, reopened_run, run_exists, training_run
from ..tracking.store import connect, project_root
from ..training.console import ConsoleRecorder
from ..training.flops import drawing_flops, training_flops
from ..training.folder import TrainingFolder
from ..training.health import TrainingDiverged
from ..training.identity import identity, source_tags
from ..training.loop import GRID_COLUMNS, FitResult, fit
from ..training.recorder import Recorders
from ..training.setup import training_data
from ..training.step.distributed import DistributedContext

FOLDER = Path("models/recipes")
RESULT, PARENT = "result.json", "run.json"
Result = dict[str, Any]


class Comparison:
    """Recipes trained on the same images. The outputs of each are in a folder of its name."""

    def __init__(self, data: PreparedData, leaderboard: Leaderboard, folder: Path, parent: str) -> None:
        """``parent`` is the MLflow run above those of the recipes."""
        self.data, self.leaderboard, self.folder, self.parent = data, leaderboard, folder, parent

    def results(self, plans: Mapping[str, Params]) -> tuple[list[Result], dict[str, str]]:
        """The results of recipes in turn, and for those that diverged the reason by name."""
        results, diverged = [], {}
        for name, params in plans.items():
            try:
                results.append(self.result(name, params))
            except TrainingDiverged as error:
                diverged[name] = str(error)
                print(f"{name}: {error}")
        return results, diverged

    def result(self, name: str, params: Params) -> Result:
        """The result of a run that is finished, or of a new one, which resumes from its checkpoint if there is one."""
        tags = {**source_tags(params, self.data), "recipe": name}
        known = {**identity(params, tags, DistributedContext()), "recipe": name}
        place = TrainingFolder(project_root() / paths.CHECKPOINTS / "recipes", known)
        path = self.folder / name / RESULT
        if path.is_file():
            result: Result = json.loads(path.read_text(encoding="utf-8"))
            if result["identity"] == place.identity:
                place.remove()
                print(f"{name}: already trained, validation score {result['score']:.3f}")
                return result
        origin = Origin.here(name, params.flat(), tags)
        with training_run(self.data.name, origin, self.parent, place.run_id) as run:
            place.run_id = run.run_id
            outputs.record_dataset(run, self.data)
            trained = self._train(name, params, place, run)
            result = {
                "recipe": name,
                "identity": place.identity,
                "run_id": run.run_id,
                **self._numbers(params, trained),
            }
            tested = {f"test.{number}": one["value"] for number, one in result["numbers"].items()}
            run.metrics({"best.score": result["score"], **tested})
            self._save(trained, self.folder / name, f"{name}: {params.train.kimg:,.4g} thousand images")
            write_json(result, path)
            run.artifact(self.folder / name)
        place.remove()
        return result

    def _train(self, name: str, params: Params, place: TrainingFolder, run: TrainingRun) -> FitResult:
        with ProgressLine(name, params.train.kimg, "kimg") as line:
            recorder = Recorders([ConsoleRecorder(line), MlflowRecorder(run, GRID_COLUMNS)])
            return fit(params, training_data(params, self.data), recorder, place.checkpoints)

    def _numbers(self, params: Params, trained: FitResult) -> Result:
        """The numbers of a row of the leaderboard."""
        train, networks = self.data.train, (trained.generator, trained.discriminator)
        sizes = [sum(weight.numel() for weight in network.parameters()) for network in networks]
        return {
            "score": trained.best["score"],
            "kimg": params.train.kimg,
            "images_per_second": trained.images_per_second,
            "minutes": trained.history.training_seconds / 60,
            "parameters": dict(zip(("generator", "discriminator"), sizes, strict=True)),
            "drawing_flops": drawing_flops(trained.generator),
            "training_flops": training_flops(params, train.images, train.labels, len(self.data.class_names)),
            "numbers": {name: asdict(one) for name, one in self.leaderboard.generator(trained.generator).items()},
        }

    def _save(self, trained: FitResult, folder: Path, title: str) -> None:
        """Write both networks, and images of every class."""
        save_network(trained.generator, folder, "generator")
        save_network(trained.discriminator, folder, "discriminator")
        names, images = self.data.class_names, class_images(trained.generator, GRID_COLUMNS)
        save_grid(images, folder / "samples.png", GRID_COLUMNS, names if trained.generator.conditional else None, title)


@contextmanager
def parent_run(folder: Path, data: PreparedData, title: str) -> Iterator[Run]:
    """Open the MLflow run above those of the recipes, or create it."""
    path = folder / PARENT
    run_id = json.loads(path.read_text(encoding="utf-8"))["run_id"] if path.is_file() else ""
    if not (run_id and run_exists(connect(), run_id)):
        with new_run(data.name, Origin.here(title, {}, {"data.hash": data.content_hash})) as run:
            run_id = run.run_id
        write_json({"run_id": run_id}, path)
    with reopened_run(run_id) as run:
        yield run


def record_leaderboard(run: Run, text: str, folder: Path) -> None:
    """Log the files of a leaderboard, and its text as the run's description."""
    for file in sorted(folder.glob("leaderboard.*")):
        run.artifact(file)
    run.tags({"mlflow.note.content": text})
