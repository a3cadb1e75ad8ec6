"""Sending the rows of runs to MLflow, by the process that logs them or by a later one."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..core.errors import UserError, first_line
from . import store
from .outbox import LONGEST_TEXT, LOST, Outbox, Row, outbox_root, rows_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

INTERVAL, LONGEST_PAUSE = 2.0, 60.0
"""Seconds between two calls, and at most between two attempts while the store is not responding."""
HEALTHY_CLOSE, AWAY_CLOSE = 30.0, 5.0
"""Seconds to wait for the next call at the end of a training; the latter if the previous call failed."""


class RunIsGone(Exception):
    """The store has no such run, or it is deleted."""


def sync(client: "MlflowClient", outbox: Outbox) -> int:
    """Send the rows that MLflow does not have; returns how many. Sending a row again changes nothing.

    A process may die between a call and its entry in ``sent``. Metrics carry the timestamp of their row, and MLflow keeps one
    of two identical points; images and artifacts have fixed names; tags, status and dataset are set, not added.
    Raises RunIsGone, or whatever MLflow raises when it is not responding.
    """
    count = 0
    while batch := outbox.next_batch():
        _send(client, outbox, batch)
        outbox.mark_sent(len(batch))
        count += len(batch)
    return count


class Sender:
    """Calls :func:`sync` in a thread during training, and :func:`sync_all` once."""

    def __init__(self, outbox: Outbox, client: "MlflowClient | None" = None) -> None:
        """Without a ``client``, the thread connects to the store when there are rows to send."""
        self.outbox, self.away = outbox, False
        self._client, self._closing = client, threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"sync {outbox.run_id}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait as long as calls succeed; remaining rows stay on disk for the next command."""
        self._closing.set()
        sent = -1
        while self._thread.is_alive() and self.outbox.sent > sent:
            sent = self.outbox.sent
            self._thread.join(AWAY_CLOSE if self.away else HEALTHY_CLOSE)
        if self.outbox.gone or not self.outbox.waiting:
            return
        place, lost = store.shown(self.outbox.folder), min(self.outbox.unwritten, self.outbox.waiting)
        if lost:
            store.warn(f"{rows_of(lost)} for MLflow are lost: neither it nor {place} could be written")
        if kept := self.outbox.waiting - lost:
            store.warn(f"{rows_of(kept)} for MLflow are in {place}; the next command sends them")

    def _work(self) -> None:
        pause, closing, swept = 0.0, False, False
        while not closing:
            closing = self._closing.wait(pause)
            try:
                if self.outbox.waiting:
                    self._client = self._client or store.connect()
                    sync(self._client, self.outbox)
                    if not swept:
                        sync_all(self._client)
                        swept = True
            except RunIsGone:
                self.outbox.gone = True
            except Exception as error:  # training must survive any error
                if not self.away:
                    place = store.shown(self.outbox.folder)
                    store.warn(
                        f"MLflow is not responding ({store.reason(error)}): training continues, and rows are queued in {place}"
                    )
                self.away, pause = True, min(2 * pause + INTERVAL / 4, LONGEST_PAUSE)
                continue
            if self.away:
                store.warn("MLflow is responding again: all rows are sent")
            self.away, pause = False, INTERVAL
        self.outbox.close()


def _send(client: "MlflowClient", outbox: Outbox, rows: Sequence[Row]) -> None:
    """Send the rows of one call. Rows that MLflow rejects, for an invalid name for example, are dropped and reported."""
    from mlflow.exceptions import MlflowException

    try:
        _log(client, outbox.run_id, outbox.folder, rows)
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            raise
        if run_is_gone(client, outbox.run_id):
            raise RunIsGone from None
        if len(rows) > 1:
            for row in rows:
                _send(client, outbox, [row])
        else:
            store.warn(f"MLflow rejects {json.dumps(rows[0])[:500]} of run {outbox.run_id}: {first_line(error)}")


