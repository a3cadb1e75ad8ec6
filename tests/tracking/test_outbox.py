import errno
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image

from src.tracking import outbox, store
from src.tracking.entries import Entries
from src.tracking.folders import held
from src.tracking.outbox import Outbox, Pace
from src.tracking.recovery import abandon, adopt, deliver_leftovers
from tests.conftest import work_in
from tests.tracking.conftest import outboxes

PICTURE = Image.new("RGB", (8, 8), "red")


@pytest.fixture(autouse=True)
def _here(place: Path, quick: None) -> None:
    """In a project folder with an empty store; nothing waits long."""


@pytest.fixture
def client() -> MlflowClient:
    return store.connect()


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return str(client.create_run(store.experiment_id(client, "digits")).info.run_id)


class Away:
    """A client of a store that is out of reach until ``back`` is set; it counts the calls that arrive."""

    def __init__(self, client: MlflowClient, back: bool = False) -> None:
        self.client, self.back, self.calls = client, back, list[str]()
        self.before_answer: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if not self.back:
                raise MlflowException("API request failed: [Errno 111] Connection refused'))")
            self.calls.append(name)
            result = getattr(self.client, name)(*arguments, **named)
            self.before_answer()
            return result

        return call


def told(box: Outbox, step: int, topic: str = "losses") -> None:
    # Names of its own for each topic, as from a recorder: the same name told twice would be two points.
    prefix = "" if topic == "losses" else f"{topic}."
    box.say_once("metrics", topic, step, values={f"{prefix}loss": step / 10, f"{prefix}rate": 0.5})


def steps(client: MlflowClient, run_id: str, name: str = "loss") -> list[int]:
    return [metric.step for metric in client.get_metric_history(run_id, name)]


def pictures(client: MlflowClient, run_id: str) -> list[str]:
    return sorted(file.path for file in client.list_artifacts(run_id, "images"))


