"""Stage download: the raw files of ``data.dataset``, verified, into data/raw."""

import argparse
from collections.abc import Sequence

from src import paths
from src.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the dataset that params.yaml names."""
    argparse.ArgumentParser(prog="python -m src.download", description=__doc__).parse_args(arguments)

    from src.datasets.sources import fetch
    from src.params import load_params

    fetch(load_params().data, paths.RAW)


if __name__ == "__main__":
    run_command(main)
