"""Check the whole project, and repair what can be repaired: ``python -m src.doctor [--fix]``."""

import io
import os
import sys
from collections.abc import Sequence

from ..core.arguments import Parser
from ..core.errors import run_command
from .runner import Doctor, examine_project, examine_store


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each check, and a summary; exit status 1 where a problem is left."""
    parser = Parser(prog="python -m src.doctor", description="Check the whole project.")
    parser.add_argument("--fix", action="store_true", help="repair what can be repaired; nothing is deleted")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name may have letters that the terminal does not know
    # A server that is away is found out at once.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    doctor = Doctor(fix=options.fix)
    examine_store(doctor)
    examine_project(doctor)
    doctor.console.print(f"\n{doctor.summary()}", soft_wrap=True)
    if doctor.status:
        raise SystemExit(doctor.status)


if __name__ == "__main__":
    run_command(main)
