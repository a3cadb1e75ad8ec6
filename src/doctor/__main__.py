"""Check the whole project, and repair what can be repaired: ``python -m src.doctor [--fix]``."""

import io
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial

from ..core.arguments import Parser
from ..core.errors import run_command
from .finding import Check, Finding
from .machine import check_device, check_disk, check_git, check_packages, check_telemetry
from .pipeline import check_pipeline
from .runner import Doctor


def examine_store(doctor: Doctor) -> None:
    """What is in MLflow's store; if it cannot be used, only what is queued for it."""
    from ..tracking import store
    from . import audit, moved, orphans, pending
    from .address import check_address, store_exists

    usable = doctor.examine("store", check_address)
    client = store.connect() if usable and store_exists() else None
    in_place = client is not None and doctor.examine("artifacts", moved.check_moved)
    doctor.examine("outbox", partial(pending.check_pending, client))
    if client is not None:
        doctor.examine("runs", partial(orphans.check_runs, client))
        later = Finding("warning", "the versions are not checked until the paths of the artifacts are right")
        doctor.examine("registry", partial(audit.check_registry, client) if in_place else lambda: [later])
    if not usable:
        text = "artifacts, runs and registry are not checked: the store cannot be used"
        doctor.examine("store", lambda: [Finding("warning", text)])


def trials() -> Iterable[Finding]:
    """The check of Optuna's journal, which takes seconds to import."""
    from .trials import check_trials

    return check_trials()


CHECKS: dict[str, Check] = {
    "trials": trials,
    "pipeline": check_pipeline,
    "disk": check_disk,
    "device": check_device,
    "packages": check_packages,
    "git": check_git,
    "telemetry": check_telemetry,
}
"""everything but MLflow's store"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each check, and a summary; the exit status is 1 if a problem is left."""
    parser = Parser(prog="python -m src.doctor", description="Check the whole project.")
    parser.add_argument("--fix", action="store_true", help="repair what can be repaired; nothing is deleted")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names may have characters that the terminal cannot show
    # An unreachable server is reported at once.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    doctor = Doctor(fix=options.fix)
    examine_store(doctor)
    for title, check in CHECKS.items():
        doctor.examine(title, check)
    print(f"\n{doctor.summary()}")
    if any(finding.level == "problem" for finding in doctor.left):
        raise SystemExit(1)


if __name__ == "__main__":
    run_command(main)
