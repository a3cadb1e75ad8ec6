"""Print every parameter with its type, bounds, default and help: ``python -m src.params``."""

import json
from collections.abc import Sequence

from .config.params import describe
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Print every parameter with its type, bounds, default and help."""
    Parser(prog="python -m src.params", description=main.__doc__).parse_args(arguments)
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for title in ("parameter", "type", "default", "help"):
        table.add_column(title, no_wrap=title == "parameter")
    for name, kind, default, text in describe():
        shown = default if isinstance(default, str) else json.dumps(default, default=lambda _: "...")
        table.add_row(name, kind, "see params.yaml" if name == "tune.space" else shown, text)
    Console().print(table)


if __name__ == "__main__":
    run_command(main)
