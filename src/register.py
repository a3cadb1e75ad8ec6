"""Stage register: put the generator into the MLflow model registry, and make it champion if it is the best."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from src import paths
from src.datasets import store
from src.errors import UserError, require_file, run_command
from src.files import write_json
from src.metrics import report
from src.networks.description import content_hash, load_generator
from src.networks.interface import Generator
from src.params import load_params
from src.tracking import lineage, registry
from src.tracking.runs import Run, continued_run, run_id_of
from src.train import source_tags, validation_judge

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def choose_champion(
    run: Run, candidate: "ModelVersion", score: float, judge: Callable[[Generator], Mapping[str, float]]
) -> str:
    """Give the candidate the alias champion if its validation score is the lower one, and say why or why not.

    The present champion is scored anew, by the same classifier on the same images from the same latents, since scores of
    two classifiers do not compare.
    """
    client, name = run.client, candidate.name
    alias = registry.aliases_of(client, name).get("champion")
    if alias == str(candidate.version):
        return f"version {candidate.version} is the champion already"
    verdict, better = "there was no champion", True
    if alias is not None:
        champion = registry.load_version(client, client.get_model_version(name, alias))
        theirs = judge(champion.network)["score"]
        better = score < theirs
        sign = "below" if better else "not below"
        verdict = f"validation score {score:.4f} is {sign} {theirs:.4f} of champion version {alias}"
    if better:
        client.set_registered_model_alias(name, "champion", candidate.version)
    return f"version {candidate.version} {'becomes' if better else 'does not become'} champion: {verdict}"


def description(card: Mapping[str, Any], verdict: str) -> str:
    """What the model registry shows of a version: the verdict, and the scorecard."""
    return f"{verdict}\n\n{report.markdown(card)}"


def main() -> None:
    """Register the generator as candidate, compare it with the champion, and write what was decided."""
    params = load_params()
    data, model_name = store.load(paths.PREPARED), params.register_.model_name
    generator = load_generator(paths.GAN)
    run_id, digest = run_id_of(paths.GAN / "run.json"), content_hash(generator)
    scorecard = json.loads(require_file(paths.EVALUATION / "scorecard.json", "evaluate").read_text(encoding="utf-8"))
    if scorecard["generator_hash"] != digest:
        raise UserError(
            f"{paths.EVALUATION}/scorecard.json scores another generator than {paths.GAN}; run `dvc repro evaluate`"
        )
    judge = validation_judge(params, data)
    score = judge(generator)["score"]
    with continued_run(run_id, data.name, params) as run:
        registry.check_dataset(run.client, model_name, data.name)
        tags = {
            **source_tags(params, data),
            **lineage.code_tags(),
            "dataset": data.name,
            "validation.score": f"{score:.6f}",
        }
        tags |= {f"test.{name}": f"{one['value']:.6f}" for name, one in scorecard["generated"].items()}
        version = registry.add_version(run, generator, model_name, data.class_names, tags)
        verdict = choose_champion(run, version, score, judge)
        run.client.set_model_version_tag(model_name, version.version, "verdict", verdict)
        run.client.update_model_version(model_name, version.version, description(scorecard, verdict))
        run.tags({**lineage.lock_tags(), "registered": f"{model_name}/{version.version}"})
        if paths.LOCK.is_file():
            run.artifact(paths.LOCK)
    result = {
        "model": model_name,
        "version": int(version.version),
        "verdict": verdict,
        "generator_hash": digest,
        "run_id": run.run_id,
    }
    write_json(result, paths.REGISTRATION)
    print(f"{model_name}: {verdict}")


if __name__ == "__main__":
    run_command(main)
