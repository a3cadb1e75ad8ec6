import json
import shutil
from pathlib import Path

import pytest

from src.doctor.pending import check_waiting
from src.tracking import folders, store
from src.tracking.entries import Entries, now
from src.tracking.origin import Origin
from src.tracking.runs import new_run


def leave(run_id: str, uri: str = "", count: int = 3, ending: bool = True) -> Path:
    """News that a process has left for a run."""
    folder = Path("mlruns/outbox", run_id)
    folder.mkdir(parents=True)
    news = [
        {"kind": "metrics", "topic": "loss", "step": step, "time": now(), "values": {"loss": step / 2}}
        for step in range(count)
    ]
    end = [{"kind": "status", "status": "KILLED", "time": now(), "final": True}] if ending else []
    lines = [{"kind": "store", "uri": uri or folders.store_name()}, *news, *end]
    entries = Entries(folder)
    entries.append([json.dumps(line) for line in lines])
    entries.mark_sent(1)
    entries.close()
    return folder


@pytest.fixture
def run_id(place: Path) -> str:
    with new_run("digits", Origin.here("first", {}, {})) as run:
        pass
    return run.run_id


def test_nothing_waits(place: Path) -> None:
    (finding,) = check_waiting(store.connect())
    assert (finding.level, finding.text) == ("ok", "MLflow has been told everything")


@pytest.mark.parametrize("ending", [True, False])
def test_what_waits_is_delivered(run_id: str, ending: bool) -> None:
    folder, client = leave(run_id, ending=ending), store.connect()
    (finding,) = check_waiting(client)
    count = 4 if ending else 3
    assert (finding.level, finding.text) == ("warning", f"{count} entries for MLflow wait in mlruns/outbox/{run_id}")
    assert finding.repair is not None
    assert finding.repair() == f"{count} entries that waited for MLflow were written to run {run_id}"
    assert [one.value for one in client.get_metric_history(run_id, "loss")] == [0.0, 0.5, 1.0]
    assert client.get_run(run_id).info.status == ("KILLED" if ending else "FINISHED")
    assert folder.exists() is not ending  # the training may be continued, if it has not ended for good
    assert [one.level for one in check_waiting(client)] == ["ok"]


def test_a_living_process_delivers_its_own(run_id: str) -> None:
    with folders.held(leave(run_id)):
        assert [one.level for one in check_waiting(store.connect())] == ["ok"]


def test_without_a_store_it_waits(run_id: str) -> None:
    leave(run_id)
    (finding,) = check_waiting(None)
    assert (finding.level, finding.repair, finding.advice) == ("warning", None, "they wait until MLflow answers")


def test_news_for_another_store_and_news_that_is_lost(run_id: str) -> None:
    leave("a" * 32, "http://server:5000")
    shutil.move(leave("b" * 32), f"mlruns/outbox/{'b' * 32}.lost")
    other, lost = check_waiting(store.connect())
    assert (other.level, other.repair) == ("warning", None)
    assert other.text == f"mlruns/outbox/{'a' * 32}: for another store, http://server:5000"
    assert (lost.level, lost.repair) == ("warning", None)
    assert lost.text.startswith(f"mlruns/outbox/{'b' * 32}.lost: ")


def test_a_run_that_is_gone(place: Path) -> None:
    leave("c" * 32)
    client = store.connect()
    (finding,) = check_waiting(client)
    assert finding.repair is not None
    finding.repair()
    (lost,) = check_waiting(client)
    assert f"{'c' * 32}.lost" in lost.text
