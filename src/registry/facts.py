"""Metadata of a registered version: a few searchable tags, and the rest with its logged model.

A version's page in MLflow shows all of its tags, so it has at most a dozen: those in ``SEARCHED``. Origin, verdict and file
hashes are tags of the LoggedModel that the version was registered from, and scores are its metrics. Versions that were
registered by earlier releases, or from a store without logged models, have everything as tags of their own.
"""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..tracking import origin
from ..tracking.outbox import LONGEST_TEXT
from ..tracking.runs import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SCORES = (
    "validation.score",
    "test.gan_test_accuracy",
    "test.frechet_classifier_distance",
    "test.recall",
    "test.coverage",
)
"""those of ``python -m src.registry list``"""
HASHES = ("generator.hash", "data.hash", "classifier.hash")
RUN_TAG, SINCE, ROLLED_BACK = "run.id", "champion.since", "rolled.back"
SEARCHED = (*HASHES, *SCORES, "git.commit", "git.dirty", "gate.decision", SINCE, ROLLED_BACK, RUN_TAG)
"""``rolled.back`` replaces ``champion.since``; ``run.id`` only exists if the original run is lost"""
VERSIONS_TAG = "mlflow.modelVersions"
"""tag of a logged model: the versions that its page links"""


def model_of(version: "ModelVersion") -> str | None:
    """The id of the LoggedModel that a version was registered from; None for versions of older stores."""
    source = str(version.source or "")
    return source.removeprefix("models:/") if source.startswith("models:/m-") else None


def run_of(version: "ModelVersion") -> str | None:
    """The id of a version's run, or of the run that replaced it after the store had lost it."""
    return version.tags.get(RUN_TAG) or version.run_id or None


def facts(client: "MlflowClient", version: "ModelVersion") -> dict[str, str]:
    """All tags: those of the version take precedence over those of its logged model."""
    from mlflow.exceptions import MlflowException

    model_id = model_of(version)
    try:
        more = dict(client.get_logged_model(model_id).tags) if model_id else {}
    except MlflowException:
        more = {}
    return {**more, **version.tags}


def record(client: "MlflowClient", version: "ModelVersion", values: Mapping[str, str]) -> None:
    """Set tags, on the version or its logged model."""
    from mlflow.exceptions import MlflowException

    own = {name: value for name, value in values.items() if name in SEARCHED or name in version.tags}
    others = {name: value[:LONGEST_TEXT] for name, value in values.items() if name not in own}
    try:
        if others and (model_id := model_of(version)):
            client.set_logged_model_tags(model_id, others)
            others = {}
    except MlflowException:
        pass  # its logged model was deleted with its run: the version keeps them itself
    for name, value in {**own, **others}.items():
        client.set_model_version_tag(version.name, version.version, name, value[:LONGEST_TEXT])


def remove(client: "MlflowClient", version: "ModelVersion", names: Iterable[str]) -> None:
    """Remove tags, from the version or its logged model."""
    everywhere = facts(client, version)
    for name in names:
        if name in version.tags:
            client.delete_model_version_tag(version.name, version.version, name)
        elif name in everywhere and (model_id := model_of(version)):
            client.delete_logged_model_tag(model_id, name)


def link(client: "MlflowClient", version: "ModelVersion") -> None:
    """Link the version on the logged model's page."""
    named = json.dumps([{"name": version.name, "version": str(version.version)}])
    record(client, version, {VERSIONS_TAG: named})


def refresh_origin(run: Run, version: "ModelVersion", tags: Mapping[str, str]) -> None:
    """Update a version that is registered again: its code may have been committed since."""
    known, changed = facts(run.client, version), dict[str, str]()
    if known.get("registered.git.dirty") != "false" == tags.get("registered.git.dirty"):
        changed |= {name: value for name, value in tags.items() if name.startswith("registered.")}
    if known.get("git.dirty") != "false" == tags.get("git.dirty"):
        changed |= origin.kept(tags)
        changed |= {} if version.run_id == run.run_id else {RUN_TAG: run.run_id}
        if "git.diff.sha256" in known and "git.diff.sha256" not in tags:
            remove(run.client, version, ["git.diff.sha256"])
    record(run.client, version, changed)
