"""Artifacts that the store looks for where the project was before it was moved, renamed or copied."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
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
"""Where MLflow keeps absolute paths."""
MLRUNS = "mlruns"
SECONDS = 10


@dataclass(frozen=True)
class Place:
    """A path in the database that is not below this project's ``mlruns``."""

    table: str
    column: str
    row: int
    location: str
    """as it is written there: a path or a file: URI"""
    root: Path
    """the other ``mlruns``"""
    here: Path
    """the same below this project's"""


def check_moved() -> Iterator[Finding]:
    """Paths below another ``mlruns`` whose files are in this one; the repair puts this one's place in front of them.

    Only a database file is looked into: a server has its files where it says.
    """
    file = store.sqlite_file()
    if file is None:
        return
    with closing(_open(file)) as connection:
        places = list(_elsewhere(connection))
    moved, stayed = _sort(places)
    if moved:
        old = ", ".join(sorted({str(place.root) for place in moved}))
        text = f"{len(moved)} paths in {store.shown(file)} lead to {old}, and the files are in {_mlruns()}"
        advice = "puts the present place in front of them, after a copy of the database"
        yield Finding("problem", text, advice, partial(_rewrite, file))
    if stayed:
        old = ", ".join(sorted({str(place.root) for place in stayed}))
        advice = f"to have them here: `cp -rn {old}/artifacts mlruns/`, then --fix"
        yield Finding("warning", f"the files of {len(stayed)} paths in {store.shown(file)} are in {old}", advice)
    if not places:
        yield Finding("ok", "the artifacts are where the store looks for them")


def _mlruns() -> Path:
    return store.project_root() / MLRUNS


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=SECONDS, isolation_level=None)


def _elsewhere(connection: sqlite3.Connection) -> Iterator[Place]:
    """All paths below some other ``mlruns``."""
    for table, column in COLUMNS:
        for row, location in connection.execute(f"select rowid, {column} from {table}"):
            path = _path(location or "")
            if path is None or path.is_relative_to(_mlruns()):
                continue
            # The project's own parent may be called mlruns too: the part that is here decides, or the last one.
            cuts = [number + 1 for number, part in enumerate(path.parts) if part == MLRUNS]
            if cuts:
                cut = next((one for one in cuts if _mlruns().joinpath(*path.parts[one:]).exists()), cuts[-1])
                root, here = Path(*path.parts[:cut]), _mlruns().joinpath(*path.parts[cut:])
                yield Place(table, column, row, location, root, here)


def _path(location: str) -> Path | None:
    """The path that a location means; None for a server's, and for one in MLflow's own words (``models:/``)."""
    if location.startswith("file:"):
        return Path(url2pathname(urlsplit(location).path))
    return Path(location) if location.startswith("/") else None


def _sort(places: Iterable[Place]) -> tuple[list[Place], list[Place]]:
    """The places that have moved here, and those whose files are still where the database says.

    What is in neither place, such as the folder of a run without artifacts, goes with the others of its root.
    """
    places = list(places)
    roots = {place.root for place in places if place.here.exists()}
    moved, stayed = [], []
    for place in places:
        there = _path(place.location)
        if place.here.exists() or (place.root in roots and not (there and there.exists())):
            moved.append(place)
        elif there and there.exists():
            stayed.append(place)
    return moved, stayed


def _rewrite(file: Path) -> str:
    """Change the paths in one transaction. Raises UserError when the database is in use."""
    copy = file.with_name(f"{file.stem}.before-{datetime.now():%Y-%m-%d-%H%M%S}{file.suffix}")
    try:
        with closing(_open(file)) as connection:
            connection.execute("begin immediate")  # from here on nobody else writes
            _back_up(file, copy)
            moved, _ = _sort(_elsewhere(connection))
            for place in moved:
                _update(connection, place)
            connection.execute("commit")
    except sqlite3.Error as error:
        raise UserError(f"{store.shown(file)} cannot be changed now: {error}; it is as it was") from None
    return f"{len(moved)} paths lead to {_mlruns()} now; {store.shown(copy)} is the database as it was"


def _update(connection: sqlite3.Connection, place: Place) -> None:
    new = place.here.as_uri() if place.location.startswith("file:") else str(place.here)
    connection.execute(f"update {place.table} set {place.column} = ? where rowid = ?", (new, place.row))


def _back_up(file: Path, copy: Path) -> None:
    with closing(_open(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
