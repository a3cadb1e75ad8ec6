"""The rows that a run logs, kept in ``mlruns/outbox/RUN_ID`` until MLflow has them."""

import json
import shutil
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from filelock import FileLock, Timeout

from ..core import paths
from ..core.errors import UserError
from ..core.files import replacing
from . import store

if TYPE_CHECKING:
    from PIL.Image import Image

Row: TypeAlias = dict[str, Any]
"""One log entry: ``metrics`` and ``tags``, which are sent together, or one of ``ALONE``."""
ALONE = {"image", "artifact", "dataset", "untag", "status"}
BATCH = 1000
"""MLflow's limits per call: 1000 metrics, 100 tags, and 1000 of both together."""
LONGEST_TEXT = 5000
"""Characters kept of a tag's value; MLflow's limit is 8000."""
LOST = ".lost"
PATIENCE = 30.0
"""seconds to wait for another process that is sending the rows"""
SYSTEM = "system/"


def outbox_root() -> Path:
    """The folder with the rows of all runs."""
    return store.project_root() / "mlruns" / "outbox"


def rows_of(count: int) -> str:
    """The number with its noun."""
    return f"{count} {'row' if count == 1 else 'rows'}"


class Outbox:
    """The rows of a run: ``rows.jsonl``, to which they are only appended, and ``sent``, the number of them that MLflow has.

    Metrics and images are taken once a step, so that a resumed run logs nothing twice. One process at a time holds ``lock``,
    which the kernel releases when it dies. Rows survive the process, but not a crash of the machine: there is no fsync.
    """

    def __init__(self, run_id: str, patience: float = PATIENCE, *, shared: bool = False) -> None:
        """Raises UserError if another process holds it; with ``shared``, rows then stay in memory instead."""
        self.run_id, self.folder = run_id, outbox_root() / run_id
        self.rows, self.sent, self.gone = list[Row](), 0, False
        self._unwritten, self._last, self._appending = "", dict[str, int](), threading.Lock()
        self._lock: FileLock | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock", thread_local=False)
            lock.acquire(timeout=patience)
            self._lock = lock
        except Timeout:
            if not shared:
                raise UserError(f"another process writes run {run_id}; {store.shown(self.folder)} is locked") from None
            return
        except OSError as error:
            store.warn(f"{store.shown(self.folder)} cannot be written ({error.strerror}): rows stay in memory")
            return
        with suppress(OSError):
            for line in (self.folder / "rows.jsonl").read_bytes().splitlines():
                with suppress(ValueError):  # a row that was truncated by a full disk
                    self._take(json.loads(line))
        with suppress(OSError, ValueError):  # otherwise everything is sent again, which is idempotent
            self.sent = min(int((self.folder / "sent").read_text(encoding="utf-8")), len(self.rows))

    def open(self) -> None:
        """Record which store the rows are for, unless already recorded."""
        if self._lock is not None and self.address is None:
            with suppress(OSError):
                (self.folder / "store").write_text(store.portable_address(), encoding="utf-8")

    @property
    def address(self) -> str | None:
        """The store that the rows are for."""
        with suppress(OSError):
            return (self.folder / "store").read_text(encoding="utf-8")
        return None

    @property
    def waiting(self) -> int:
        """The number of unsent rows."""
        return len(self.rows) - self.sent

    @property
    def unwritten(self) -> int:
        """The number of rows that are only in memory."""
        return self._unwritten.count("\n")

    @property
    def ended(self) -> bool:
        """Whether the last logged status is terminal."""
        return next((row["status"] for row in reversed(self.rows) if "status" in row), "RUNNING") != "RUNNING"

    def may_resume(self) -> bool:
        """Whether there are checkpoints from which the run resumes."""
        for path in (store.project_root() / paths.CHECKPOINTS).rglob(paths.RUN_FILE):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if json.loads(path.read_text(encoding="utf-8"))["run_id"] == self.run_id:
                    return True
        return False

    def append(self, **row: Any) -> None:
        """Append a row. If it cannot be written, it stays in memory and is written with a later one."""
        with self._appending:
            self._take(row)
            # The newline comes first, so that a truncated row does not corrupt the next one.
            before, self._unwritten = self._unwritten, f"{self._unwritten}\n{json.dumps(row)}"
            if self._lock is None:
                return
            try:
                with (self.folder / "rows.jsonl").open("a", encoding="utf-8") as file:
                    file.write(self._unwritten)
                self._unwritten = ""
            except OSError as error:
                if not before:
                    place = store.shown(self.folder)
                    store.warn(f"{place} cannot be written ({error.strerror}): rows for MLflow stay in memory")

    def _take(self, row: Row) -> None:
        self.rows.append(row)
        if "rollback" in row:
            back = row["rollback"]
            self._last = {n: s if n.startswith(SYSTEM) else min(s, back) for n, s in self._last.items()}
        for name in row.get("metrics", [row["key"]] if "key" in row else []):
            self._last[name] = row["step"]

    def is_new(self, name: str, step: int) -> bool:
        """Whether a metric or image key has no row at this step or a later one yet."""
        return step > self._last.get(name, -1)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.append(tags={name: value[:LONGEST_TEXT] for name, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int | None = 0) -> None:
        """Log those that are new at the step; None stands for the step after the last one of these names."""
        if step is None:
            step = max((self._last.get(name, -1) for name in values), default=-1) + 1
        new = {name: float(value) for name, value in values.items() if self.is_new(name, step)}
        if new:
            self.append(time=now(), step=step, metrics=new)

    def image(self, image: "Image", key: str, step: int) -> None:
        """Log an image under a key, with a file name in MLflow's format. A file without a row is ignored."""
        if not self.is_new(f"image {key}", step):
            return
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{now()}+{uuid.uuid4()}"
        try:
            (self.folder / "images").mkdir(parents=True, exist_ok=True)
            image.save(self.folder / "images" / f"{name}.png")
        except OSError as error:
            store.warn(f"the image {key} of step {step} is not logged: {error.strerror or error}")
        else:
            self.append(image=name, key=f"image {key}", step=step)

    def dataset(self, name: str, digest: str, source: str, shape: Sequence[int]) -> None:
        """Log the training images, uint8 (N, C, H, W), as the run's input, with a digest given by the caller."""
        if self.is_new("dataset", 0):
            self.append(dataset=name, key="dataset", step=0, digest=digest, source=source, shape=list(shape))

    def artifact(self, path: Path, target: str | None = None) -> None:
        """Log a copy of a file, or of a folder's contents, to the artifact folder ``target``."""
        place = f"artifacts/{uuid.uuid4()}"
        try:
            if path.is_dir():
                shutil.copytree(path, self.folder / place)
            else:
                (self.folder / place).mkdir(parents=True)
                shutil.copy2(path, self.folder / place)
        except OSError:  # on a full disk the original is sent, if it still exists by then
            place = str(path.resolve())
        self.append(artifact=place, target=target)

    def rollback(self, step: int, cause: str) -> None:
        """Training rolled back to ``step``: later steps are logged again. A repeated rollback counts once."""
        if not any(row.get("rollback") == step and row["cause"] == cause for row in self.rows):
            self.append(rollback=step, cause=cause)

    def end(self, status: str, tags: Mapping[str, str]) -> None:
        """Log the final tags and status."""
        self.append(tags=dict(tags))
        self.append(status=status, time=now())

    def next_batch(self) -> list[Row]:
        """The first unsent rows, as many as fit into one call."""
        batch, size = list[Row](), 0
        for row in self.rows[self.sent : self.sent + BATCH]:
            size += len(row.get("metrics", ())) + 10 * len(row.get("tags", ()))
            if batch and (size > BATCH or row.keys() & ALONE):
                break
            batch.append(row)
            if row.keys() & ALONE:
                break
        return batch

    def mark_sent(self, count: int) -> None:
        """Record that ``count`` more rows are sent. If this cannot be written, they are sent again."""
        self.sent += count
        if self._lock is not None:
            with suppress(UserError), replacing(self.folder / "sent") as part:
                part.write_text(f"{self.sent}\n", encoding="utf-8")

    def release(self) -> None:
        """Release the lock and keep the folder, unless it is empty, as after a run that was just closed."""
        if self._lock is not None:
            if not self.rows and self.address is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()

    def close(self) -> None:
        """Release the lock. Delete the folder if the run has ended, everything is sent, and it cannot be resumed.

        Rows of a run that the store no longer has are moved aside, unless they only contain its final status.
        """
        aside = self.folder.with_name(self.run_id + LOST)
        if self._lock is not None and self.gone:
            if not any(row.keys() & {"metrics", "image", "artifact"} for row in self.rows[self.sent :]):
                shutil.rmtree(self.folder, ignore_errors=True)
            elif not aside.exists():
                self.folder.rename(aside)
                place = f"{rows_of(self.waiting)} for it stay in {store.shown(aside)}"
                store.warn(f"run {self.run_id} is no longer in the MLflow store; {place}")
        elif self._lock is not None and self.ended and not self.waiting and not self.may_resume():
            shutil.rmtree(self.folder, ignore_errors=True)
        self.release()


def now() -> int:
    """The current time in milliseconds, MLflow's unit."""
    return int(time.time() * 1000)
