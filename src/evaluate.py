"""Stage evaluate: the scorecard of the trained generator on the test split, beside a ceiling and a floor."""

from collections.abc import Sequence

from .core import paths
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, and write metrics, tables and the images that the pictures show."""
    Parser(prog="python -m src.evaluate", description=__doc__).parse_args(arguments)

    from .config.params import load_params
    from .core.device import resolve
    from .data import prepared
    from .evaluation.classifier import fit_by
    from .evaluation.evaluation import evaluate, exhibits, save_exhibits, write_tables
    from .evaluation.real_images import RealImages
    from .networks.description import load_classifier, load_generator
    from .networks.saved import check_inputs
    from .reports import scorecard_text

    params = load_params()
    data, device = prepared.load(paths.PREPARED, params.data), resolve(params.train).device
    check_inputs(params, data.content_hash, generator=True)
    classifier, generator = load_classifier(paths.CLASSIFIER, device), load_generator(paths.GAN, device)
    fit = fit_by(params.classifier, len(data.class_names), device)
    images = RealImages(classifier, data, paths.FEATURES)
    evaluation = evaluate(params.evaluate, generator, images, fit)
    shown = exhibits(evaluation, generator, data.train.images, params.evaluate.seed)
    write_tables(evaluation, paths.EVALUATION)
    save_exhibits(shown, paths.EVALUATION / paths.EXHIBITS)
    print(scorecard_text.table(evaluation.card))


if __name__ == "__main__":
    run_command(main)
