"""The pipeline's outputs, as DVC sees them: what is missing, what was changed by hand, what is out of date."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.paths import LOCK
from .finding import Finding, some

BUSY, ALWAYS = "Unable to acquire lock", "always changed"


def check_pipeline() -> Iterator[Finding]:
    """What differs from dvc.lock: damage by stage, and in one line each what the next ``dvc repro`` makes anyway.

    The repair takes outputs that are only missing from DVC's cache; what was changed is left alone.
    """
    if not LOCK.is_file():
        yield Finding("warning", f"there is no {LOCK}: the pipeline has not been run", "`dvc repro`")
        return
    answer = _dvc("status", "--json")
    if answer.returncode:
        reason = _reason(answer)
        if BUSY in reason:
            yield Finding("warning", "another DVC command is at work here: not checked", "try again when it has ended")
        else:
            yield Finding("problem", f"dvc status: {reason}")
        return
    # The stage register runs each time: that is no difference.
    told = {stage: [entry for entry in some if entry != ALWAYS] for stage, some in json.loads(answer.stdout).items()}
    status: dict[str, list[Any]] = {stage: entries for stage, entries in told.items() if entries}
    stages = {stage: _merged(entries) for stage, entries in status.items()}
    outputs = {path for _, outs, _ in stages.values() for path in outs}
    nowhere, stale = list[str](), list[str]()
    for stage, (deps, outs, words) in stages.items():
        yield from _of_outputs(stage, outs)
        gone = [path for path, what in outs.items() if what == "not in cache" and not Path(path).exists()]
        # That an earlier stage's output is missing or changed is said there.
        changed = [*words, *(_named(path, what) for path, what in deps.items() if path not in outputs)]
        if gone:
            nowhere.append(f"{stage} ({len(gone)})")
        elif changed:
            stale.append(f"{stage} ({some(changed, 2)})")
    if nowhere:
        text = f"stages with outputs that are neither here nor in DVC's cache: {', '.join(nowhere)}"
        yield Finding("warning", text, "`dvc repro` makes them, or `dvc pull` where there is a remote")
    if stale:
        yield Finding("warning", f"out of date, by what has changed: {', '.join(stale)}", "`dvc repro`")
    if not status:
        yield Finding("ok", f"all outputs are those of {LOCK}")


def _merged(entries: Sequence[Any]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Changed dependencies, changed outputs, and what else changed, from one stage's entries in ``dvc status --json``."""
    deps, outs, words = dict[str, Any](), dict[str, str](), list[str]()
    for entry in entries:
        if isinstance(entry, str):  # "changed command"
            words.append(entry.removeprefix("changed "))
        else:
            deps |= entry.get("changed deps", {})
            outs |= entry.get("changed outs", {})
    return deps, outs, words


def _of_outputs(stage: str, outs: Mapping[str, str]) -> Iterator[Finding]:
    missing = [path for path, what in outs.items() if what == "deleted"]
    changed = [path for path, what in outs.items() if what == "modified"]
    uncached = [path for path, what in outs.items() if what in ("not in cache", "new") and Path(path).exists()]
    if missing:
        advice = "takes them from DVC's cache"
        yield Finding("problem", f"{stage}: {some(missing)} missing", advice, partial(_check_out, missing))
    if changed:
        them = some(changed)
        advice = (
            f"`dvc checkout --force {' '.join(changed)}` takes the stage's own back, `dvc commit {stage}` keeps these"
        )
        yield Finding("problem", f"{stage}: {them} changed since the stage made it", advice)
    if uncached:
        yield Finding("warning", f"{stage}: {some(uncached)} not in DVC's cache", f"`dvc commit {stage}`")


def _check_out(paths: Sequence[str]) -> str:
    answer = _dvc("checkout", *paths)
    if answer.returncode:
        raise UserError(f"dvc checkout: {_reason(answer)}")
    return f"restored {', '.join(paths)} from DVC's cache"


def _dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    """What DVC says when it fails; it comes after warnings and progress, and ends with a link."""
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip() and not line.startswith("<")]
    start = next((number for number, line in enumerate(lines) if line.startswith("ERROR:")), 0)
    return " ".join(lines[start:]).removeprefix("ERROR: ")[:300]


def _named(path: str, what: Any) -> str:
    """A dependency; of params.yaml the parameters that changed."""
    return ", ".join(what) if isinstance(what, dict) else path
