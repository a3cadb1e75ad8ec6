"""Stage ``download``: the raw files of ``data.dataset``, verified, into data/raw."""

from src import paths
from src.datasets.sources import fetch
from src.errors import run_command
from src.params import load_params


def main() -> None:
    """Fetch the dataset that params.yaml names."""
    fetch(load_params().data, paths.RAW)


if __name__ == "__main__":
    run_command(main)
