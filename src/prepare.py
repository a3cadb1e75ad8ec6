"""Stage prepare: data/raw into data/prepared: the three splits as one file, and a data card."""

from collections.abc import Sequence

from .core import paths
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Split the raw images and describe them."""
    Parser(prog="python -m src.prepare", description=__doc__).parse_args(arguments)

    from .config.params import load_params
    from .data.readers import read_raw
    from .data.splitting import split_and_save

    data = load_params().data
    card = split_and_save(read_raw(data.dataset, paths.RAW), data, paths.PREPARED)
    sizes = ", ".join(f"{count:,} {name}" for name, count in card["images"].items())
    print(f"{card['title']}: {sizes} images in {paths.PREPARED}; content {card['content_hash'][:12]}")


if __name__ == "__main__":
    run_command(main)
