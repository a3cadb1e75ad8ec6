import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image

from src.core.errors import UserError
from src.tracking import store
from src.tracking.outbox import Outbox
from src.tracking.sync import Sender, abandon, adopt, forget, is_held, sync, sync_all
from tests.conftest import ROOT, work_in
from tests.tracking.conftest import flush, outboxes, until

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


def opened(run_id: str) -> Outbox:
    outbox = Outbox(run_id)
    outbox.open()
    return outbox


def log(outbox: Outbox, *steps: int, prefix: str = "") -> None:
    for step in steps:
        outbox.metrics({f"{prefix}loss": step / 10, f"{prefix}rate": 0.5}, step)


def left(run_id: str, *steps: int) -> None:
    """What a process leaves that dies before it has sent anything."""
    outbox = opened(run_id)
    log(outbox, *steps)
    outbox.release()


def finish(outbox: Outbox, client: MlflowClient) -> None:
    outbox.end("FINISHED", {})
    sync(client, outbox)
    outbox.close()


def steps(client: MlflowClient, run_id: str, name: str = "loss") -> list[int]:
    return [metric.step for metric in client.get_metric_history(run_id, name)]


def pictures(client: MlflowClient, run_id: str) -> list[str]:
    return sorted(file.path for file in client.list_artifacts(run_id, "images"))


def checkpoints_of(run_id: str) -> Path:
    """A folder from which the run may be resumed."""
    folder = Path("models/checkpoints/key")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(f'{{"run_id": "{run_id}"}}', encoding="utf-8")
    return folder


def test_everything_arrives_as_it_was_logged(client: MlflowClient, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "result" / "part").mkdir(parents=True)
    (tmp_path / "result/part/a.txt").write_text("first", encoding="utf-8")
    outbox = opened(run_id)
    log(outbox, 1, 2, 3)
    outbox.metrics({"nan": float("nan"), "third": 1 / 3}, 3)
    outbox.image(PICTURE, "samples", 3)
    outbox.artifact(tmp_path / "result", "made")
    outbox.artifact(tmp_path / "result/part/a.txt", None)
    (tmp_path / "result/part/a.txt").write_text("later", encoding="utf-8")
    outbox.append(tags={"colour": "red"})
    outbox.append(tags={"colour": "blue"})
    before = int(time.time() * 1000)
    finish(outbox, client)
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


def test_images_are_named_as_mlflow_names_them(client: MlflowClient, run_id: str) -> None:
    def pattern(path: str) -> str:
        return re.sub(r"\+[0-9a-f]{8}(-[0-9a-f]+){4}", "+UUID", re.sub(r"\d{13}", "TIME", path))

    client.log_image(run_id, PICTURE, key="a/b c", step=7)
    theirs = [pattern(path) for path in pictures(client, run_id)]
    outbox = opened(run_id)
    outbox.image(PICTURE, "a/b c", 7)
    finish(outbox, client)
    assert sorted(map(pattern, pictures(client, run_id))) == sorted(2 * theirs)
    assert len(theirs) == 2


def test_many_rows_go_in_few_calls(client: MlflowClient, run_id: str) -> None:
    outbox, counting = opened(run_id), Away(client, back=True)
    for step in range(1200):
        log(outbox, step)
        if step % 10 == 0:
            outbox.append(tags={f"tag.{step}": "x"})
    finish(outbox, counting)  # type: ignore[arg-type]
    assert counting.calls == ["log_batch"] * 4 + ["set_terminated"]  # 2400 metrics and 120 tags
    assert steps(client, run_id) == list(range(1200))
    assert sum(name.startswith("tag.") for name in client.get_run(run_id).data.tags) == 120


def test_a_resumed_run_logs_nothing_twice_except_after_a_rollback(client: MlflowClient, run_id: str) -> None:
    checkpoints = checkpoints_of(run_id)
    outbox = opened(run_id)
    for step in (100, 110, 120):
        log(outbox, step)
        log(outbox, step, prefix="validation.")
        outbox.image(PICTURE, "samples", step)
    outbox.release()
    outbox = opened(run_id)  # as after a kill: it resumes from step 100
    for step in (110, 120, 130):
        log(outbox, step)
        outbox.image(PICTURE, "samples", step)
    sync(client, outbox)
    assert steps(client, run_id, "rate") == [100, 110, 120, 130]
    assert len(pictures(client, run_id)) == 2 * 4
    outbox.rollback(110, "nan (1 of 3)")
    log(outbox, 110, 120)
    outbox.release()
    outbox = opened(run_id)
    outbox.rollback(110, "nan (1 of 3)")  # the resumed run reports it again, to be sure
    log(outbox, 120, 130)
    finish(outbox, client)
    assert sorted(steps(client, run_id)) == [100, 110, 120, 120, 130, 130]
    assert outboxes() == [run_id]  # it may be resumed once more
    shutil.rmtree(checkpoints)
    forget(run_id)
    assert outboxes() == []


