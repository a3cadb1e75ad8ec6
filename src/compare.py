"""Compare two stored scorecards, number by number, and tell which differences are beyond noise.

``python -m src.compare gan-fashion-mnist@champion gan-fashion-mnist@candidate``
``python -m src.compare 1f0a3c models/evaluation --json``
"""

import json
import shutil
from collections.abc import Sequence

from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both scorecards side by side, and which differences are beyond noise."""
    parser = Parser(prog="python -m src.compare", description=(__doc__ or "").splitlines()[0])
    what = "a run (its id, the first 6 digits of it or more, or its name), a model (NAME@ALIAS, NAME/VERSION, or NAME for its "
    what += "champion), or a folder such as models/evaluation"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help="the same; the differences are B - A")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    options = parser.parse_args(arguments)
    from rich.console import Console

    from .evaluation.comparison import compare
    from .registry.stored_scorecards import find_scorecard
    from .reports.side_by_side import WIDTH, about, arrows, as_json, sentences, table

    references = options.first, options.second
    first, second = map(find_scorecard, references)
    found = compare(first, second)
    if options.json:
        print(json.dumps(as_json(found, references, (first, second)), indent=2, allow_nan=False))
        return
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    console.print(about("A", references[0], first), about("B", references[1], second), sep="\n")
    console.print()
    console.print(table(found, arrows(console), width == WIDTH))
    higher, lower = arrows(console).values()
    legend = f"{higher} higher is better, {lower} lower is better; [95 % intervals]; real: held-out real images."
    for sentence in (legend, *sentences(found, first, second)):
        console.print(f"\n{sentence}")


if __name__ == "__main__":
    run_command(main)
