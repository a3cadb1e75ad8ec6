"""Stage report: pictures and text made from what the other stages have written. It takes seconds, and changes no number."""

import argparse
from collections.abc import Sequence

from .core import paths
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw everything."""
    argparse.ArgumentParser(prog="python -m src.report", description=__doc__).parse_args(arguments)

    from .data import prepared
    from .reports.pictures import draw_classifier, draw_data, draw_evaluation, draw_training, read_json

    data = prepared.load(paths.PREPARED)
    card = read_json(paths.EVALUATION / "scorecard.json", "evaluate")
    draw_data(data, read_json(paths.PREPARED / "card.json", "prepare")["title"], paths.PREPARED)
    draw_classifier(data, paths.CLASSIFIER)
    frames = draw_training(data, conditional=card["conditional"], folder=paths.GAN)
    draw_evaluation(card, frames, paths.EVALUATION)
    print(f"scorecard and pictures are in {paths.EVALUATION}")


if __name__ == "__main__":
    run_command(main)