def test_a_row_that_was_cut_short_is_dropped_and_spoils_no_other(client: MlflowClient, run_id: str) -> None:
    left(run_id, 1)
    with Path(f"mlruns/outbox/{run_id}/rows.jsonl").open("a", encoding="utf-8") as torn:
        torn.write('\n{"step": 2, "metrics": {"loss": 0.2')
    left(run_id, 2, 3)
    finish(opened(run_id), client)
    assert steps(client, run_id) == [1, 2, 3]


def test_rows_that_are_sent_again_change_nothing(client: MlflowClient, run_id: str, tmp_path: Path) -> None:
    (tmp_path / "made.txt").write_text("a", encoding="utf-8")
    checkpoints_of(run_id)
    outbox = opened(run_id)
    log(outbox, *range(20))
    outbox.metrics({"nan": float("nan"), "inf": float("inf")}, 3)
    outbox.image(PICTURE, "samples", 3)
    outbox.artifact(tmp_path / "made.txt", None)
    outbox.append(dataset="digits", key="dataset", step=0, digest="d", source="data/x", shape=[4, 1, 8, 8])
    outbox.append(untag=["stopped"])
    finish(outbox, client)
    (outbox.folder / "sent").unlink()
    outbox = opened(run_id)
    assert outbox.waiting == len(outbox.rows)
    finish(outbox, client)
    assert steps(client, run_id) == list(range(20))
    assert (steps(client, run_id, "nan"), steps(client, run_id, "inf")) == ([3], [3])
    assert len(pictures(client, run_id)) == 2
    inputs = client.get_run(run_id).inputs
    assert inputs is not None
    assert [one.dataset.digest for one in inputs.dataset_inputs] == ["d"]


