"""The outputs of the pipeline as DVC sees them: missing, changed by hand, or out of date."""

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
    """Differences from dvc.lock: damaged outputs by stage, and in a line each what the next ``dvc repro`` makes.

    The repair restores missing outputs from DVC's cache; changed ones are left alone.
    """
    if not LOCK.is_file():
        yield Finding("warning", f"there is no {LOCK}: the pipeline has not been run", "`dvc repro`")
        return
    status = _dvc("status", "--json")
    if status.returncode:
        reason = _reason(status)
        if BUSY in reason:
            yield Finding("warning", "not checked: another DVC command is running", "try again when it has ended")
        else:
            yield Finding("problem", f"dvc status: {reason}")
        return
    # That a stage runs each time is no difference.
    entries = {stage: [one for one in listed if one != ALWAYS] for stage, listed in json.loads(status.stdout).items()}
    outs = {stage: _changes(listed, "changed outs") for stage, listed in entries.items()}
    outputs = {path for paths in outs.values() for path in paths}
    nowhere, stale = list[str](), list[str]()
    for stage, listed in entries.items():
        yield from _of_outputs(stage, outs[stage])
        gone = [path for path, what in outs[stage].items() if what == "not in cache" and not Path(path).exists()]
        # Outputs of an earlier stage are reported there; of params.yaml, the parameters that have changed.
        deps = _changes(listed, "changed deps").items()
        names = [", ".join(what) if isinstance(what, dict) else path for path, what in deps if path not in outputs]
        changed = [*(entry.removeprefix("changed ") for entry in listed if isinstance(entry, str)), *names]
        if gone:
            nowhere.append(f"{stage} ({len(gone)})")
        elif changed:
            stale.append(f"{stage} ({some(changed, 2)})")
    if nowhere:
        text = f"stages with outputs that are neither here nor in DVC's cache: {', '.join(nowhere)}"
        yield Finding("warning", text, "`dvc repro` makes them, or `dvc pull` if there is a remote")
    if stale:
        yield Finding("warning", f"out of date: {', '.join(stale)}", "`dvc repro`")
    if not any(entries.values()):
        yield Finding("ok", f"all outputs are those of {LOCK}")


def _changes(entries: Sequence[Any], kind: str) -> dict[str, Any]:
    """What changed, by path, of one kind, in one stage's entries of ``dvc status --json``."""
    return {path: what for one in entries if isinstance(one, dict) for path, what in one.get(kind, {}).items()}


def _of_outputs(stage: str, outs: Mapping[str, str]) -> Iterator[Finding]:
    missing = [path for path, what in outs.items() if what == "deleted"]
    changed = [path for path, what in outs.items() if what == "modified"]
    uncached = [path for path, what in outs.items() if what in ("not in cache", "new") and Path(path).exists()]
    if missing:
        advice = "restores them from DVC's cache"
        yield Finding("problem", f"{stage}: {some(missing)} missing", advice, partial(_check_out, missing))
    if changed:
        advice = f"`dvc checkout --force {' '.join(changed)}` restores them, `dvc commit {stage}` keeps the changes"
        yield Finding("problem", f"{stage}: {some(changed)} changed since the stage was run", advice)
    if uncached:
        yield Finding("warning", f"{stage}: {some(uncached)} not in DVC's cache", f"`dvc commit {stage}`")


def _check_out(paths: Sequence[str]) -> str:
    checkout = _dvc("checkout", *paths)
    if checkout.returncode:
        raise UserError(f"dvc checkout: {_reason(checkout)}")
    return f"restored {', '.join(paths)} from DVC's cache"


def _dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    """The error message of DVC, which follows warnings and progress, and ends with a link."""
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip() and not line.startswith("<")]
    start = next((number for number, line in enumerate(lines) if line.startswith("ERROR:")), 0)
    return " ".join(lines[start:]).removeprefix("ERROR: ")[:300]
