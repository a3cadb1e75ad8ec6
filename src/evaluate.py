"""Stage evaluate: score the trained generator on the test split, beside real held-out images."""

from typing import Any

import pandas as pd
import torch

from src import paths
from src.datasets import store
from src.device import pick_device
from src.errors import run_command
from src.files import write_json
from src.metrics.agreement import confusion, per_class
from src.metrics.scorecard import scorecard
from src.metrics.scored import Scored, score_images
from src.networks.description import content_hash, load_classifier, load_generator
from src.networks.sampling import generate
from src.params import load_params
from src.pictures.grids import save_grid
from src.pictures.plots import save_class_bars, save_confusion
from src.tracking.runs import continued_run, run_id_of

GRID_COLUMNS = 12


def write_tables(generated: Scored, by_source: dict[str, dict[str, list[float]]], class_names: tuple[str, ...]) -> None:
    """The per-class table, the pairs of asked and seen class for DVC's confusion plot, and both as pictures.

    ``by_source`` holds :func:`per_class` of the ``generated`` and the ``real`` images.
    """
    table = pd.DataFrame({"class": class_names})
    for source, values in by_source.items():
        for name, column in values.items():
            table[f"{source}_{name}"] = column
    table.to_csv(paths.EVALUATION / "per_class.csv", index=False)
    names = pd.Series(class_names)
    seen = generated.logits.argmax(dim=1).numpy()
    pairs = pd.DataFrame({"asked": names[generated.labels.numpy()].values, "seen": names[seen].values})
    pairs.to_csv(paths.EVALUATION / "confusion.csv", index=False)
    title = "Generated images: what the classifier sees, percent of each row"
    save_confusion(confusion(generated), class_names, paths.EVALUATION / "confusion.png", title)
    bars = {"generated": by_source["generated"]["f1"], "real (ceiling)": by_source["real"]["f1"]}
    save_class_bars(bars, class_names, paths.EVALUATION / "per_class.png", "F1 of the asked class, by class")


def main() -> None:
    """Score, write metrics and plots, and record them in the training's MLflow run."""
    params = load_params()
    data, settings = store.load(paths.PREPARED), params.evaluate
    device = pick_device(params.train.device)
    classifier = load_classifier(paths.CLASSIFIER, device)
    generator = load_generator(paths.GAN, device)
    run_id = run_id_of(paths.GAN / "run.json")
    paths.EVALUATION.mkdir(parents=True, exist_ok=True)

    # Generated, reference and ceiling have the same count, since a Frechet distance shrinks with more samples.
    count = min(settings.samples, len(data.test), len(data.validation))
    labels = data.test.labels[:count]
    images = generate(generator, labels, settings.seed * 2**32 + torch.arange(count))
    generated = score_images(classifier, images, labels)
    real = score_images(classifier, data.test.images[:count], labels)
    ceiling = score_images(classifier, data.validation.images[:count], data.validation.labels[:count])
    ours, held_out = (scorecard(one, real, settings.nearest_k) for one in (generated, ceiling))

    report: dict[str, Any] = {
        "generated": ours,
        "real": held_out,
        "samples": count,
        "seed": settings.seed,
        "classifier_hash": content_hash(classifier),
        "data_hash": data.content_hash,
        "generator_hash": content_hash(generator),
        "per_class": {"generated": per_class(generated), "real": per_class(ceiling)},
    }
    write_json(report, paths.EVALUATION / "scorecard.json")
    headline = {"generated": ours, "real": held_out, "classifier": report["classifier_hash"][:12]}
    write_json(headline, paths.EVALUATION / "metrics.json")
    write_tables(generated, report["per_class"], data.class_names)
    rows = torch.arange(len(data.class_names)).repeat_interleave(GRID_COLUMNS)
    grid = generate(generator, rows, settings.seed * 2**32 + torch.arange(len(rows)))
    save_grid(grid, paths.EVALUATION / "samples.png", GRID_COLUMNS, data.class_names)

    with continued_run(run_id, data.name, params) as run:
        run.metrics({f"test.{name}": value for name, value in ours.items()})
        run.metrics({f"test.real.{name}": value for name, value in held_out.items()})
        run.artifact(paths.EVALUATION, "evaluation")
    table = pd.DataFrame({"generated": ours, "real (ceiling)": held_out})
    print(f"{count:,} generated images against {count:,} test images\n{table.round(3).to_string()}")


if __name__ == "__main__":
    run_command(main)
