"""Stage train_classifier: train the auxiliary classifier that scores the generated images."""

import pandas as pd

from src import paths
from src.datasets import store
from src.device import pick_device
from src.errors import run_command
from src.files import write_json
from src.metrics.agreement import agreement, confusion, per_class
from src.metrics.scored import score_images
from src.networks.description import content_hash, save_network
from src.params import load_params
from src.pictures.plots import save_confusion
from src.training.classifier import fit_classifier


def main() -> None:
    """Read the prepared images, train, and write the network with its own metrics on the test split."""
    params = load_params()
    data = store.load(paths.PREPARED)
    classifier = fit_classifier(params.classifier, data, pick_device(params.train.device))
    save_network(classifier, paths.CLASSIFIER, "classifier")

    scored = score_images(classifier, data.test.images, data.test.labels)
    accuracy, counts = agreement(scored, scored)["agreement"], confusion(scored)
    table = pd.DataFrame(per_class(scored), index=pd.Index(data.class_names, name="class"))
    report = {
        "test_accuracy": accuracy,
        "classifier_hash": content_hash(classifier),
        "data_hash": data.content_hash,
        "per_class": table.to_dict(orient="index"),
        "confusion": counts.tolist(),
    }
    write_json(report, paths.CLASSIFIER / "report.json")
    write_json({"test_accuracy": accuracy}, paths.CLASSIFIER / "metrics.json")
    title = "The auxiliary classifier on the test split, percent of each row"
    save_confusion(counts, data.class_names, paths.CLASSIFIER / "confusion.png", title)
    print(f"test accuracy {accuracy:.4f}\n{table.round(3).to_string()}")


if __name__ == "__main__":
    run_command(main)