def _log(client: "MlflowClient", run_id: str, folder: Path, rows: Sequence[Row]) -> None:
    from mlflow.entities import Metric, RunTag

    row = rows[0]
    if "image" in row:
        _log_image(client, run_id, folder / "images" / f"{row['image']}.png")
    elif "artifact" in row:
        place = folder / row["artifact"]  # an absolute path stays one
        if place.is_dir():
            client.log_artifacts(run_id, str(place), row["target"])
        elif place.exists():
            client.log_artifact(run_id, str(place), row["target"])
    elif "dataset" in row:
        _log_dataset(client, run_id, row)
    elif "untag" in row:
        for name in set(row["untag"]) & client.get_run(run_id).data.tags.keys():
            client.delete_tag(run_id, name)
    elif row.get("status") == "RUNNING":
        client.update_run(run_id, status="RUNNING")
    elif "status" in row:
        client.set_terminated(run_id, row["status"], row["time"])
    else:
        points = [(name, value, one) for one in rows for name, value in one.get("metrics", {}).items()]
        metrics = [Metric(name, value, one["time"], one["step"]) for name, value, one in points]
        tags = {name: value for one in rows for name, value in one.get("tags", {}).items()}
        if metrics or tags:
            client.log_batch(run_id, metrics=metrics, tags=[RunTag(name, value) for name, value in tags.items()])


def _log_image(client: "MlflowClient", run_id: str, file: Path) -> None:
    """Like ``MlflowClient.log_image``, but with a file name that does not change when it is repeated."""
    from mlflow.tracking.multimedia import compress_image_size
    from PIL import Image

    if file.is_file():
        with TemporaryDirectory() as place, Image.open(file) as image:
            small = Path(place) / f"{file.stem}+compressed.webp"
            compress_image_size(image).save(small)
            for path in (file, small):
                client.log_artifact(run_id, str(path), "images")
        client.set_tag(run_id, "mlflow.loggedImages", "True")


def _log_dataset(client: "MlflowClient", run_id: str, row: Row) -> None:
    """Log the training images, uint8, as the run's input, with a digest given by the caller."""
    import numpy as np
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    schema = Schema([TensorSpec(np.dtype("uint8"), tuple(row["shape"]), "train_images")])
    source, columns = json.dumps({"uri": row["source"]}), json.dumps({"mlflow_colspec": schema.to_dict()})
    entity = Dataset(row["dataset"], row["digest"], "local", source, columns)
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def run_is_gone(client: "MlflowClient", run_id: str) -> bool:
    """Whether the store has no such run, or it is deleted. Raises what MLflow raises when it is not responding."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage != "active")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return True
        raise


def sync_all(client: "MlflowClient", report: Callable[[str], None] = store.warn) -> None:
    """Send the rows that earlier processes left for the current store, and mark runs whose process died as killed.

    Runs of live processes are skipped. Errors are passed to ``report`` as a sentence and never raised.
    """
    for folder in sorted(path for path in outbox_root().glob("*/") if path.suffix != LOST):
        try:
            outbox = Outbox(folder.name, 0.0)
        except UserError:  # another process holds it
            continue
        if outbox.address != store.portable_address():
            outbox.release()
            continue
        count = 0
        try:
            if not outbox.ended:
                outbox.end("KILLED", {"stopped": "its process is gone"})
            count = sync(client, outbox)
        except RunIsGone:
            outbox.gone = True
        except Exception as error:  # the caller's own work must go on
            report(f"rows of earlier runs stay in {store.shown(outbox_root())} ({store.reason(error)})")
            return
        finally:
            outbox.close()
        if count:
            report(f"{rows_of(count)} of run {folder.name} were sent to MLflow")


def abandon(run_id: str, cause: str = "started afresh") -> None:
    """Mark an interrupted run that is not resumed as killed, now or once the store responds.

    Raises UserError if a live process holds it.
    """
    outbox = Outbox(run_id)
    outbox.open()
    outbox.end("KILLED", {"stopped": cause[:LONGEST_TEXT]})
    try:
        sync(store.connect(), outbox)
    except RunIsGone:
        outbox.gone = True
    except Exception as error:
        store.warn(f"MLflow is not responding ({store.reason(error)}): the next command marks run {run_id} as killed")
    finally:
        outbox.close()


def adopt(lost: str, run_id: str) -> None:
    """Give all rows of a run that is no longer in the store to the run that replaces it."""
    for folder in (outbox_root() / lost, outbox_root() / f"{lost}{LOST}"):
        if folder.is_dir():
            outbox = Outbox(folder.name)
            with suppress(OSError):
                for name in ("sent", "store"):
                    (folder / name).unlink(missing_ok=True)
                folder.rename(outbox_root() / run_id)
            outbox.release()
            return


def forget(run_id: str) -> None:
    """Delete the rows of a run that has ended and is fully sent, once its checkpoints are deleted."""
    if not is_held(run_id) and (outbox_root() / run_id).is_dir():
        Outbox(run_id).close()


def is_held(run_id: str) -> bool:
    """Whether a live process of this project holds the run."""
    try:
        if (outbox_root() / run_id).is_dir():
            Outbox(run_id, 0.0).release()
    except UserError:
        return True
    return False
