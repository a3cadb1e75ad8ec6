"""Artifact paths of a project that was moved, renamed or copied. MLflow stores them absolute, and has no API to change them."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..core.errors import UserError
from ..tracking import store
from .finding import Finding

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""tables and columns of MLflow that have absolute paths"""
MLRUNS = "mlruns"
SECONDS = 10


class Place(NamedTuple):
    """A path in the database that is below another ``mlruns`` than this project's."""

    table: str
    column: str
    row: int
    location: str
    """as stored: a path or a file: URI"""
    there: Path
    """the path"""
    root: Path
    """the other ``mlruns``"""
    here: Path
    """the same below this project's ``mlruns``"""


def check_moved() -> Iterator[Finding]:
    """Paths below another ``mlruns`` whose files are in this one; the repair updates them.

    Only a database file is checked: a server manages its own files.
    """
    file = store.sqlite_file()
    if file is None:
        return
    with closing(_open(file)) as connection:
        places = list(_elsewhere(connection))
    moved, stayed = _sort(places)
    if moved:
        text = f"{len(moved)} paths in {store.shown(file)} point to {_roots(moved)}, but the files are in {_mlruns()}"
        yield Finding("problem", text, "updates them, after a backup of the database", partial(_rewrite, file))
    if stayed:
        advice = f"to move them here: `cp -rn {_roots(stayed)}/artifacts mlruns/`, then --fix"
        text = f"the files of {len(stayed)} paths in {store.shown(file)} are in {_roots(stayed)}"
        yield Finding("warning", text, advice)
    if not places:
        yield Finding("ok", "the artifacts are where the store expects them")


def _mlruns() -> Path:
    return store.project_root() / MLRUNS


def _roots(places: Iterable[Place]) -> str:
    return ", ".join(sorted({str(place.root) for place in places}))


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=SECONDS, isolation_level=None)


def _elsewhere(connection: sqlite3.Connection) -> Iterator[Place]:
    """All paths below another ``mlruns``."""
    for table, column in COLUMNS:
        for row, location in connection.execute(f"select rowid, {column} from {table}"):
            there = Path(
                url2pathname(urlsplit(location or "").path) if str(location).startswith("file:") else location or ""
            )
            # The rest are addresses of a server, or of MLflow's own (models:/).
            if not there.is_absolute() or there.is_relative_to(_mlruns()):
                continue
            # A parent of the project may be called mlruns, too: what exists here decides, or else the last one.
            cuts = [number + 1 for number, part in enumerate(there.parts) if part == MLRUNS]
            if cuts:
                cut = next((one for one in cuts if _mlruns().joinpath(*there.parts[one:]).exists()), cuts[-1])
                root, here = Path(*there.parts[:cut]), _mlruns().joinpath(*there.parts[cut:])
                yield Place(table, column, row, location, there, root, here)


def _sort(places: Iterable[Place]) -> tuple[list[Place], list[Place]]:
    """The places whose files are here now, and those whose files still are where the database says.

    A place without files, such as the folder of a run without artifacts, is sorted with the others of its root.
    """
    places = list(places)
    roots = {place.root for place in places if place.here.exists()}
    moved = [one for one in places if one.here.exists() or (one.root in roots and not one.there.exists())]
    return moved, [one for one in places if one not in moved and one.there.exists()]


def _rewrite(file: Path) -> str:
    """Update the paths in one transaction. Raises UserError if the database is in use."""
    backup = file.with_name(f"{file.stem}.before-{datetime.now():%Y-%m-%d-%H%M%S}{file.suffix}")
    try:
        with closing(_open(file)) as connection:
            connection.execute("begin immediate")  # no other process can write from here on
            with closing(_open(file)) as source, closing(sqlite3.connect(backup)) as target:
                source.backup(target)
            moved, _ = _sort(_elsewhere(connection))
            for place in moved:
                new = place.here.as_uri() if place.location.startswith("file:") else str(place.here)
                connection.execute(f"update {place.table} set {place.column} = ? where rowid = ?", (new, place.row))
            connection.execute("commit")
    except sqlite3.Error as error:
        raise UserError(f"{store.shown(file)} cannot be changed: {error}; it is unchanged") from None
    return f"{len(moved)} paths point to {_mlruns()} now; {store.shown(backup)} is a backup of the database"
