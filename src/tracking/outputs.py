"""The run that produced the outputs in ``models/``: found by the generator's hash, or re-created from the outputs.

The outputs do not name their run: DVC may have restored them from its cache, or pulled them from a remote.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import paths
from ..core.files import corrupt, read_json, read_tensors, read_text
from . import store
from .origin import Origin, file_md5, run_name
from .runs import Run, TrainingRun, training_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ..config.params import Params
    from ..data.prepared import PreparedData
    from ..evaluation.scorecard import Scorecard

GENERATOR_TAG = "generator.hash"
"""tag of a finished training: the hash of its generator"""
EVALUATION_TAG = "evaluation.sha256"
"""tag of a run: the hash of the scorecard and pictures logged last"""
HISTORY, SAMPLES, SAMPLE_IMAGES = "history.json", "samples", "samples.safetensors"
NETWORKS = ("generator.json", "generator.safetensors", "discriminator.json", "discriminator.safetensors", "card.json")
NUMBERS = ("history.csv", "scores.csv", HISTORY, "metrics.json")


def find_run(client: "MlflowClient", digest: str, experiment: str) -> str | None:
    """The newest run that trained the generator with this hash: in ``experiment`` if there is one, otherwise in any other."""
    own = store.experiment_id(client, experiment)
    others = [one.experiment_id for one in client.search_experiments() if one.experiment_id != own]
    for some in ([own], others):
        query = f"tags.`{GENERATOR_TAG}` = '{digest}'"
        found = client.search_runs(some, query, max_results=1, order_by=["attributes.start_time DESC"]) if some else []
        if found:
            return str(found[0].info.run_id)
    return None


def recreate_run(data: "PreparedData", params: "Params", digest: str, tags: Mapping[str, str]) -> str:
    """Create a run from the outputs: parameters, losses, scores, networks and sample images.

    Commit and parameters are the current ones; the machine and the duration of the training are unknown.
    """
    from ..sampling.grids import grid_image
    from ..training.loop import GRID_COLUMNS

    history = read_json(paths.GAN / HISTORY, "train", "losses", "scores")
    samples = read_tensors(paths.GAN / SAMPLE_IMAGES, "train")
    print(f"no run in the store {store.where()} has trained this generator; one is re-created from {paths.GAN}")
    known = {GENERATOR_TAG: digest, "seed": str(params.train.seed), "recreated": "from the outputs", **tags}
    origin = Origin.here(run_name(params), params.flat(), known, trained_here=False)
    with training_run(data.name, origin, monitored=False) as run:
        record_dataset(run, data)
        _record_history(run, history)
        for name, images in sorted(samples.items()):
            run.image(grid_image(images, GRID_COLUMNS), SAMPLES, int(name.removeprefix("step_")))
        for name in (*NETWORKS, *NUMBERS):
            if (paths.GAN / name).is_file():
                run.artifact(paths.GAN / name)
    return run.run_id


def record_dataset(run: TrainingRun, data: "PreparedData") -> None:
    """Log the training images as a run's input, with DVC's hash of the file."""
    file = paths.PREPARED / "dataset.safetensors"
    run.dataset(data.name, file_md5(file), str(file.resolve()), data.train.images.shape)


def report_files() -> list[Path]:
    """The files of the stages evaluate and report, in order."""
    pictures = [paths.GAN / "history.png", *sorted((paths.GAN / SAMPLES).glob("step_*.png"))]
    kept = [file for file in sorted(paths.EVALUATION.iterdir()) if file.is_file() and file.suffix != ".part"]
    return [file for file in (*kept, *pictures) if file.is_file()]


def files_hash(files: Iterable[Path]) -> str:
    """SHA-256 over names and contents."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def record_evaluation(
    run: Run,
    card: "Scorecard",
    files: Iterable[Path],
    digest: str,
    model_id: str | None = None,
    split: tuple[str, str] | None = None,
) -> None:
    """Record the scorecard and the pictures; ``digest`` is the hash of the ``files``.

    The scores are metrics of the run and of the logged model ``model_id``, on the dataset ``split`` (name and digest). Those
    of real and trivial images are in the scorecard only, or they would be two thirds of the charts.
    """
    run.scores({f"test.{name}": one.value for name, one in card.generated.items()}, model_id, split)
    for file in files:
        folder = {paths.EVALUATION: "evaluation", paths.GAN: None}.get(file.parent, SAMPLES)
        run.artifact(file, folder)
    text = read_text(paths.EVALUATION / "scorecard.md", "report")
    run.tags({"mlflow.note.content": text, EVALUATION_TAG: digest})


def _record_history(run: TrainingRun, history: Mapping[str, Any]) -> None:
    """Log losses and validation scores. Raises UserError for an invalid history."""
    try:
        for row in history["losses"]:
            run.metrics({name: value for name, value in row.items() if name != "step"}, row["step"])
        for row in history["scores"]:
            numbers = {name: value for name, value in row.items() if name not in ("step", "kimg")}
            run.metrics({f"validation.{name}": value for name, value in numbers.items()}, row["step"])
        best = min(history["scores"], key=lambda row: row["score"])
        run.metrics({"best.score": best["score"], "best.step": best["step"]})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(paths.GAN / HISTORY, "train", error) from None
