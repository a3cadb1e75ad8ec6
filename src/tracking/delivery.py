"""How news reaches MLflow. Delivering the same entry again changes nothing: a process may die before it has noted it."""

import base64
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..core.errors import first_line
from .entries import Entry, parse

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS, TAGS, ENTITIES = 1000, 100, 1000
"""MLflow takes at most so many metrics, tags, and both together in a call;"""
CHARACTERS = 400_000
"""and a server at most a million bytes."""
LONGEST_TEXT = 5000
"""MLflow takes 8000 characters in a tag."""
MERGED = ("metrics", "tags", "store", "rewind", "unreadable")
"""Kinds that go together in one call, or need none."""
REFUSED_FILE = "refused.jsonl"


class RunIsGone(Exception):
    """The store answers, and has no such run, or it is deleted."""


def deliver_next(client: "MlflowClient", run_id: str, folder: Path, lines: Iterable[str]) -> list[Entry]:
    """Deliver the first of the waiting lines, as many as go in one call, and return their entries.

    An entry that MLflow refuses for what it is would be refused for ever: it is put into ``refused.jsonl``, with a sentence
    on standard error, and counts as delivered. Raises RunIsGone, and whatever MLflow raises when it is out of reach.
    """
    batch = next_batch(lines)
    reason = _refusal(client, run_id, folder, batch)
    if reason:
        for entry in batch:
            if reason := _refusal(client, run_id, folder, [entry]):
                print(
                    f"MLflow refuses an entry of run {run_id} ({reason}); it is in {folder / REFUSED_FILE}",
                    file=sys.stderr,
                )
                with (folder / REFUSED_FILE).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
    return batch


def next_batch(lines: Iterable[str]) -> list[Entry]:
    """The entries at the start of ``lines`` that go in one call."""
    batch: list[Entry] = []
    counts, size = dict.fromkeys(("metrics", "tags"), 0), 0
    for line in lines:
        entry = parse(line)
        if entry["kind"] in counts:
            counts[entry["kind"]] += len(entry["values"])
        size += len(line)
        full = (
            counts["metrics"] > METRICS or counts["tags"] > TAGS or sum(counts.values()) > ENTITIES or size > CHARACTERS
        )
        if batch and (full or entry["kind"] not in MERGED):
            break
        batch.append(entry)
        if entry["kind"] not in MERGED:
            break
    return batch


def _refusal(client: "MlflowClient", run_id: str, folder: Path, batch: Sequence[Entry]) -> str:
    """Deliver a batch; returns why MLflow refuses it, or nothing."""
    from mlflow.exceptions import MlflowException

    try:
        if batch[0]["kind"] in MERGED:
            _log_batch(client, run_id, batch)
        else:
            SENDERS[batch[0]["kind"]](client, run_id, folder, batch[0])
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            raise
        if run_is_gone(client, run_id):
            raise RunIsGone from None
        return first_line(error)
    return ""


def run_is_gone(client: "MlflowClient", run_id: str) -> bool:
    """Whether the store has no such run, or it is deleted. Raises what MLflow raises when it does not answer."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage != "active")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return True
        raise


def clear_delivered(folder: Path, batch: Iterable[Entry]) -> None:
    """Remove the copies of pictures and folders that are delivered."""
    for entry in batch:
        if "file" in entry:
            (folder / entry["file"]).unlink(missing_ok=True)
        elif "copy" in entry:
            shutil.rmtree(folder / entry["copy"], ignore_errors=True)


def _log_batch(client: "MlflowClient", run_id: str, batch: Iterable[Entry]) -> None:
    from mlflow.entities import Metric, RunTag

    # The time is that at which it was said: a metric that is there already is the same row, and the store keeps one.
    metrics: list[Metric] = []
    tags: dict[str, str] = {}
    for entry in batch:
        if entry["kind"] == "metrics":
            metrics += [Metric(name, value, entry["time"], entry["step"]) for name, value in entry["values"].items()]
        elif entry["kind"] == "tags":
            tags |= entry["values"]
    if metrics or tags:
        client.log_batch(run_id, metrics=metrics, tags=[RunTag(name, value) for name, value in tags.items()])


def _log_image(client: "MlflowClient", run_id: str, folder: Path, entry: Entry) -> None:
    """What ``MlflowClient.log_image`` does, but under a name that is the same each time."""
    from mlflow.tracking.multimedia import compress_image_size
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
    from PIL import Image

    file = folder / entry.get("file", "")
    if "png" not in entry and not file.is_file():
        return  # it was delivered before, and removed
    content = base64.b64decode(entry["png"]) if "png" in entry else file.read_bytes()
    with TemporaryDirectory() as place:
        full, small = (Path(place) / f"{entry['name']}{ending}" for ending in (".png", "+compressed.webp"))
        full.write_bytes(content)
        with Image.open(full) as image:
            compress_image_size(image).save(small)
        for path in (full, small):
            client.log_artifact(run_id, str(path), "images")
    client.set_tag(run_id, MLFLOW_LOGGED_IMAGES, "True")


def _log_artifacts(client: "MlflowClient", run_id: str, folder: Path, entry: Entry) -> None:
    source = folder / entry["copy"] if "copy" in entry else Path(entry["original"])
    if source.is_dir():
        client.log_artifacts(run_id, str(source), entry["target"])
    elif source.is_file():
        client.log_artifact(run_id, str(source), entry["target"])


def _log_dataset(client: "MlflowClient", run_id: str, folder: Path, entry: Entry) -> None:
    log_dataset(client, run_id, entry["name"], entry["digest"], entry["source"], entry["shape"])


def log_dataset(client: "MlflowClient", run_id: str, name: str, digest: str, source: str, shape: Sequence[int]) -> None:
    """Record training images, uint8 and of this shape, as the run's input, under a digest of the caller's."""
    import numpy as np
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    schema = Schema([TensorSpec(np.dtype("uint8"), tuple(shape), "train_images")])
    entity = MetaDataset(resolve_dataset_source(source), name, digest, schema)._to_mlflow_entity()  # type: ignore[abstract]
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def _delete_tags(client: "MlflowClient", run_id: str, folder: Path, entry: Entry) -> None:
    present = client.get_run(run_id).data.tags
    for name in entry["names"]:
        if name in present:
            client.delete_tag(run_id, name)


def _set_status(client: "MlflowClient", run_id: str, folder: Path, entry: Entry) -> None:
    if entry["status"] == "RUNNING":
        client.update_run(run_id, status="RUNNING")
    else:
        client.set_terminated(run_id, entry["status"], entry["time"])


SENDERS = {
    "image": _log_image,
    "artifacts": _log_artifacts,
    "dataset": _log_dataset,
    "untag": _delete_tags,
    "status": _set_status,
}
