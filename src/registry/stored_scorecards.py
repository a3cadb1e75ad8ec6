"""Stored scorecards: finding that of a run, a model or a folder, and validating it."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..evaluation.comparison import StoredScorecard
from ..evaluation.scorecard import FILE as CARD
from ..evaluation.scorecard import RESAMPLES, Scorecard, read_resamples
from ..tracking import store
from . import facts, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FOLDER = "evaluation"
"""artifact folder of a run"""
RUN_ID = re.compile("[0-9a-f]{6,32}")
SHOWN = 10
"""number of listed matches of an ambiguous reference"""
MOST = 10_000
"""limit of experiments searched"""


def find_scorecard(reference: str, *, resamples: bool = True) -> StoredScorecard:
    """Find a scorecard by a reference.

    A reference is a folder such as ``models/evaluation``; or a run: its id, the first digits of it (at least 6), or its
    name; or a model: ``NAME@ALIAS``, ``NAME/VERSION``, or ``NAME`` for its champion. Raises UserError if there is none, if
    there are several, or if a file is missing or corrupt. Without ``resamples`` it has no rows, and neither pandas nor
    PyTorch is imported.
    """
    if Path(reference).is_dir():
        return read_scorecard(Path(reference), reference, resamples=resamples)
    client = store.connect()
    from mlflow.exceptions import MlflowException

    try:
        return _find(client, reference, resamples)
    except MlflowException as error:
        what = " ".join(str(error).split())
        raise UserError(f"{reference!r} cannot be looked up in the MLflow store {store.where()}: {what}") from None


def _find(client: "MlflowClient", reference: str, resamples: bool) -> StoredScorecard:
    runs, model = _runs(client, reference), _model(client, reference)
    if len(runs) + bool(model) > 1:
        listed = [f"run {run.info.run_id} ({_about(run)})" for run in runs[:SHOWN]]
        listed += [f"{len(runs) - SHOWN} more"] if len(runs) > SHOWN else []
        listed += [f"model {model}"] if model else []
        raise UserError(f"{reference!r} is ambiguous: {'; '.join(listed)}; give a run's whole id, or NAME/VERSION")
    if runs:
        return _of_run(client, runs[0].info.run_id, f"run {runs[0].info.run_name}", resamples)
    if model is None:
        raise UserError(
            f"{reference!r} is no folder, no run and no model of the MLflow store {store.where()}; write a folder with "
            f"{CARD}, a run's id (at least 6 digits of it) or name, NAME@ALIAS, or NAME/VERSION"
        )
    return _of_model(client, reference, resamples)


def _runs(client: "MlflowClient", reference: str) -> Sequence["Run"]:
    """The runs with this id, prefix of an id, or name, in all experiments; without deleted ones."""
    prefix = reference.lower()
    filters = [f"attributes.run_id LIKE '{prefix}%'"] if RUN_ID.fullmatch(prefix) else []
    # MLflow's filters have two quotation marks and no escapes: a name with both, or with a backslash, is not found.
    if quote := next((mark for mark in "'\"" if mark not in reference and "\\" not in reference), ""):
        filters.append(f"attributes.run_name = {quote}{reference}{quote}")
    everywhere = [one.experiment_id for one in client.search_experiments(max_results=MOST)]
    found = {run.info.run_id: run for some in filters for run in client.search_runs(everywhere, some)}
    if prefix in found:
        return [found[prefix]]
    # Some databases ignore case.
    return [run for run in found.values() if reference == run.info.run_name or run.info.run_id.startswith(prefix)]


def _about(run: "Run") -> str:
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    return f"{run.info.run_name}, of {started} UTC"


def _model(client: "MlflowClient", reference: str) -> str | None:
    """The name of the registered model of a reference, if there is one."""
    from mlflow.exceptions import MlflowException

    try:
        name, _, _ = versions.split_reference(reference)
        client.get_registered_model(name)
    except UserError:
        return None
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None
    return name


def _of_model(client: "MlflowClient", reference: str, resamples: bool) -> StoredScorecard:
    version = versions.find_version(client, reference)
    name = versions.called(version)
    run_id = facts.run_of(version)
    if not run_id:
        raise UserError(f"{name} was registered without an MLflow run, so it has no scorecard; give a run instead")
    found = _of_run(client, run_id, name, resamples)
    registered = version.tags.get("generator.hash", "")
    if found.card.generator_hash != registered:
        raise UserError(
            f"the scorecard of run {run_id} scores generator {found.card.generator_hash[:12]}, and {name} is "
            f"{registered[:12] or 'without the tag generator.hash'}; `dvc repro evaluate` at the commit that made it "
            "(tag git.commit) scores it"
        )
    return found


def _of_run(client: "MlflowClient", run_id: str, name: str, resamples: bool) -> StoredScorecard:
    from mlflow.exceptions import MlflowException

    with TemporaryDirectory() as place:
        folder = Path(place)
        try:
            there = {Path(file.path).name for file in client.list_artifacts(run_id, FOLDER)}
            for file in (CARD, RESAMPLES)[: 1 + resamples]:
                if file not in there:
                    raise UserError(
                        f"run {run_id} ({name}) has no {FOLDER}/{file}: it was not evaluated, or by an older version of this "
                        "project; `dvc repro evaluate` creates it"
                    )
                folder = Path(client.download_artifacts(run_id, f"{FOLDER}/{file}", place)).parent
        except (MlflowException, OSError) as error:
            what = " ".join(str(error).split())
            raise UserError(f"the scorecard of run {run_id} ({name}) cannot be read: {what}") from None
        return read_scorecard(folder, name, run_id, resamples=resamples)


def read_scorecard(folder: Path, name: str, run_id: str | None = None, *, resamples: bool = True) -> StoredScorecard:
    """Read ``scorecard.json`` of a folder, and ``bootstrap.csv`` unless ``resamples`` is false.

    Raises UserError when one is missing or corrupt.
    """
    shown = f"{FOLDER}/%s of run {run_id}" if run_id else f"{folder}/%s"
    card = Scorecard.read(folder / CARD, shown % CARD)
    rows = read_resamples(folder / RESAMPLES, card, shown % RESAMPLES) if resamples else {}
    return StoredScorecard(name, card, rows, run_id)
