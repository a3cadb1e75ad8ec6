"""Stage register: put the generator into the MLflow model registry; it becomes champion if the gate finds it better.

It runs with each ``dvc repro``, also where DVC has restored or pulled the outputs, and ends in seconds when all is registered.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from src import paths
from src.errors import UserError, require_file, run_command

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from src.datasets.store import PreparedData
    from src.params import Params
    from src.tracking.runs import Run

GATE_INPUT = "gate.input"
"""tag of a version: the hash of all that the gate's decision depended on"""


@dataclass(frozen=True)
class Result:
    """What there is to register."""

    params: "Params"
    data: "PreparedData"
    card: Mapping[str, Any]
    """the scorecard"""
    digest: str
    """hash of the generator"""

    @property
    def name(self) -> str:
        """The registered model."""
        return self.params.register_.model_name


def read_scorecard(digest: str, data: "PreparedData") -> dict[str, Any]:
    """The scorecard of evaluate. Raises UserError if it is corrupt, or about another generator or other data."""
    path = require_file(paths.EVALUATION / "scorecard.json", "evaluate")
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        generator, scored_on = str(card["generator_hash"]), str(card["data_hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is corrupt ({error!r}); make it again with `dvc repro --force evaluate`") from None
    if generator != digest:
        raise UserError(f"{path} scores another generator than {paths.GAN}; run `dvc repro evaluate`")
    if scored_on != data.content_hash:
        raise UserError(f"{path} scores on other images than {paths.PREPARED} has; run `dvc repro evaluate`")
    return card


def code_of(client: "MlflowClient", run_id: str, family: str) -> dict[str, str]:
    """Where a training comes from. If it ran before its code was committed, and that is the present commit: from there."""
    from src.tracking import lineage

    tags = lineage.kept(client.get_run(run_id).data.tags)
    if tags.get("git.dirty") == "true" and (commit := lineage.committed_since(tags, family)):
        tags |= {"git.commit": commit, "git.dirty": "false", "git.committed": "after the training"}
        tags.pop("git.diff.sha256", None)
    return tags


def registration_tags() -> dict[str, str]:
    """What registers: its commit, and whether its code differs from that."""
    from src.tracking import lineage

    now = lineage.code_tags(complete=True)
    return {f"registered.{name}": now[name] for name in ("git.commit", "git.dirty")}


def gate_input(client: "MlflowClient", version: "ModelVersion", params: "Params", classifier: str) -> str:
    """The hash of all that the gate's decision on a version depends on: nothing new can be decided while it is the same."""
    from src.tracking import aliases, gatekeeper, registry

    used = (
        *("evaluate.resamples", "evaluate.nearest_k", "train.score_samples"),
        *("register.max_class_drop", "register.allow_dirty"),
    )
    values = params.flat()
    facts = {
        **{name: values[name] for name in used},
        **{tag: version.tags.get(tag) for tag in ("data.hash", *gatekeeper.DIRTY, aliases.ROLLED_BACK)},
        "classifier": classifier,
        "champion": registry.aliases_of(client, version.name).get(registry.CHAMPION),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def registered_already(client: "MlflowClient", result: Result, run_id: str | None, evaluated: str) -> str | None:
    """The verdict on a generator of which everything is registered and decided; None where something is left to do."""
    from src.tracking import gatekeeper, outputs, registry
    from src.tracking.runs import run_exists

    version = registry.find_generator(client, result.name, result.digest)
    if version is None or run_id is None or not run_exists(client, registry.run_of(version) or ""):
        return None
    tags = client.get_run(run_id).data.tags
    recorded = (tags.get("registered"), tags.get(outputs.EVALUATION_TAG))
    if recorded != (registry.called(version), evaluated):
        return None
    told = {**registration_tags(), **code_of(client, run_id, result.params.model.family)}
    if any(version.tags.get(name) != "false" == told.get(name) for name in gatekeeper.DIRTY):
        return None
    if version.tags.get(GATE_INPUT) != gate_input(client, version, result.params, result.card["classifier_hash"]):
        return None
    if registry.aliases_of(client, result.name).get(registry.CANDIDATE) != str(version.version):
        return None
    return version.tags.get("verdict")


def version_tags(client: "MlflowClient", run_id: str, result: Result, score: float) -> dict[str, str]:
    """What a version says of itself: where its training comes from, and its scores."""
    from src.tracking import lineage

    tags = {
        **code_of(client, run_id, result.params.model.family),
        **registration_tags(),
        "dataset": result.data.name,
        "classifier.hash": result.card["classifier_hash"],
        "validation.score": f"{score:.6f}",
    }
    tags |= {f"test.{name}": f"{one['value']:.6f}" for name, one in result.card["generated"].items()}
    return tags | lineage.lock_tags()


def document(run: "Run", params: "Params", version: "ModelVersion", card: Mapping[str, Any]) -> None:
    """Write the model card of a version into its run, and its description, which links the card."""
    from src.tracking import model_card, registry
    from src.tracking.delivery import LONGEST_TEXT
    from src.tracking.runs import recorded_params

    version = run.client.get_model_version(version.name, version.version)
    verdict, recorded = version.tags["verdict"], run.client.get_run(run.run_id).data
    trained = {
        name: value for name, value in recorded_params(recorded.params).items() if name.startswith(("model.", "train."))
    }
    pictures = model_card.find_pictures(paths.EVALUATION, conditional=card["conditional"])
    number, used, tags = str(version.version), params.replace(trained), {**recorded.tags, **version.tags}
    facts = model_card.read_facts(version.name, number, run.run_id, used, tags, verdict, pictures)
    with TemporaryDirectory() as folder:
        model_card.write_card(facts, pictures, Path(folder))
        run.artifact(Path(folder), registry.CARD_FOLDER)
    about = f"[Model card]({registry.card_link(run.client, version)})\n\n{verdict}"
    run.client.update_model_version(version.name, version.version, about[:LONGEST_TEXT])


def register(client: "MlflowClient", result: Result, run_id: str, evaluated: str) -> str:
    """Add the version, or find the one that holds the same generator, and let the gate decide; returns the verdict."""
    from src.metrics.judge import ValidationJudge
    from src.networks.description import load_generator
    from src.setup import real_images
    from src.tracking import aliases, gatekeeper, lineage, outputs, registry
    from src.tracking.runs import reopened_run

    params, name = result.params, result.name
    registry.check_dataset(client, name, result.data.name)
    generator = load_generator(paths.GAN)
    images = real_images(params, result.data)
    score = ValidationJudge(images, params.train.score_samples, params.evaluate.nearest_k)(generator)["score"]
    with reopened_run(run_id) as run:
        known = client.get_run(run_id).data.tags
        if known.get(outputs.EVALUATION_TAG) != evaluated:
            outputs.record_evaluation(run, result.card, outputs.report_files(), evaluated)
        tags = version_tags(client, run_id, result, score)
        gate = gatekeeper.make_gate(params, images)
        with aliases.deciding():
            version, added = registry.add_version(run, generator, name, result.data.class_names, tags)
            if not added:
                registered_before(run, registry.called(version))
                version = registry.refresh_origin(run, version, tags)
            decision = gatekeeper.decide(client, version, gate, params.register_)
            gatekeeper.record(run, version, decision)
            settled = gate_input(client, version, params, gate.classifier_hash)
            client.set_model_version_tag(name, version.version, GATE_INPUT, settled)
        if registry.run_of(version) == run_id:
            document(run, params, version, result.card)
        registry.describe(client, name)
        run.tags({**lineage.lock_tags(), "registered": registry.called(version)})
        if paths.LOCK.is_file():
            run.artifact(paths.LOCK)
    return decision.verdict


def registered_before(run: "Run", version: str) -> None:
    """Say why there is no new version: DVC has restored or kept the outputs, or another training gave the same bits."""
    from src.tracking import lineage

    if run.client.get_run(run.run_id).data.tags.get("registered") != version:
        print(f"{version} holds the same generator, bit for bit, so no version is added")
        return
    experiment = lineage.experiment_name()
    again = {"reused.at": datetime.now(UTC).isoformat(timespec="seconds")}
    run.tags(again | ({"dvc.exp.name": experiment} if experiment else {}))
    print(f"these are the outputs of run {run.run_id}, registered before as {version}: nothing was trained anew")


def main(arguments: Sequence[str] | None = None) -> None:
    """Register the generator as candidate, let the gate decide, and print what was decided."""
    argparse.ArgumentParser(prog="python -m src.register", description=(__doc__ or "").partition("\n")[0]).parse_args(
        arguments
    )

    from src.datasets import store as images
    from src.networks.saved import saved_hash
    from src.params import load_params
    from src.tracking import outputs, store
    from src.tracking.leftovers import deliver_leftovers

    params, data = load_params(), images.load(paths.PREPARED)
    digest = saved_hash(paths.GAN, "generator")
    result = Result(params, data, read_scorecard(digest, data), digest)
    client = store.connect()
    deliver_leftovers(client)  # the end of the training may be among them
    run_id = outputs.find_run(client, digest, data.name)
    evaluated = outputs.files_hash(outputs.report_files())
    verdict = registered_already(client, result, run_id, evaluated)
    if verdict is not None:
        print(f"nothing new to register: {verdict}")
        return
    if run_id is None:
        card = result.card
        known = {"data.hash": data.content_hash, "classifier.hash": card["classifier_hash"]}
        run_id = outputs.recreate_run(data, params, digest, known)
    print(register(client, result, run_id, evaluated))


if __name__ == "__main__":
    run_command(main)
