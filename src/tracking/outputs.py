"""The run that the outputs of a training belong to, which evaluate and register continue.

DVC may restore the outputs of an earlier training from its cache, and then no stage runs that could tell MLflow. The
outputs know their run, and everything that a run is told.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src import paths
from src.datasets.store import PreparedData
from src.errors import UserError, require_file
from src.metrics import report
from src.tracking import store
from src.tracking.lineage import RESTORED_FROM, Origin, file_md5
from src.tracking.runs import Run, TrainingRun, new_run, reopened_run, run_exists

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN, ORIGIN, HISTORY, SAMPLES = "run.json", "origin.json", "history.json", "samples"
"""among the outputs of train"""
PREFIXES = {"generated": "test.", "real": "test.real.", "floor": "test.floor."}


@contextmanager
def run_of_outputs(data: PreparedData, gan: Path = paths.GAN, evaluation: Path = paths.EVALUATION) -> Iterator[Run]:
    """Continue the run that made the outputs in ``gan``.

    Where the store no longer has it, a new run takes its place, once, and is told from the outputs what the lost one knew:
    parameters, tags, losses, scores, pictures, and the scorecard if there is one of this generator.
    """
    made = run_summary(gan)
    run_id = made["run_id"]
    client = store.connect()
    found = run_id if run_exists(client, run_id) else _successor(client, data.name, run_id)
    if found:
        with reopened_run(found) as run:
            yield run
        return
    print(f"run {run_id} is not in the store {store.where()}; a new run takes its place, told from {gan}")
    with new_run(data.name, Origin.load(gan / ORIGIN).instead_of(run_id)) as run:
        record_dataset(run, data)
        _retell(run, gan)
        scorecard = evaluation / "scorecard.json"
        if scorecard.is_file():
            card = json.loads(scorecard.read_text(encoding="utf-8"))
            if card["generator_hash"] == made["generator_hash"]:
                record_evaluation(run, card, evaluation)
        yield run


def run_summary(gan: Path) -> dict[str, Any]:
    """What train says of its run: ``run_id``, ``generator_hash``. Raises UserError for a missing or corrupt file."""
    path = gan / RUN
    try:
        summary: dict[str, Any] = json.loads(require_file(path, "train").read_text(encoding="utf-8"))
        if re.fullmatch("[0-9a-f]{32}", summary["run_id"]) and summary["generator_hash"]:
            return summary
        raise ValueError(f"run_id is {summary['run_id']!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is corrupt ({error!r}); make it again with `dvc repro --force train`") from None


def _successor(client: "MlflowClient", experiment: str, run_id: str) -> str | None:
    """The run that has taken the place of a lost one."""
    found = client.search_runs([store.experiment_id(client, experiment)], f"tags.`{RESTORED_FROM}` = '{run_id}'")
    return found[0].info.run_id if found else None


def record_dataset(run: Run | TrainingRun, data: PreparedData) -> None:
    """Tell a run its training images, by DVC's hash of the file."""
    file = paths.PREPARED / "dataset.safetensors"
    run.dataset(data.name, file_md5(file), str(file.resolve()), data.train.images)


def record_evaluation(run: Run, card: dict[str, Any], folder: Path) -> None:
    """Tell a run its scorecard: numbers, description and files."""
    for source, prefix in PREFIXES.items():
        run.metrics({prefix + name: one["value"] for name, one in card[source].items()})
    run.tags({"mlflow.note.content": report.markdown(card)})
    run.artifact(folder, "evaluation")


def _retell(run: Run, gan: Path) -> None:
    from PIL import Image

    history = json.loads(require_file(gan / HISTORY, "train").read_text(encoding="utf-8"))
    for row in history["losses"]:
        run.metrics({name: value for name, value in row.items() if name != "step"}, row["step"])
    for row in history["scores"]:
        numbers = {name: value for name, value in row.items() if name not in ("step", "kimg", "seconds")}
        run.metrics({f"validation.{name}": value for name, value in numbers.items()}, row["step"])
    best = min(history["scores"], key=lambda row: row["score"])
    run.metrics({"best.score": best["score"], "best.step": best["step"]})
    for file in sorted((gan / SAMPLES).glob("step_*.png")):
        with Image.open(file) as picture:
            run.image(picture.convert("RGB"), "samples", int(file.stem.removeprefix("step_")))
    run.artifact(gan)
