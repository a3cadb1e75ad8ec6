"""Stage train_classifier: train the judge, the auxiliary classifier that scores generated images."""

from collections.abc import Sequence

from .core import paths
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the judge and write it with its metrics on the validation split."""
    Parser(prog="python -m src.train_classifier", description=__doc__).parse_args(arguments)

    import pandas as pd

    from .config.params import load_params
    from .core.device import resolve
    from .core.files import write_json
    from .data import prepared
    from .evaluation.classifier import fit_classifier
    from .evaluation.metric import BY_CLASS
    from .evaluation.metrics.quick.gan_test import confusion, gan_test
    from .evaluation.scored import score_images
    from .networks.weights import content_hash, save_network

    params = load_params()
    data = prepared.load(paths.PREPARED, params.data)
    classes, device = len(data.class_names), resolve(params.train).device
    judge = fit_classifier(params.classifier, data.train, classes, device)
    save_network(judge, paths.CLASSIFIER, "classifier")

    scored = score_images(judge, data.validation.images, data.validation.labels)
    numbers = gan_test(scored, scored)
    accuracy = float(numbers["gan_test_accuracy"])
    by_class = {name: numbers[f"gan_test_{name}{BY_CLASS}"][0].tolist() for name in ("precision", "recall", "f1")}
    table = pd.DataFrame(by_class, index=pd.Index(data.class_names, name="class"))
    report = {
        "validation_accuracy": accuracy,
        "classifier_hash": content_hash(judge),
        "data_hash": data.content_hash,
        "by_class": table.to_dict(orient="index"),
        "confusion": confusion(scored).tolist(),
    }
    write_json(report, paths.CLASSIFIER / "report.json")
    write_json({"validation_accuracy": accuracy}, paths.CLASSIFIER / "metrics.json")
    print(f"validation accuracy {accuracy:.4f}\n{table.round(3).to_string()}")


if __name__ == "__main__":
    run_command(main)
