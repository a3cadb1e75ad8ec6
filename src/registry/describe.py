"""A registered version as text: its page in MLflow, and ``python -m src.registry show``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..evaluation.catalogue import CATALOGUE, short
from ..tracking import store
from ..tracking.runs import PATCH, run_exists
from . import stored_scorecards, versions
from .facts import SCORES, SINCE, facts, run_of
from .versions import CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..evaluation.scorecard import Scorecard

DESCRIBED = 9
"""number of versions in a model's description: MLflow's UI truncates tables after ten rows"""
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


def update_model(client: "MlflowClient", name: str) -> None:
    """Update the registered model's description: what it is, how to load it, and its newest versions with model cards."""
    aliases = versions.own_aliases(client, name)
    about = (
        f"Generators of {client.get_registered_model(name).tags.get('dataset', 'unknown')} images, from label and seed."
    )
    load = f'`mlflow.pyfunc.load_model("models:/{name}@{CHAMPION}").predict([[0, 1], [2, 1]])`'
    lines = [f"{about} {load} returns two images, float32 (N, C, H, W) in [-1, 1].", ""]
    lines += [_row("version", "alias", "gate", "model card"), "|---|---|---|---|"]
    for version in versions.versions_of(client, name)[:DESCRIBED]:
        own, page = ", ".join(aliases.get(str(version.version), [])), card_link(client, version)
        link = f"[read]({page})" if page else "its run is gone"
        lines.append(_row(str(version.version), own, version.tags.get("gate.decision", ""), link))
    client.update_registered_model(name, "\n".join(lines))


def _row(*cells: str) -> str:
    """A row of a Markdown table, padded: MLflow's UI renders columns without a gap."""
    return f"| {'&emsp; | '.join(cells)} |"


def card_link(client: "MlflowClient", version: "ModelVersion") -> str | None:
    """The link to a version's model card in MLflow's UI, relative to any page; None if its run is gone."""
    run_id = run_of(version)
    if run_id is None or not run_exists(client, run_id):
        return None
    experiment = client.get_run(run_id).info.experiment_id
    return f"#/experiments/{experiment}/runs/{run_id}/artifacts/{versions.CARD_FOLDER}/model_card.html"


def version_page(version: "ModelVersion", card: "Scorecard", verdict: str, card_page: str | None) -> str:
    """The version's description: a sentence for lists, the main scores as a table, and the link to the model card."""
    lines = [f"{verdict}.", "", _row("score on the test split", "generated", "real images"), "|---|---|---|"]
    for name in (score.removeprefix("test.") for score in SCORES):
        if name in card.generated:
            ours, theirs = short(card.generated[name].value, card.real[name].value)
            lines.append(_row(CATALOGUE[name].title, ours, theirs))
    return "\n".join([*lines, "", f"[Model card]({card_page})" if card_page else ""])


def text(client: "MlflowClient", version: "ModelVersion") -> str:
    """Version, scores with intervals, origin, files, and the commands that rebuild and use it.

    Raises UserError if its files are missing or differ from those that were registered.
    """
    stored = versions.check_version(client, version)
    name, tags = versions.called(version), facts(client, version)
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
            *_lines(dict(_origin(client, version, tags))),
            "",
            "Rebuild it from its commit, and compare it bit by bit",
            f"  python -m src.registry rebuild {name}",
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
    """Each metric of the scorecard with its interval and the value for real images."""
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


def _origin(client: "MlflowClient", version: "ModelVersion", tags: dict[str, str]) -> Iterator[tuple[str, str]]:
    from mlflow.exceptions import MlflowException

    run_id = run_of(version)
    try:
        run = client.get_run(str(run_id))
        yield "MLflow run", f"{run_id} ({run.info.run_name}, {run.info.status})"
        yield "model card", f"artifact {versions.CARD_FOLDER}/model_card.html of the run"
    except MlflowException:
        yield "MLflow run", f"{run_id}, which is no longer in the store"
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
