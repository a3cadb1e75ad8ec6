"""What a training tells its MLflow run: written to a local file at once, and delivered by a thread of its own.

The training never waits for MLflow. While the store is out of reach the news stays in ``mlruns/outbox/RUN_ID``, and is
delivered when the store answers again, by this process or by the next one that opens a run.
"""

import base64
import json
import shutil
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import delivery, folders, store
from .entries import Entries, Entry, now, parse

if TYPE_CHECKING:
    from filelock import FileLock
    from mlflow import MlflowClient
    from PIL.Image import Image


@dataclass(frozen=True)
class Pace:
    """How long is waited for what, in seconds."""

    gather: float = 2.0
    """from the first piece of news to the call that takes all that has come by then"""
    first_pause: float = 1.0
    """before the second attempt at a store that did not answer, and twice as long before each further one"""
    longest_pause: float = 30.0
    healthy_close: float = 30.0
    """for the next delivery to succeed, at the end of the training"""
    away_close: float = 5.0
    """the same, if the last one failed"""


PACE = Pace()


class Outbox:
    """The news of one run. One process at a time holds it; its thread delivers, beginning with what was left over.

    News with a topic is said once a step: a training that was killed and goes on from a checkpoint says some of it a second
    time, and that is ignored.
    """

    def __init__(self, run_id: str, client: "MlflowClient | None" = None) -> None:
        """Take the folder, new or as an earlier process left it. Raises UserError when another process does not let go of it.

        Without a ``client`` the thread connects to the store when it has something to deliver.
        """
        self.run_id, self.folder = run_id, folders.outbox_root() / run_id
        self._client, self._pace = client, PACE
        self._lock: FileLock | None = None
        with suppress(OSError):  # a full disk: the news waits in memory, and nobody else can take it
            self._lock = folders.take(self.folder)
        self._entries = Entries(self.folder)
        lines = self._entries.read()
        self._said: set[tuple[str, int]] = set()
        self._rewinds: set[tuple[str, int]] = set()
        for line in lines:
            self._remember(parse(line))
        self._latest = -1  # the greatest step that this process has said
        self._queue, self._unwritten = deque(lines[self._entries.sent :]), list[str]()
        self._changed = threading.Condition()
        self._closing = self._hurry = self._away = self._full = self._gone = self._final = False
        if not lines:
            self.say("store", uri=folders.store_name())
            self._queue.clear()  # it is for those who find the folder, not for MLflow
            self._entries.mark_sent(1)
        self._thread = threading.Thread(target=self._work, name=f"outbox {run_id}", daemon=True)
        self._thread.start()

    def say(self, kind: str, **content: Any) -> None:
        """Take news of any kind."""
        entry = {"kind": kind, **content}
        line = json.dumps(entry)
        with self._changed:
            self._unwritten.append(line)
            self._write()
            self._queue.append(line)
            self._changed.notify_all()
        self._remember(entry)

    def knows(self, topic: str, step: int) -> bool:
        """Whether this was said already, by this process or an earlier one."""
        return (topic, step) in self._said

    def say_once(self, kind: str, topic: str, step: int, **content: Any) -> None:
        """Take news of a topic, unless it was said already of that step."""
        if not self.knows(topic, step):
            self.say(kind, topic=topic, step=step, time=now(), **content)
            self._latest = max(self._latest, step)

    def say_image(self, image: "Image", key: str, step: int) -> None:
        """Keep a picture for MLflow's image ``key`` at the step, unless there is one already."""
        topic = f"image {key}"
        if self.knows(topic, step):
            return
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{now()}+{uuid.uuid4()}"  # as MLflow names them
        buffer = BytesIO()
        image.save(buffer, "PNG")
        path = self.folder / "images" / f"{name}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(buffer.getvalue())
            place = {"file": str(path.relative_to(self.folder))}
        except OSError:
            place = {"png": base64.b64encode(buffer.getvalue()).decode()}
        self.say_once("image", topic, step, name=name, **place)

    def say_artifact(self, path: Path, target: str | None) -> None:
        """Keep a copy of a file or of a folder's contents, for the folder ``target`` among the run's artifacts."""
        copy = Path("artifacts", str(uuid.uuid4()))
        try:
            if path.is_dir():
                shutil.copytree(path, self.folder / copy)
            else:
                (self.folder / copy).mkdir(parents=True)
                shutil.copy2(path, self.folder / copy)
            place = {"copy": str(copy)}
        except OSError:  # shutil.Error is one, too; the thing itself may still be there when MLflow asks for it
            shutil.rmtree(self.folder / copy, ignore_errors=True)
            place = {"original": str(path.resolve())}
        self.say("artifacts", target=target, **place)

    def rewind(self, step: int, reason: str) -> None:
        """What comes after ``step`` will be said anew: the training has gone back on purpose.

        A process that continues the training may tell it again before anything else, to be sure; that changes nothing.
        """
        if (reason, step) not in self._rewinds or self._latest > step:
            self.say("rewind", reason=reason, step=step)

    def end(self, status: str, tags: Mapping[str, str], *, final: bool) -> None:
        """The last news. If it is final the folder is removed after it; otherwise it is kept for who continues the run."""
        if tags:
            self.say("tags", values=dict(tags))
        self.say("status", status=status, time=now(), final=final)
        self._final = final

    def flush(self, timeout: float) -> bool:
        """Wait until everything is delivered; whether it is."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._queue, timeout)
            self._hurry = False
        return done

    def close(self) -> None:
        """Wait for deliveries as long as they succeed; what is left stays on disk for the next run."""
        with self._changed:
            self._write()
            self._closing = True
            self._changed.notify_all()
        waiting = len(self._queue) + 1
        while self._thread.is_alive() and len(self._queue) < waiting:
            waiting = len(self._queue)
            self._thread.join(self._pace.away_close if self._away else self._pace.healthy_close)
        with self._changed:
            waiting = 0 if self._gone else len(self._queue)
            lost = min(waiting, len(self._unwritten))
        place = folders.shown(self.folder)
        if lost:
            folders.tell(f"{folders.entries(lost)} for MLflow are lost: neither it nor {place} could take them")
        if waiting > lost:
            folders.tell(f"{folders.entries(waiting - lost)} for MLflow wait in {place}; the next run writes them")

    def _write(self) -> None:
        """Append what is not in the file yet. On a full disk it stays in memory until there is room."""
        if not self._unwritten:
            return
        try:
            self._entries.append(self._unwritten)
        except OSError as error:
            if not self._full:
                place = folders.shown(self.folder)
                folders.tell(f"{place} cannot be written ({error.strerror}): the news for MLflow waits in memory")
            self._full = True
        else:
            self._unwritten.clear()
            self._full = False

    def _remember(self, entry: Entry) -> None:
        if entry["kind"] == "rewind":
            self._said = {(topic, step) for topic, step in self._said if step <= entry["step"]}
            self._rewinds.add((entry["reason"], entry["step"]))
        elif "topic" in entry:
            self._said.add((entry["topic"], entry["step"]))

    def _work(self) -> None:
        """The thread: deliver until the outbox is closed, and is empty or cannot be emptied."""
        pause, told_at = self._pace.first_pause, 0
        while self._wait_for_news():
            last = self._closing
            try:
                self._deliver()
            except delivery.RunIsGone:
                self._gone = True
            except Exception as error:  # whatever it is, the training is not to end from it
                if not self._away:
                    self._away, told_at = True, self._entries.sent
                    why, place = folders.few_words(error), folders.shown(self.folder)
                    folders.tell(f"MLflow does not answer ({why}): the training goes on, and its news waits in {place}")
                if last:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause)
                pause = min(2 * pause, self._pace.longest_pause)
            else:
                pause = self._pace.first_pause
                if self._away and not self._queue:
                    self._away = False
                    folders.tell(f"MLflow answers again: {folders.entries(self._entries.sent - told_at)} written")
        self._leave()

    def _wait_for_news(self) -> bool:
        """Whether there is something to deliver; False at the end. Of news that has just come, more may follow."""
        with self._changed:
            if not self._queue or self._gone:
                self._changed.wait_for(lambda: self._closing or (self._queue and not self._gone))
                self._changed.wait_for(lambda: self._closing or self._hurry, self._pace.gather)
            return bool(self._queue) and not self._gone

    def _deliver(self) -> None:
        if self._client is None:
            self._client = store.connect()
        with self._changed:
            lines = list(islice(self._queue, delivery.ENTITIES))
        batch = delivery.deliver_next(self._client, self.run_id, self.folder, lines)
        with self._changed:
            for _ in batch:
                self._queue.popleft()
            self._entries.mark_sent(self._entries.sent + len(batch))
            self._changed.notify_all()
        delivery.clear_delivered(self.folder, batch)

    def _leave(self) -> None:
        with self._changed, suppress(OSError):
            self._entries.close()
            if self._gone:
                folders.lose(self.folder, self._queue)
            elif self._final and not self._queue:
                folders.remove(self.folder)
        if self._lock is not None:
            self._lock.release()
