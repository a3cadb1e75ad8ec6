"""Stage train_classifier: train the auxiliary classifier that scores the generated images."""

import pandas as pd

from src import paths
from src.datasets import store
from src.device import pick_device
from src.errors import run_command
from src.files import write_json
from src.metrics.catalogue import BY_CLASS
from src.metrics.gan_test import confusion, gan_test
from src.metrics.scored import score_images
from src.networks.description import content_hash, save_network
from src.params import load_params
from src.pictures.plots import save_confusion
from src.training.classifier import fit_classifier


def main() -> None:
    """Read the prepared images, train, and write the network with its own metrics on the validation split."""
    params = load_params()
    data = store.load(paths.PREPARED)
    classes, device = len(data.class_names), pick_device(params.train.device)
    classifier = fit_classifier(params.classifier, data.train, classes, device)
    save_network(classifier, paths.CLASSIFIER, "classifier")

    scored = score_images(classifier, data.validation.images, data.validation.labels)
    numbers, counts = gan_test(scored, scored), confusion(scored)
    accuracy = float(numbers["gan_test_accuracy"])
    by_class = {name: numbers[f"gan_test_{name}{BY_CLASS}"][0].tolist() for name in ("precision", "recall", "f1")}
    table = pd.DataFrame(by_class, index=pd.Index(data.class_names, name="class"))
    report = {
        "validation_accuracy": accuracy,
        "classifier_hash": content_hash(classifier),
        "data_hash": data.content_hash,
        "by_class": table.to_dict(orient="index"),
        "confusion": counts.tolist(),
    }
    write_json(report, paths.CLASSIFIER / "report.json")
    write_json({"validation_accuracy": accuracy}, paths.CLASSIFIER / "metrics.json")
    title = "The auxiliary classifier on the validation split, percent of each row"
    save_confusion(counts, data.class_names, paths.CLASSIFIER / "confusion.png", title)
    print(f"validation accuracy {accuracy:.4f}\n{table.round(3).to_string()}")


if __name__ == "__main__":
    run_command(main)
