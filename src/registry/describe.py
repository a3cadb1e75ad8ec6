"""All that is known of a registered version, to read."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..evaluation.catalogue import CATALOGUE, short
from ..tracking import store
from ..tracking.runs import PATCH
from . import stored_scorecards, versions
from .aliases import SINCE
from .versions import CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ORIGIN = {
    "git.commit": "git commit",
    "git.dirty": "differed from it",
    "git.diff.sha256": "difference, SHA-256",
    "registered.git.commit": "registered at",
    "dvc.exp.name": "DVC experiment",
    "data.hash": "data",
    "classifier.hash": "classifier",
    "dvc.lock.sha256": "dvc.lock, SHA-256",
    "requirements.sha256": "requirements, SHA-256",
    "device": "device",
    "cpu": "processor",
    "threads": "threads",
    "seed": "seed",
}


def text(client: "MlflowClient", version: "ModelVersion") -> str:
    """Version, scores with their intervals, origin, files, and the commands that make and use it.

    Raises UserError where its files are missing or not those that were registered.
    """
    stored = versions.check_version(version)
    name, tags = versions.called(version), version.tags
    aliases = versions.own_aliases(client, version.name).get(str(version.version), [])
    head = {
        "aliases": ", ".join(aliases) or "none",
        "verdict": tags.get("verdict", "none"),
        "champion since": tags.get(SINCE, "") if CHAMPION in aliases else "",
        "classes": ", ".join(stored.class_names),
        "parameters": f"{stored.parameters:,}",
        "generator": tags.get("generator.hash", ""),
        "files": str(version.source),
    }
    return "\n".join(
        [
            name,
            *_lines(head),
            "",
            *_scores(name, tags),
            "",
            "Origin",
            *_lines(dict(_origin(client, version))),
            "",
            "Make it again",
            *(f"  {line}" for line in _rebuild(version)),
            "",
            "Use it",
            f"  python -m src.sample --model {name} --label 0 --count 16 --seed 0 --out images.png",
        ]
    )


def _lines(values: dict[str, str]) -> list[str]:
    shown = {key: value for key, value in values.items() if value}
    width = max(map(len, shown), default=0)
    return [f"  {key:<{width}}  {value}" for key, value in shown.items()]


def _scores(name: str, tags: dict[str, str]) -> Iterator[str]:
    """Each number of the scorecard with its interval beside that of real images."""
    try:
        card = stored_scorecards.find_scorecard(name, resamples=False).card
    except UserError as error:
        yield "Scores on the test split, as registered"
        yield from _lines({key.removeprefix("test."): value for key, value in tags.items() if key.startswith("test.")})
        yield f"  without intervals: {error}"
        return
    yield f"Scores on the test split ({card.samples:,} images; 95 % intervals; in brackets real images)"
    width = max(len(CATALOGUE[key].title) for key in card.generated)
    for key, one in card.generated.items():
        value, low, high = short(one.value, one.low, one.high)
        real = f"({short(card.real[key].value)[0]})" if key in card.real else ""
        yield f"  {CATALOGUE[key].title:<{width}}  {value:>8}  [{low}, {high}]  {real}".rstrip()
    yield f"  {'validation score (the objective)':<{width}}  {tags.get('validation.score', ''):>8}"


def _origin(client: "MlflowClient", version: "ModelVersion") -> Iterator[tuple[str, str]]:
    from mlflow.exceptions import MlflowException

    tags, run_id = version.tags, versions.run_of(version)
    try:
        run = client.get_run(str(run_id))
        yield "MLflow run", f"{run_id} ({run.info.run_name}, {run.info.status})"
        yield "model card", f"artifact {versions.CARD_FOLDER}/model_card.html of the run"
    except MlflowException:
        yield "MLflow run", f"{run_id}, which the store no longer has"
    yield "MLflow store", store.where()
    for tag, title in ORIGIN.items():
        value = tags.get(tag, "")
        if tag == "registered.git.commit" and value == tags.get("git.commit"):
            continue
        if tag == "git.dirty":
            value = {"true": f"yes, the difference is artifact {PATCH} of the run", "false": "no"}.get(value, value)
        yield title, value
    hashes = {tag.removeprefix("dvc.out."): value for tag, value in tags.items() if tag.startswith("dvc.out.")}
    for path, value in sorted(hashes.items()):
        yield f"DVC {path}", value
    packages = {tag.removeprefix("version."): value for tag, value in tags.items() if tag.startswith("version.")}
    yield "versions", ", ".join(f"{library} {value}" for library, value in sorted(packages.items()))


def _rebuild(version: "ModelVersion") -> Iterator[str]:
    """The commands that make it again from its commit."""
    tags, folder = version.tags, f"../{version.name}-{version.version}"
    yield f"python -m src.registry rebuild {versions.called(version)}    # does all of the following, and compares"
    yield f"git worktree add --detach {folder} {tags.get('git.commit', 'COMMIT')}"
    if tags.get("git.dirty") == "true":
        yield (
            f"MLFLOW_TRACKING_URI={store.where()} mlflow artifacts download "
            f"--run-id {versions.run_of(version)} --artifact-path {PATCH} --dst-path {folder}"
        )
        yield f"git -C {folder} apply {PATCH}"
    threads = f"OMP_NUM_THREADS={tags['threads']} " if "threads" in tags else ""
    yield f"cd {folder} && {threads}PATH={Path(sys.executable).parent}:$PATH dvc repro evaluate"
