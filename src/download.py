"""Stage download: the raw files of ``data.dataset``, verified, into data/raw."""

from collections.abc import Sequence

from .core import paths
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the dataset that params.yaml names."""
    Parser(prog="python -m src.download", description=__doc__).parse_args(arguments)

    from .config.params import load_params
    from .data.sources import fetch

    fetch(load_params().data, paths.RAW)


if __name__ == "__main__":
    run_command(main)