def test_an_outage_is_reported_once_and_holds_nothing_up(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    away, outbox = Away(client), opened(run_id)
    sender = Sender(outbox, away)  # type: ignore[arg-type]
    for step in range(50):
        log(outbox, step)
        time.sleep(0.005)
    until(lambda: sender.away)
    away.back = True
    until(lambda: not sender.away)
    outbox.end("FINISHED", {})
    sender.close()
    place = f"mlruns/outbox/{run_id}"
    assert capfd.readouterr().err.splitlines() == [
        f"MLflow is not responding (Connection refused): training continues, and rows are queued in {place}",
        "MLflow is responding again: all rows are sent",
    ]
    assert steps(client, run_id) == list(range(50))
    assert outboxes() == []


def test_a_call_that_hangs_holds_up_neither_training_nor_its_end(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.tracking.sync.HEALTHY_CLOSE", 0.3)
    hold, away, outbox = threading.Event(), Away(client, back=True), opened(run_id)
    away.before_answer = lambda: hold.wait(5)
    sender = Sender(outbox, away)  # type: ignore[arg-type]
    began = time.monotonic()
    log(outbox, *range(200))
    assert time.monotonic() - began < 0.5
    outbox.end("FINISHED", {})
    sender.close()
    assert 0.3 < time.monotonic() - began < 2
    hold.set()
    flush(outbox)
    assert steps(client, run_id) == list(range(200))
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_store_that_stays_away_is_synced_by_the_next_command(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outbox = opened(run_id)
    sender = Sender(outbox, Away(client))  # type: ignore[arg-type]
    log(outbox, 1)
    outbox.end("FINISHED", {"colour": "red"})
    began = time.monotonic()
    sender.close()
    assert time.monotonic() - began < 2
    expected = f"3 rows for MLflow are in mlruns/outbox/{run_id}; the next command sends them"
    assert capfd.readouterr().err.splitlines()[1:] == [expected]
    sync_all(client)
    assert (steps(client, run_id), client.get_run(run_id).info.status) == ([1], "FINISHED")
    assert capfd.readouterr().err == f"3 rows of run {run_id} were sent to MLflow\n"
    assert outboxes() == []


@pytest.mark.parametrize("resumable", [True, False])
def test_a_run_whose_process_died_is_marked_and_its_rows_are_sent(
    client: MlflowClient, run_id: str, resumable: bool
) -> None:
    if resumable:
        checkpoints_of(run_id)
    left(run_id, 1, 2)
    sync_all(client)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["stopped"]) == ("KILLED", "its process is gone")
    assert steps(client, run_id) == [1, 2]
    assert outboxes() == ([run_id] if resumable else [])
    assert Outbox(run_id).is_new("loss", 2) is not resumable


def test_living_processes_and_other_stores_are_left_alone(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = opened(run_id)
    log(outbox, 1)
    assert is_held(run_id)
    with pytest.raises(UserError, match="another process writes run"):
        Outbox(run_id, 0.0)
    sync_all(client)
    assert steps(client, run_id) == []
    outbox.release()
    assert not is_held(run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    sync_all(client)
    assert steps(client, run_id) == []
    opened(run_id).release()  # resumed under an address that is out of reach: the rows are still for the first store
    assert opened("0" * 32).address == "http://127.0.0.1:9"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    sync_all(client)
    assert steps(client, run_id) == [1]


def test_two_processes_may_sync_at_once(client: MlflowClient) -> None:
    experiment = store.experiment_id(client, "digits")
    run_ids = [str(client.create_run(experiment).info.run_id) for _ in range(4)]
    for run_id in run_ids:
        left(run_id, *range(50))
    threads = [threading.Thread(target=sync_all, args=(client,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [steps(client, run_id) for run_id in run_ids] == [list(range(50))] * 4
    assert outboxes() == []


def test_a_moved_project_still_sends(
    client: MlflowClient, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(run_id, 1)
    work_in(shutil.copytree(tmp_path, tmp_path.with_name("moved")), monkeypatch)
    sync_all(store.connect())
    assert steps(store.connect(), run_id) == [1]


@pytest.mark.parametrize("during", [True, False])
def test_rows_of_a_deleted_run_are_put_aside(
    client: MlflowClient, run_id: str, during: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    client.delete_run(run_id)
    if during:
        outbox = opened(run_id)
        sender = Sender(outbox, client)
        log(outbox, 1, 2)
        time.sleep(0.1)
        log(outbox, 3)
        outbox.end("FINISHED", {})
        sender.close()
    else:
        left(run_id, 1, 2, 3)
    for _ in range(2):
        sync_all(client)
    assert outboxes() == [f"{run_id}.lost"]
    text = f"run {run_id} is no longer in the MLflow store; 5 rows for it stay in mlruns/outbox/{run_id}.lost\n"
    assert capfd.readouterr().err == text


def test_a_refused_row_is_reported_and_the_rest_is_sent(
    client: MlflowClient, run_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outbox = opened(run_id)
    log(outbox, 1)
    outbox.metrics({"what?": 1.0}, 1)
    log(outbox, 2)
    finish(outbox, client)
    assert steps(client, run_id) == [1, 2]
    assert re.match(r'MLflow rejects {.*"what\?": 1.0.*} of run .*: Invalid value', capfd.readouterr().err)


def test_a_new_run_gets_all_rows_of_one_that_the_store_lost(client: MlflowClient, run_id: str) -> None:
    outbox = opened(run_id)
    log(outbox, 1)
    outbox.image(PICTURE, "samples", 1)
    sync(client, outbox)
    outbox.release()
    client.delete_run(run_id)
    other = client.create_run(store.experiment_id(client, "digits")).info.run_id
    adopt(run_id, other)
    outbox = opened(other)
    log(outbox, 1, 2)
    finish(outbox, client)
    assert (steps(client, other), len(pictures(client, other))) == ([1, 2], 2)
    assert outboxes() == []


@pytest.mark.parametrize("logged", [True, False])
def test_an_abandoned_run_is_killed_now_or_by_the_next_command(
    client: MlflowClient, run_id: str, logged: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused() -> MlflowClient:
        raise MlflowException("[Errno 111] Connection refused")

    if logged:
        left(run_id, 1)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(store, "connect", refused)
            abandon(run_id)
        assert "MLflow is not responding (Connection refused): the next command marks" in capfd.readouterr().err
        sync_all(client)
    abandon(run_id)
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["stopped"]) == ("KILLED", "started afresh")
    assert steps(client, run_id) == ([1] if logged else [])
    assert outboxes() == []


def _no_space(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_on_a_full_disk_rows_stay_in_memory(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoints_of(run_id)
    outbox, away = opened(run_id), Away(client)
    sender = Sender(outbox, away)  # type: ignore[arg-type]
    log(outbox, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _no_space)
        log(outbox, 2, 3)
    assert outbox.unwritten == 2
    log(outbox, 4)
    assert outbox.unwritten == 0
    assert (outbox.folder / "rows.jsonl").read_text(encoding="utf-8").count('"step"') == 4
    monkeypatch.setattr(Path, "open", _no_space)
    log(outbox, 5)
    away.back = True
    flush(outbox)
    away.back = False
    log(outbox, 6)
    sender.close()
    assert steps(client, run_id) == [1, 2, 3, 4, 5]
    errors = capfd.readouterr().err
    assert errors.count("cannot be written (No space left on device): rows for MLflow stay in memory") == 2
    assert "1 row for MLflow are lost" in errors


LOG = """
import sys
import time
from src.tracking import store, sync
from src.tracking.outbox import Outbox

sync.INTERVAL = 0.0
outbox = Outbox(sys.argv[1])
outbox.open()
sender = sync.Sender(outbox, store.connect())
for step in range(200):
    outbox.metrics({"loss": step / 10, "rate": 0.5}, step)
    print(step, flush=True)
    time.sleep(0.005)
"""


def test_a_run_that_is_killed_and_resumed_has_every_step_once(client: MlflowClient, run_id: str) -> None:
    checkpoints_of(run_id)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", LOG, run_id], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 130:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert 0 < len(steps(client, run_id)) < 200
    Path(f"mlruns/outbox/{run_id}/sent").unlink()  # the worst: what was sent was not noted
    outbox = opened(run_id)
    assert len(outbox.rows) >= 130
    log(outbox, *range(100, 200))
    finish(outbox, client)
    assert steps(client, run_id) == list(range(200))
