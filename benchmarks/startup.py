"""How long a command takes before it does anything: ``python -m benchmarks.startup [--runs N] [--markdown]``.

Processor time of the whole process, user and system, beside that of ``import mlflow``, and which slow libraries each has
imported. The registry that is listed is the one of the current folder.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import report
from src.core.arguments import Parser
from src.core.errors import UserError, run_command

COMMANDS = (
    "recipes",
    "params",
    "stages",
    "lineage",
    "serve",
    "registry",
    "sample",
    "tune",
    "compare",
    "compare_recipes",
    "doctor",
    "download",
    "prepare",
    "train_classifier",
    "train",
    "evaluate",
    "report",
    "register",
)
"""every stage and command, the lightest first"""
HEAVY = ("torch", "torchvision", "mlflow", "optuna", "pandas", "matplotlib", "sklearn", "dvc")
RUNNER = """
import atexit, runpy, sys

def tell(heavy):
    print(*(name for name in heavy if name in sys.modules), file=sys.stderr)

heavy, what, arguments = sys.argv[1].split(), sys.argv[2], sys.argv[3:]
atexit.register(tell, heavy)
sys.argv = [what, *arguments]
if what.startswith("src."):
    runpy.run_module(what, run_name="__main__", alter_sys=True)
else:
    __import__(what)
"""
"""imports a library, or runs a module of the project with arguments; the last line of standard error is what it imported"""


@dataclass(frozen=True)
class Start:
    """One start of a command."""

    seconds: float
    """of processor time"""
    heavy: tuple[str, ...]
    """which of HEAVY it has imported"""


def start(what: str, *arguments: str) -> Start:
    """Run ``src.NAME`` with arguments, or import a library. Raises UserError, with its standard error, if that fails."""
    before = os.times()
    child = subprocess.run(
        [sys.executable, "-c", RUNNER, " ".join(HEAVY), what, *arguments], capture_output=True, text=True, check=False
    )
    after = os.times()
    told = child.stderr.splitlines()
    if child.returncode:
        raise UserError(f"{' '.join([what, *arguments])} ended with {child.returncode}: {' '.join(told[:-1])}")
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return Start(seconds, tuple(told[-1].split()))


def row(runs: int, what: str, *arguments: str) -> dict[str, str]:
    """The median of some starts, and what the last one has imported."""
    starts = [start(what, *arguments) for _ in range(runs)]
    seconds = [one.seconds for one in starts]
    return {
        "what": " ".join([what.removeprefix("src."), *arguments]),
        "processor s": report.median(seconds, 2),
        "from - to": report.spread(seconds),
        "imports": ", ".join(starts[-1].heavy) or "-",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each command."""
    parser = Parser(prog="python -m benchmarks.startup", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="starts of each, whose median counts (default 5)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        raise UserError(f"--runs is {options.runs}; it must be 1 or more")
    rows = [row(options.runs, f"src.{name}", "--help") for name in COMMANDS]
    rows.append(row(options.runs, "mlflow") | {"what": "import mlflow"})
    try:
        rows.append(row(options.runs, "src.registry", "list"))
    except UserError as error:
        print(f"registry list is left out: {error}")
    print(report.table(rows, markdown=options.markdown))


if __name__ == "__main__":
    run_command(main)
