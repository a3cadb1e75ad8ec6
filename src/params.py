"""Print every parameter with its type, bounds, default and help: ``python -m src.params [--write]``."""

from collections.abc import Sequence
from pathlib import Path

from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every parameter, or update the files that are generated from their declarations."""
    parser = Parser(prog="python -m src.params", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--write",
        action="store_true",
        help="update params.yaml (comments, missing parameters), docs/parameters.md and dvc.yaml",
    )
    if parser.parse_args(arguments).write:
        write(Path())
        return
    from rich.console import Console
    from rich.table import Table

    from .config.params import parameters

    table = Table()
    for title in ("parameter", "type", "default", "help"):
        table.add_column(title, no_wrap=title == "parameter")
    for one in parameters():
        table.add_row(one.name, one.allowed, one.shown_default, one.help)
    Console().print(table)


def write(root: Path) -> None:
    """Update params.yaml, docs/parameters.md and dvc.yaml below ``root``; values are kept."""
    from .config import edit, stages
    from .config.params import read_text
    from .core import paths
    from .core.files import replacing

    path = root / paths.PARAMS
    files = {path: edit.commented(read_text(path), str(path)), root / paths.PARAMETERS: edit.table()}
    for file, text in files.items():
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8")
    stages.write(root)


if __name__ == "__main__":
    run_command(main)
