"""Print the dependencies of each stage, or update dvc.yaml and packages.yaml: ``python -m src.stages [--write]``."""

from collections.abc import Sequence
from pathlib import Path

from .config.stages import PARAMETERS, code, packages, write
from .core.arguments import Parser
from .core.errors import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the dependencies of each stage, or update dvc.yaml and packages.yaml."""
    parser = Parser(prog="python -m src.stages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update dvc.yaml and packages.yaml")
    options = parser.parse_args(arguments)
    if options.write:
        write(Path())
        return
    for stage, patterns in PARAMETERS.items():
        print(f"{stage}\n  parameters  {' '.join(patterns) or 'none'}\n  packages    {' '.join(packages(stage))}")
        print("\n".join(f"  code        {name}" for name in code(stage)))


if __name__ == "__main__":
    run_command(main)