def end(box: Outbox) -> None:
    box.end("FINISHED", {}, final=True)
    box.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_everything_arrives_as_it_was_said(client: MlflowClient, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "result" / "part").mkdir(parents=True)
    (tmp_path / "result/part/a.txt").write_text("first", encoding="utf-8")
    box = Outbox(run_id, client)
    for step in (1, 2, 3):
        told(box, step)
    box.say_once("metrics", "odd", 3, values={"nan": float("nan"), "third": 1 / 3})
    box.say_image(PICTURE, "samples", 3)
    box.say_artifact(tmp_path / "result", "made")
    box.say_artifact(tmp_path / "result/part/a.txt", None)
    (tmp_path / "result/part/a.txt").write_text("later", encoding="utf-8")
    box.say("tags", values={"colour": "red"})
    box.say("tags", values={"colour": "blue"})
    before = int(time.time() * 1000)
    end(box)
    run = client.get_run(run_id)
    history = client.get_metric_history(run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert run.data.metrics["third"] == 1 / 3
    assert run.data.metrics["nan"] != run.data.metrics["nan"]
    assert (run.data.tags["colour"], run.data.tags["mlflow.loggedImages"]) == ("blue", "True")
    assert (run.info.status, abs(run.info.end_time - before) < 1000) == ("FINISHED", True)
    for name in ("made/part/a.txt", "a.txt"):
        assert Path(client.download_artifacts(run_id, name, str(tmp_path))).read_text(encoding="utf-8") == "first"
    assert outboxes() == []


def test_pictures_are_named_as_mlflow_names_them(client: MlflowClient, run_id: str) -> None:
    def pattern(path: str) -> str:
        return re.sub(r"\+[0-9a-f]{8}(-[0-9a-f]+){4}", "+UUID", re.sub(r"\d{13}", "TIME", path))

    client.log_image(run_id, PICTURE, key="a/b c", step=7)
    theirs = [pattern(path) for path in pictures(client, run_id)]
    box = Outbox(run_id, client)
    box.say_image(PICTURE, "a/b c", 7)
    end(box)
    assert sorted(map(pattern, pictures(client, run_id))) == sorted(2 * theirs)
    assert len(theirs) == 2


def test_much_news_goes_in_few_calls(client: MlflowClient, run_id: str) -> None:
    away = Away(client)
    box = Outbox(run_id, away)  # type: ignore[arg-type]
    for step in range(1200):
        told(box, step)
        if step % 10 == 0:
            box.say("tags", values={f"tag.{step}": "x"})
    until(lambda: box._away)
    away.back = True
    assert box.flush(30)
    end(box)
    assert away.calls == ["log_batch"] * 3 + ["set_terminated"]  # 2400 metrics, at most 1000 entities each
    assert steps(client, run_id) == list(range(1200))
    assert sum(name.startswith("tag.") for name in client.get_run(run_id).data.tags) == 120


def test_news_that_follows_soon_is_gathered(client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PACE", Pace(gather=0.2))
    away = Away(client, back=True)
    box = Outbox(run_id, away)  # type: ignore[arg-type]
    assert box.flush(30)
    for step in range(5):
        told(box, step)
        time.sleep(0.01)
    until(lambda: not box._queue)
    assert away.calls == ["log_batch"]
    assert steps(client, run_id) == [0, 1, 2, 3, 4]
    end(box)


def test_an_outage_is_told_once_and_holds_nothing_up(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    away = Away(client)
    box = Outbox(run_id, away)  # type: ignore[arg-type]
    for step in range(50):
        told(box, step)
        time.sleep(0.01)
    away.back = True
    assert box.flush(30)
    until(lambda: not box._away)
    end(box)
    first, second = capfd.readouterr().err.splitlines()
    place = f"mlruns/outbox/{run_id}"
    assert first == f"MLflow does not answer (Connection refused): the training goes on, and its news waits in {place}"
    assert second == "MLflow answers again: 50 entries written"
    assert steps(client, run_id) == list(range(50))


def test_what_was_said_is_not_said_twice_except_after_going_back(client: MlflowClient, run_id: str) -> None:
    box = Outbox(run_id, client)
    for step in (100, 110, 120):
        told(box, step)
        told(box, step, "validation")
        box.say_image(PICTURE, "samples", step)
    box.close()
    box = Outbox(run_id, client)  # as after a kill: it goes on from step 100
    for step in (110, 120, 130):
        told(box, step)
        box.say_image(PICTURE, "samples", step)
    assert box.flush(30)
    assert steps(client, run_id, "rate") == [100, 110, 120, 130]
    assert len(pictures(client, run_id)) == 2 * 4
    box.rewind(110, "nan (1 of 3)")
    told(box, 110)
    told(box, 120)
    box.close()
    box = Outbox(run_id, client)
    told(box, 120)
    told(box, 130)
    end(box)
    assert sorted(steps(client, run_id)) == [100, 110, 120, 120, 130, 130]


def test_going_back_may_be_told_again_by_the_next_process_but_only_at_once(client: MlflowClient, run_id: str) -> None:
    box = Outbox(run_id, client)
    box.rewind(100, "nan (1 of 3)")
    told(box, 110)
    box.close()
    box = Outbox(run_id, client)
    box.rewind(100, "nan (1 of 3)")
    assert box.knows("losses", 110)
    told(box, 120)
    box.rewind(100, "nan (1 of 3)")  # it has come there again
    assert not box.knows("losses", 110)
    end(box)


def test_a_torn_line_is_dropped_and_its_place_is_taken(client: MlflowClient, run_id: str) -> None:
    box = Outbox(run_id, client)
    told(box, 1)
    box.close()
    file = Path(f"mlruns/outbox/{run_id}/entries.jsonl")
    with file.open("a", encoding="utf-8") as torn:
        torn_line = '{"kind": "metrics", "topic": "losses", "step": 2, "values": {"loss": 0.2' + 300 * "0"
        torn.write(f"not json\n{torn_line}")
    box = Outbox(run_id, client)
    told(box, 2)
    box.close()
    assert [line[:9] for line in file.read_text(encoding="utf-8").splitlines()] == ['{"kind": '] * 2 + ["not json"] + [
        '{"kind": '
    ]
    assert steps(client, run_id) == [1, 2]


def test_a_delivery_that_was_not_noted_is_repeated_and_doubles_nothing(
    client: MlflowClient, run_id: str, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/a.txt").write_text("a", encoding="utf-8")
    box = Outbox(run_id, client)
    folder = box.folder
    for step in range(20):
        told(box, step)
    box.say_once("metrics", "odd", 3, values={"nan": float("nan"), "inf": float("inf")})
    box.say_image(PICTURE, "samples", 3)
    box.say_artifact(tmp_path / "made", None)
    shutil.copytree(folder, tmp_path / "kept")
    box.close()
    shutil.copytree(tmp_path / "kept", folder, dirs_exist_ok=True)  # pictures and copies are there again, too
    (folder / "sent").unlink()
    again = Outbox(run_id, client)
    end(again)
    assert steps(client, run_id) == list(range(20))
    assert (steps(client, run_id, "nan"), steps(client, run_id, "inf")) == ([3], [3])
    assert len(pictures(client, run_id)) == 2
    assert outboxes() == []


def test_delivered_pictures_do_not_stay(client: MlflowClient, run_id: str) -> None:
    box = Outbox(run_id, client)
    box.say_image(PICTURE, "samples", 1)
    assert list(box.folder.glob("images/*"))
    box.close()
    assert not list(box.folder.glob("images/*"))
    (box.folder / "sent").unlink()
    end(Outbox(run_id, client))  # what is delivered and removed is not missed
    assert len(pictures(client, run_id)) == 2


def test_a_store_that_stays_away_is_served_by_the_next_run(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    box = Outbox(run_id, Away(client))  # type: ignore[arg-type]
    told(box, 1)
    began = time.monotonic()
    end(box)
    assert time.monotonic() - began < 2
    assert capfd.readouterr().err.splitlines()[1:] == [
        f"2 entries for MLflow wait in mlruns/outbox/{run_id}; the next run writes them"
    ]
    deliver_leftovers(client)
    assert steps(client, run_id) == [1]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert outboxes() == []
    assert f"2 entries that waited for MLflow were written to run {run_id}" in capfd.readouterr().err


def test_the_folder_of_an_interrupted_training_is_delivered_and_kept(client: MlflowClient, run_id: str) -> None:
    box = Outbox(run_id, Away(client))  # type: ignore[arg-type]
    told(box, 1)
    box.end("KILLED", {"stopped": "Ctrl-C"}, final=False)
    box.close()
    deliver_leftovers(client)
    assert client.get_run(run_id).data.tags["stopped"] == "Ctrl-C"
    assert outboxes() == [run_id]
    deliver_leftovers(client)
    assert Outbox(run_id, client).knows("losses", 1)


def test_leftovers_of_a_living_process_and_of_another_store_are_left_alone(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Outbox(run_id, Away(client))  # type: ignore[arg-type]
    told(box, 1)
    deliver_leftovers(client)
    assert steps(client, run_id) == []
    end(box)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    deliver_leftovers(client)
    assert steps(client, run_id) == []
    other = Outbox("0" * 32, Away(client))  # type: ignore[arg-type]
    other.close()
    assert json.loads((other.folder / "entries.jsonl").read_text(encoding="utf-8"))["uri"] == "http://127.0.0.1:9"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    deliver_leftovers(client)
    assert steps(client, run_id) == [1]


def test_a_moved_project_still_delivers(
    client: MlflowClient, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Outbox(run_id, Away(client))  # type: ignore[arg-type]
    told(box, 1)
    end(box)
    moved = shutil.copytree(tmp_path, tmp_path.with_name("moved"))
    work_in(moved, monkeypatch)
    deliver_leftovers(store.connect())
    assert steps(store.connect(), run_id) == [1]


def test_news_of_a_deleted_run_is_put_aside(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    box = Outbox(run_id, Away(client))  # type: ignore[arg-type]
    told(box, 1)
    end(box)
    client.delete_run(run_id)
    capfd.readouterr()
    for _ in range(2):
        deliver_leftovers(client)
    assert outboxes() == [f"{run_id}.lost"]
    assert capfd.readouterr().err.splitlines() == [
        f"run {run_id} is no longer in the MLflow store; 2 entries for it stay in mlruns/outbox/{run_id}.lost"
    ]


def test_a_run_that_is_deleted_during_the_training_does_not_stop_it(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    box = Outbox(run_id, client)
    client.delete_run(run_id)
    for step in (1, 2):
        told(box, step)
        time.sleep(0.1)
    end(box)
    assert outboxes() == [f"{run_id}.lost"]
    assert capfd.readouterr().err.count("no longer in the MLflow store") == 1


def test_a_refused_entry_is_put_aside_and_the_rest_goes_on(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    box = Outbox(run_id, client)
    told(box, 1)
    box.say_once("metrics", "bad", 1, values={"what?": 1.0})
    told(box, 2)
    end(box)
    assert steps(client, run_id) == [1, 2]
    assert capfd.readouterr().err.startswith(f'MLflow refuses an entry of run {run_id} (Invalid value "what?"')
    assert '"what?": 1.0' in Path(f"mlruns/outbox/{run_id}.lost/refused.jsonl").read_text(encoding="utf-8")


def test_a_new_run_takes_over_all_that_was_said(client: MlflowClient, run_id: str) -> None:
    box = Outbox(run_id, client)
    told(box, 1)
    box.close()
    client.delete_run(run_id)
    other = client.create_run(store.experiment_id(client, "digits")).info.run_id
    adopt(run_id, other)
    box = Outbox(other, client)
    told(box, 1)
    told(box, 2)
    end(box)
    assert steps(client, other) == [1, 2]
    assert outboxes() == []


@pytest.mark.parametrize("said", [True, False])
def test_an_abandoned_training_is_killed(client: MlflowClient, run_id: str, said: bool) -> None:
    if said:
        box = Outbox(run_id, Away(client))  # type: ignore[arg-type]
        told(box, 1)
        box.close()
    abandon(run_id)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["stopped"]) == ("KILLED", "started afresh")
    assert steps(client, run_id) == [1] * said
    assert outboxes() == []


def test_it_is_abandoned_while_the_store_is_away(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused() -> MlflowClient:
        raise MlflowException("[Errno 111] Connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(store, "connect", refused)
        abandon(run_id)
    assert "MLflow does not answer (Connection refused): the next run writes how" in capfd.readouterr().err
    deliver_leftovers(client)
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_full_disk_keeps_the_news_in_memory_in_order(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    away = Away(client)
    box = Outbox(run_id, away)  # type: ignore[arg-type]
    told(box, 1)
    with monkeypatch.context() as patch:
        write = os.pwrite
        patch.setattr(os, "pwrite", lambda file, content, place: write(file, content[:30], place))
        for step in (2, 3):
            told(box, step)
        patch.setattr(Path, "write_bytes", _no_space)
        box.say_image(PICTURE, "samples", 3)
    told(box, 4)
    on_disk = [json.loads(line) for line in (box.folder / "entries.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in on_disk[1:]] == [1, 2, 3, 3, 4]
    away.back = True
    end(box)
    assert steps(client, run_id) == [1, 2, 3, 4]
    assert len(pictures(client, run_id)) == 2
    messages = capfd.readouterr().err
    assert messages.count("cannot be written (No space left on device): the news for MLflow waits in memory") == 1


def test_with_a_full_disk_mlflow_is_told_from_memory(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "made.txt").write_text("made", encoding="utf-8")
    monkeypatch.setattr(os, "pwrite", _no_space)
    monkeypatch.setattr(Path, "write_text", _no_space)
    monkeypatch.setattr(Path, "mkdir", _no_space)
    box = Outbox(run_id, client)
    told(box, 1)
    box.say_artifact(tmp_path / "made.txt", None)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "pwrite", _no_space)
    end(box)
    assert steps(client, run_id) == [1]
    assert [file.path for file in client.list_artifacts(run_id)] == ["made.txt"]
    assert outboxes() == []


def test_what_neither_disk_nor_mlflow_takes_is_called_lost(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    box = Outbox(run_id, Away(client))  # type: ignore[arg-type]
    told(box, 1)
    monkeypatch.setattr(os, "pwrite", _no_space)
    told(box, 2)
    box.close()
    assert "1 entry for MLflow are lost" in capfd.readouterr().err


def _no_space(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def short_waits() -> Iterator[None]:
    """MLflow waits twenty seconds for a locked database."""

    def shorter(connection: Any, cursor: Any, statement: str, *others: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), others[0]

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", shorter, retval=True)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", shorter)


def test_a_locked_database_is_an_outage(
    client: MlflowClient, run_id: str, short_waits: None, capfd: pytest.CaptureFixture[str]
) -> None:
    box = Outbox(run_id, client)
    assert box.flush(30)
    other = sqlite3.connect("mlruns/mlflow.db")
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    told(box, 1)
    assert time.monotonic() - began < 1
    until(lambda: box._away)
    told(box, 2)
    other.rollback()
    other.close()
    assert box.flush(30)
    until(lambda: not box._away)
    end(box)
    assert steps(client, run_id) == [1, 2]
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("MLflow does not answer (database is locked)")


def test_a_folder_is_held_by_one(client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Outbox(run_id, client)
    with pytest.raises(Exception, match="another process writes the news of run"), held(box.folder, 0.0):
        pass
    box.close()
    with held(box.folder, 0.0):
        pass


TALK = """
import sys
import time
from src.tracking import outbox, store
from src.tracking.outbox import Outbox, Pace

outbox.PACE = Pace(gather=0.0)
box = Outbox(sys.argv[1], store.connect())
for step in range(200):
    box.say_once("metrics", "losses", step, values={"loss": step / 10, "rate": 0.5})
    print(step, flush=True)
    time.sleep(0.005)
"""


def test_a_killed_process_that_is_continued_leaves_every_step_once(client: MlflowClient, run_id: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    until_step = 130
    with subprocess.Popen(
        [sys.executable, "-c", TALK, run_id], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == until_step:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert len(Entries(Path(f"mlruns/outbox/{run_id}")).read()) >= until_step
    assert 0 < len(steps(client, run_id)) < 200
    Path(f"mlruns/outbox/{run_id}/sent").unlink()  # the worst: what was delivered was not noted
    box = Outbox(run_id, client)
    for step in range(100, 200):
        told(box, step)
    end(box)
    assert steps(client, run_id) == list(range(200))
    assert outboxes() == []


def test_saying_is_quick(client: MlflowClient, run_id: str) -> None:
    hold = threading.Event()
    away = Away(client, back=True)
    away.before_answer = lambda: hold.wait(5)
    box = Outbox(run_id, away)  # type: ignore[arg-type]
    began = time.monotonic()
    for step in range(100):
        told(box, step)
    assert time.monotonic() - began < 0.5  # while a call to MLflow hangs
    hold.set()
    end(box)
