"""Stage register: put the generator into the MLflow model registry; it becomes champion if the gate finds it better."""

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from src import paths
from src.datasets import store
from src.datasets.store import PreparedData
from src.device import pick_device
from src.errors import UserError, require_file, run_command
from src.files import write_json
from src.metrics.gate import Gate
from src.metrics.judge import ValidationJudge
from src.metrics.real_images import RealImages
from src.networks.description import content_hash, load_classifier, load_generator
from src.params import Params, load_params
from src.tracking import aliases, gatekeeper, lineage, model_card, registry
from src.tracking.delivery import LONGEST_TEXT
from src.tracking.outputs import ORIGIN, run_of_outputs, run_summary
from src.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def real_images(params: Params, data: PreparedData) -> RealImages:
    """The validation and training images in the eyes of the present classifier."""
    return RealImages(load_classifier(paths.CLASSIFIER, pick_device(params.train.device)), data, paths.FEATURES)


def make_gate(params: Params, images: RealImages) -> Gate:
    """The gate with the settings of params.yaml."""
    return Gate(images, params.evaluate.resamples, params.evaluate.nearest_k)


def code_of(run: Run) -> dict[str, str]:
    """Where a training comes from. If it ran before its code was committed, and that is the present commit: from there."""
    tags = lineage.kept(run.client.get_run(run.run_id).data.tags)
    if tags.get("git.dirty") == "true" and (commit := lineage.commit_of(lineage.Origin.load(paths.GAN / ORIGIN))):
        tags |= {"git.commit": commit, "git.dirty": "false", "git.committed": "after the training"}
        tags.pop("git.diff.sha256", None)
    return tags


def version_tags(run: Run, params: Params, data: PreparedData, score: float, card: dict[str, Any]) -> dict[str, str]:
    """What a version says of itself: where its training comes from, and its scores."""
    now = lineage.code_tags()
    tags = {
        **code_of(run),
        **{f"registered.{name}": now[name] for name in ("git.commit", "git.dirty")},
        "dataset": data.name,
        "classifier.hash": card["classifier_hash"],
        "validation.score": f"{score:.6f}",
    }
    tags |= {f"test.{name}": f"{one['value']:.6f}" for name, one in card["generated"].items()}
    return tags | lineage.lock_tags()


def read_scorecard(digest: str) -> dict[str, Any]:
    """The scorecard of evaluate. Raises UserError if it is about another generator than the one with this hash."""
    card: dict[str, Any] = json.loads(
        require_file(paths.EVALUATION / "scorecard.json", "evaluate").read_text(encoding="utf-8")
    )
    if card["generator_hash"] != digest:
        raise UserError(
            f"{paths.EVALUATION}/scorecard.json scores another generator than {paths.GAN}; run `dvc repro evaluate`"
        )
    return card


def registered_before(run: Run, version: str) -> None:
    """Say why there is no new version: DVC has restored or kept the outputs, or another training gave the same bits."""
    if run.client.get_run(run.run_id).data.tags.get("registered") != version:
        print(f"{version} holds the same generator, bit for bit, so no version is added")
        return
    experiment = lineage.experiment_name()
    again = {"reused.at": datetime.now(UTC).isoformat(timespec="seconds")}
    run.tags(again | ({"dvc.exp.name": experiment} if experiment else {}))
    print(f"these are the outputs of run {run.run_id}, registered before as {version}: nothing was trained anew")


def document(run: Run, params: Params, version: "ModelVersion", card: dict[str, Any]) -> None:
    """Write the model card of a version into its run, and its description, which links the card."""
    version = run.client.get_model_version(version.name, version.version)
    verdict, origin = version.tags["verdict"], lineage.Origin.load(paths.GAN / ORIGIN)
    trained = {name: value for name, value in origin.params.items() if name.startswith(("model.", "train."))}
    tags = {**run.client.get_run(run.run_id).data.tags, **version.tags}
    pictures = model_card.find_pictures(paths.EVALUATION, conditional=card["conditional"])
    number, used = str(version.version), params.replace(trained)
    facts = model_card.read_facts(version.name, number, run.run_id, used, tags, verdict, pictures)
    with TemporaryDirectory() as folder:
        model_card.write_card(facts, pictures, Path(folder))
        run.artifact(Path(folder), registry.CARD_FOLDER)
    about = f"[Model card]({registry.card_link(run.client, version)})\n\n{verdict}"
    run.client.update_model_version(version.name, version.version, about[:LONGEST_TEXT])


def main() -> None:
    """Register the generator as candidate, let the gate decide, and write what was decided."""
    params = load_params()
    data, name = store.load(paths.PREPARED), params.register_.model_name
    generator = load_generator(paths.GAN)
    digest = content_hash(generator)
    run_summary(paths.GAN)  # before the work rather than after it
    card, images = read_scorecard(digest), real_images(params, data)
    score = ValidationJudge(images, params.train.score_samples, params.evaluate.nearest_k)(generator)["score"]
    with run_of_outputs(data) as run:
        registry.check_dataset(run.client, name, data.name)
        tags = version_tags(run, params, data, score, card)
        gate = make_gate(params, images)
        with aliases.deciding():
            version, added = registry.add_version(run, generator, name, data.class_names, tags)
            called = registry.called(version)
            if not added:
                registered_before(run, called)
                version = registry.refresh_origin(run, version, tags)
            decision = gatekeeper.decide(run.client, version, gate, params.register_)
            gatekeeper.record(run, version, decision)
        if registry.run_of(version) == run.run_id:
            document(run, params, version, card)
        registry.describe(run.client, name)
        run.tags({**lineage.lock_tags(), "registered": called})
        if paths.LOCK.is_file():
            run.artifact(paths.LOCK)
    result = {
        "model": name,
        "version": int(version.version),
        "verdict": decision.verdict,
        "generator_hash": digest,
        "run_id": run.run_id,
    }
    write_json(result, paths.REGISTRATION)
    print(decision.verdict)


if __name__ == "__main__":
    run_command(main)
