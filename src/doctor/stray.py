"""Folders in ``mlruns`` that look like experiments of MLflow's old file store.

A single one of them turns MLflow's own default, where nobody gives it an address, back to that store.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..tracking import store
from .finding import Finding, some

MARK = "meta.yaml"
ASIDE = "stray"


def check_stray() -> Iterator[Finding]:
    """Folders ``mlruns/NAME`` with a ``meta.yaml``; the repair moves them to ``mlruns/stray``, where MLflow does not look."""
    root = store.project_root() / "mlruns"
    found = sorted(path.parent for path in root.glob(f"*/{MARK}") if os.path.lexists(path))
    if not found:
        yield Finding("ok", "no stray folders of a file store in mlruns")
        return
    names = some([store.shown(path) for path in found])
    text = f"{names} would turn MLflow's default (`mlflow ui` and the like) to a file store, which it refuses"
    yield Finding("problem", text, f"moves them to mlruns/{ASIDE}; nothing is deleted", partial(_move_aside, found))


def _move_aside(found: list[Path]) -> str:
    moved = []
    for folder in found:
        aside = folder.parent / ASIDE
        aside.mkdir(exist_ok=True)
        target, number = aside / folder.name, 1
        while target.exists():
            number += 1
            target = aside / f"{folder.name}.{number}"
        folder.rename(target)
        moved.append(f"{store.shown(folder)} to {store.shown(target)}")
    return f"moved {', '.join(moved)}"
