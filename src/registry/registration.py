"""Registers the pipeline's generator: finds its run, adds a version, and calls the promotion gate."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..core import paths
from ..core.errors import UserError
from ..core.files import read_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..config.params import Params
    from ..data.prepared import PreparedData
    from ..evaluation.scorecard import Scorecard
    from ..tracking.runs import Run

GATE_INPUT = "gate.input"
"""tag of a version: the hash of everything that the gate's decision depended on"""


@dataclass(frozen=True)
class Result:
    """The outputs to register."""

    params: "Params"
    data: "PreparedData"
    card: "Scorecard"
    digest: str
    """hash of the generator"""

    @property
    def name(self) -> str:
        """The registered model."""
        return self.params.register_.model_name


def read_scorecard(digest: str, data: "PreparedData") -> "Scorecard":
    """The scorecard of evaluate. Raises UserError if it is corrupt, or about another generator or other data."""
    path = paths.EVALUATION / "scorecard.json"
    from ..evaluation.scorecard import Scorecard

    card = Scorecard.read(path)
    if card.generator_hash != digest:
        raise UserError(f"{path} scores another generator than {paths.GAN}; run `dvc repro evaluate`")
    if card.data_hash != data.content_hash:
        raise UserError(f"{path} scores on other images than {paths.PREPARED} has; run `dvc repro evaluate`")
    return card


def code_of(client: "MlflowClient", run_id: str, family: str) -> dict[str, str]:
    """The origin of a run. If its code was committed afterwards as the present commit, that is its origin."""
    from ..tracking import origin

    tags = origin.kept(client.get_run(run_id).data.tags)
    if tags.get("git.dirty") == "true" and (commit := origin.committed_since(tags, family)):
        tags |= {"git.commit": commit, "git.dirty": "false", "git.committed": "after the training"}
        tags.pop("git.diff.sha256", None)
    return tags


def registration_tags() -> dict[str, str]:
    """The current commit, and whether the code differs from it."""
    from ..tracking import origin

    now = origin.code_tags(complete=True)
    return {f"registered.{name}": now[name] for name in ("git.commit", "git.dirty")}


