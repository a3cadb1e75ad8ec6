"""Stage report: pictures and text from the outputs of the other stages. It takes seconds and changes no number."""

from collections.abc import Sequence

from .core import paths
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Read everything, then draw everything."""
    Parser(prog="python -m src.report", description=__doc__).parse_args(arguments)

    from .data import prepared
    from .reports.pictures import draw_classifier, draw_data, draw_evaluation, draw_training, read_inputs

    data, found = prepared.load(paths.PREPARED), read_inputs()
    draw_data(data, found.title, paths.PREPARED)
    draw_classifier(found.confusion, data.class_names, paths.CLASSIFIER)
    frames = draw_training(found, paths.GAN)
    draw_evaluation(found, frames, paths.EVALUATION)
    print(f"scorecard and pictures are in {paths.EVALUATION}")


if __name__ == "__main__":
    run_command(main)
