"""Runs that are RUNNING in the store, and whose process is gone."""

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal

from ..core import paths
from ..core.errors import UserError
from ..tracking import folders, store
from ..tracking.entries import Entries, parse
from ..tracking.processes import TAG, Process
from ..tracking.recovery import abandon
from ..tracking.runs import Run
from .finding import Finding, some

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

State = Literal["alive", "gone", "elsewhere", "unknown", "ended"]
PAGE = 1000


def check_runs(client: "MlflowClient") -> Iterator[Finding]:
    """The repair marks runs of dead processes as KILLED; a training among them can still be continued."""
    found: dict[State, list[MlflowRun]] = {}
    for run in _running(client):
        found.setdefault(_state(run), []).append(run)
    if gone := found.get("gone"):
        text = f"{_runs(gone)} RUNNING, and no process of this machine has it" if len(gone) == 1 else ""
        text = text or f"{_runs(gone)} RUNNING, and no process of this machine has them"
        advice = "marks them as KILLED; a training can still be continued"
        yield Finding("warning", text, advice, partial(_end, client))
    if unknown := found.get("unknown"):
        advice = "if you know it: `python -c \"import mlflow; mlflow.MlflowClient(URI).set_terminated(ID, 'KILLED')\"`"
        yield Finding("warning", f"{_runs(unknown)} RUNNING, and nothing tells whose: made by another program", advice)
    counts = {"alive": "under way here", "elsewhere": "on other hosts, which only they can tell more of"}
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
    """A training holds its outbox locked as long as it lives; every run has a tag with its process besides."""
    folder, process = folders.outbox_root() / run.info.run_id, Process.of(run.data.tags.get(TAG))
    gone = process.is_gone() if process else None
    if gone is False:
        return "alive"
    if folder.is_dir():
        try:
            with folders.held(folder, 0.0):
                entries = Entries(folder)
                waiting = entries.read()[entries.sent :]
        except UserError:
            return "alive"
        if any(parse(line).get("status", "RUNNING") != "RUNNING" for line in waiting):
            return "ended"  # MLflow has not been told yet, and the check of the outbox says so
        if process is None or process.host == Process.current().host:
            return "gone"
    if process is None:
        return "unknown"
    return "gone" if gone else "elsewhere"


def _end(client: "MlflowClient") -> str:
    """Mark what is still gone, and keep what a continued training needs to know."""
    ended = []
    unfinished = _unfinished()
    for run in list(_running(client)):
        if _state(run) != "gone":
            continue
        process = Process.of(run.data.tags.get(TAG))
        reason = f"its process {process.number} on {process.host} is gone" if process else "its process is gone"
        if (folders.outbox_root() / run.info.run_id).is_dir():
            abandon(run.info.run_id, reason, final=run.info.run_id not in unfinished)
        else:
            Run(client, run.info.run_id).kill(reason)
        ended.append(f"{run.info.run_name} ({run.info.run_id[:8]})")
    return f"marked as KILLED: {', '.join(ended)}"


def _unfinished() -> set[str]:
    """The runs of trainings that have a folder to go on from."""
    from ..training.folder import RUN

    found = set()
    for path in (store.project_root() / paths.CHECKPOINTS).rglob(RUN):
        try:
            found.add(str(json.loads(path.read_text(encoding="utf-8"))["run_id"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
