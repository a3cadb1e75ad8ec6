"""Runs that are RUNNING in the store, and whose process is gone."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal

from ..tracking.outbox import outbox_root
from ..tracking.runs import STARTED_IN, started_in
from ..tracking.sync import abandon, is_held, sync_all
from .finding import Finding, some

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

State = Literal["alive", "gone", "elsewhere", "unknown"]
PAGE = 1000


def check_runs(client: "MlflowClient") -> Iterator[Finding]:
    """The repair marks runs whose process is gone as KILLED; they can still be resumed."""
    found: dict[State, list[MlflowRun]] = {}
    for run in _running(client):
        found.setdefault(_state(run), []).append(run)
    if gone := found.get("gone"):
        text = f"{_runs(gone)} RUNNING, but no process holds {'it' if len(gone) == 1 else 'them'}"
        yield Finding("warning", text, "marks as KILLED; training can still be resumed", partial(_end, client))
    if unknown := found.get("unknown"):
        advice = "if it has ended: `python -c \"import mlflow; mlflow.MlflowClient(URI).set_terminated(ID, 'KILLED')\"`"
        yield Finding("warning", f"{_runs(unknown)} RUNNING, started by another program", advice)
    counts = {"alive": "in progress here", "elsewhere": "started on other hosts or in other folders"}
    parts = [f"{len(found[state])} {words}" for state, words in counts.items() if state in found]
    if parts or not found:
        yield Finding("ok", f"runs: {', '.join(parts)}" if parts else "no run is left open")


def _runs(runs: "list[MlflowRun]") -> str:
    names = some([f"{run.info.run_name} ({run.info.run_id[:8]})" for run in runs])
    return f"{names} {'is' if len(runs) == 1 else 'are'}"


def _running(client: "MlflowClient") -> "Iterator[MlflowRun]":
    experiments = [one.experiment_id for one in client.search_experiments()]
    token = None
    while True:
        page = client.search_runs(experiments, "attributes.status = 'RUNNING'", max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _state(run: "MlflowRun") -> State:
    """A process holds its run's outbox as long as it lives."""
    if is_held(run.info.run_id):
        return "alive"
    place = run.data.tags.get(STARTED_IN)
    if place == started_in() or (outbox_root() / run.info.run_id).is_dir():  # the project may have been moved
        return "gone"
    return "elsewhere" if place else "unknown"


def _end(client: "MlflowClient") -> str:
    """Mark those that are still gone; first send what is unsent, which may end some of them."""
    gone = [run.info.run_id for run in _running(client) if _state(run) == "gone"]
    sync_all(client, lambda sentence: None)
    for run in list(_running(client)):
        if run.info.run_id in gone and _state(run) == "gone":
            abandon(run.info.run_id, "its process is gone")
    return f"marked as KILLED: {', '.join(one[:8] for one in gone)}"