def gate_input(client: "MlflowClient", version: "ModelVersion", params: "Params", classifier: str) -> str:
    """The hash of everything that the gate's decision depends on: while it is unchanged, so is the decision."""
    from . import facts, promotion, versions

    used = (
        *("evaluate.resamples", "evaluate.nearest_k", "train.score_samples"),
        *("register.max_class_drop", "register.allow_dirty"),
    )
    values = params.flat()
    known = facts.facts(client, version)
    depends = {
        **{name: values[name] for name in used},
        **{tag: known.get(tag) for tag in ("data.hash", *promotion.DIRTY, facts.ROLLED_BACK)},
        "classifier": classifier,
        "champion": versions.aliases_of(client, version.name).get(versions.CHAMPION),
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def registered_already(client: "MlflowClient", result: Result, run_id: str | None, evaluated: str) -> str | None:
    """The verdict on a generator whose registration is complete; None if anything is left to do."""
    from ..tracking import outputs
    from ..tracking.runs import run_exists
    from . import facts, promotion, versions

    version = versions.find_generator(client, result.name, result.digest)
    if version is None or run_id is None or not run_exists(client, facts.run_of(version) or ""):
        return None
    tags = client.get_run(run_id).data.tags
    recorded = (tags.get("registered"), tags.get(outputs.EVALUATION_TAG))
    if recorded != (versions.called(version), evaluated):
        return None
    current = {**registration_tags(), **code_of(client, run_id, result.params.model.family)}
    recorded_facts = facts.facts(client, version)
    if any(recorded_facts.get(name) != "false" == current.get(name) for name in promotion.DIRTY):
        return None
    if recorded_facts.get(GATE_INPUT) != gate_input(client, version, result.params, result.card.classifier_hash):
        return None
    if versions.aliases_of(client, result.name).get(versions.CANDIDATE) != str(version.version):
        return None
    return recorded_facts.get("verdict")


def version_tags(client: "MlflowClient", run_id: str, result: Result, score: float) -> dict[str, str]:
    """The tags of a version: the origin of its run, and its scores."""
    from ..tracking import origin
    from . import facts

    tags = {
        **code_of(client, run_id, result.params.model.family),
        **registration_tags(),
        "dataset": result.data.name,
        "classifier.hash": result.card.classifier_hash,
        "validation.score": f"{score:.6f}",
    }
    numbers = {f"test.{name}": one.value for name, one in result.card.generated.items()}
    tags |= {name: f"{numbers[name]:.6f}" for name in facts.SCORES if name in numbers}
    return tags | origin.lock_tags()


def document(run: "Run", params: "Params", version: "ModelVersion", card: "Scorecard") -> None:
    """Log the model card of a version in its run, and set its description, which links the card."""
    from ..reports import model_card
    from ..tracking.origin import recorded_params
    from ..tracking.outbox import LONGEST_TEXT
    from . import describe, facts, versions

    version = run.client.get_model_version(version.name, version.version)
    known = facts.facts(run.client, version)
    verdict, recorded = known["verdict"], run.client.get_run(run.run_id).data
    trained = {
        name: value for name, value in recorded_params(recorded.params).items() if name.startswith(("model.", "train."))
    }
    pictures = model_card.find_pictures(paths.EVALUATION, conditional=card.conditional)
    number, used, tags = str(version.version), params.replace(trained), {**recorded.tags, **known}
    card_facts = model_card.read_facts(version.name, number, run.run_id, used, tags, verdict, pictures)
    with TemporaryDirectory() as folder:
        model_card.write_card(card_facts, pictures, Path(folder))
        run.artifact(Path(folder), versions.CARD_FOLDER)
    about = describe.version_page(version, card, verdict, describe.card_link(run.client, version))[:LONGEST_TEXT]
    run.client.update_model_version(version.name, version.version, about)
    facts.record(run.client, version, {"mlflow.note.content": about})


def register(client: "MlflowClient", result: Result, run_id: str | None, evaluated: str) -> str:
    """Add the version, or find the one with the same generator, and call the gate; returns the verdict.

    Without a ``run_id``, the run is re-created. All files are read before anything is written.
    """
    from ..evaluation.judge import ValidationJudge
    from ..networks.description import load_generator
    from ..reports import model_card
    from ..tracking import outputs
    from ..tracking.runs import reopened_run
    from ..training.setup import real_images
    from . import aliases, describe, export, facts, promotion, versions

    params, name = result.params, result.name
    model_card.read_outputs()
    read_text(paths.EVALUATION / "scorecard.md", "report")
    versions.check_dataset(client, name, result.data.name)
    generator = load_generator(paths.GAN)
    images = real_images(params, result.data)
    score = ValidationJudge(images, params.train.score_samples, params.evaluate.nearest_k)(generator)["score"]
    if run_id is None:
        known = {"data.hash": result.data.content_hash, "classifier.hash": result.card.classifier_hash}
        run_id = outputs.recreate_run(result.data, params, result.digest, known)
    with reopened_run(run_id) as run:
        known = client.get_run(run_id).data.tags
        tags = version_tags(client, run_id, result, score)
        gate = promotion.make_gate(params, images)
        with aliases.deciding():
            version, added = export.add_version(run, generator, name, result.data.class_names, tags)
            if not added:
                registered_before(run, versions.called(version))
                facts.refresh_origin(run, version, tags)
                version = client.get_model_version(name, version.version)
            if known.get(outputs.EVALUATION_TAG) != evaluated:
                model, split = facts.model_of(version), (f"{result.data.name} test", result.data.content_hash[:32])
                outputs.record_evaluation(run, result.card, outputs.report_files(), evaluated, model, split)
            decision = promotion.decide(client, version, gate, params.register_)
            promotion.record(run, version, decision)
            settled = gate_input(client, version, params, gate.classifier_hash)
            facts.record(client, version, {GATE_INPUT: settled})
        if facts.run_of(version) == run_id:
            document(run, params, version, result.card)
        describe.update_model(client, name)
        run.tags({"registered": versions.called(version)})
        if paths.LOCK.is_file():
            run.artifact(paths.LOCK)
    return decision.verdict


def registered_before(run: "Run", version: str) -> None:
    """Print why no version is added: DVC restored or kept the outputs, or another run gave identical bits."""
    from ..tracking import origin

    if run.client.get_run(run.run_id).data.tags.get("registered") != version:
        print(f"{version} holds a bit-identical generator, so no version is added")
        return
    experiment = origin.experiment_name()
    again = {"reused.at": datetime.now(UTC).isoformat(timespec="seconds")}
    run.tags(again | ({"dvc.exp.name": experiment} if experiment else {}))
    print(f"these are the outputs of run {run.run_id}, already registered as {version}: nothing was trained")


def register_outputs(params: "Params", data: "PreparedData") -> str:
    """Register the generator of the pipeline's outputs unless it is completely registered; returns the verdict.

    Raises UserError if an output is missing, corrupt, or does not belong to the others.
    """
    from ..networks.saved import check_inputs, saved_hash
    from ..tracking import outputs, store
    from ..tracking.sync import sync_all

    check_inputs(params, data.content_hash, generator=True)
    digest = saved_hash(paths.GAN, "generator")
    result = Result(params, data, read_scorecard(digest, data), digest)
    client = store.connect()
    sync_all(client)  # the end of the run may be among them
    run_id = outputs.find_run(client, digest, data.name)
    evaluated = outputs.files_hash(outputs.report_files())
    verdict = registered_already(client, result, run_id, evaluated)
    if verdict is not None:
        return f"nothing new to register: {verdict}"
    return register(client, result, run_id, evaluated)
