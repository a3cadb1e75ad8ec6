import shutil
from pathlib import Path

import pytest

from src.doctor.pending import check_pending
from src.tracking import store
from src.tracking.origin import Origin
from src.tracking.outbox import Outbox
from src.tracking.runs import new_run


def leave(run_id: str, address: str = "", *, ended: bool = True) -> Path:
    """Rows that a process has left for a run."""
    outbox = Outbox(run_id)
    outbox.open()
    for step in range(3):
        outbox.metrics({"loss": step / 2}, step)
    if ended:
        outbox.end("FINISHED", {})
    if address:
        (outbox.folder / "store").write_text(address, encoding="utf-8")
    outbox.release()
    return outbox.folder


@pytest.fixture
def run_id(place: Path) -> str:
    with new_run("digits", Origin.here("first", {}, {})) as run:
        pass
    return run.run_id


def test_nothing_is_unsent(place: Path) -> None:
    (finding,) = check_pending(store.connect())
    assert (finding.level, finding.text) == ("ok", "MLflow has everything that was logged")


@pytest.mark.parametrize("ended", [True, False])
def test_unsent_rows_are_sent(run_id: str, ended: bool) -> None:
    folder, client = leave(run_id, ended=ended), store.connect()
    (finding,) = check_pending(client)
    count = 5 if ended else 3
    assert (finding.level, finding.text) == (
        "warning",
        f"{count} rows for MLflow are unsent, in mlruns/outbox/{run_id}",
    )
    assert finding.repair is not None
    assert finding.repair() == f"5 rows of run {run_id} were sent to MLflow"
    assert [one.value for one in client.get_metric_history(run_id, "loss")] == [0.0, 0.5, 1.0]
    assert client.get_run(run_id).info.status == ("FINISHED" if ended else "KILLED")
    assert not folder.exists()
    assert [one.level for one in check_pending(client)] == ["ok"]


def test_a_living_process_sends_its_own_and_without_a_store_they_stay(run_id: str) -> None:
    leave(run_id)
    held = Outbox(run_id)
    assert [one.level for one in check_pending(store.connect())] == ["ok"]
    held.release()
    (finding,) = check_pending(None)
    assert (finding.level, finding.repair, finding.advice) == ("warning", None, "they are sent when MLflow answers")


def test_rows_for_another_store_and_rows_of_runs_that_are_gone(place: Path) -> None:
    leave("a" * 32, "http://server:5000")
    shutil.move(leave("b" * 32), f"mlruns/outbox/{'b' * 32}.lost")
    leave("c" * 32)
    client = store.connect()
    own, other, lost = check_pending(client)
    assert (other.level, other.repair) == ("warning", None)
    assert other.text == f"mlruns/outbox/{'a' * 32}: for another store, http://server:5000"
    assert (lost.level, lost.repair) == ("warning", None)
    assert lost.text.startswith(f"mlruns/outbox/{'b' * 32}.lost: ")
    assert own.repair is not None
    own.repair()
    _, lost = check_pending(client)
    assert f"{'c' * 32}.lost" in lost.text
