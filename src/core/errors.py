"""Errors that users can correct, and how commands report them."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from . import interrupts, paths


class UserError(Exception):
    """An error that a user can correct: one sentence that names what is wrong, where, and what is allowed."""


def run_command(main: Callable[[], None]) -> None:
    """Run ``main`` of a stage or command, and turn errors that users can cause into an exit status without a traceback.

    The status is 2 for a :class:`UserError` (its sentence on standard error), 130 for Ctrl-C, 143 for SIGTERM, and 0 for a
    closed pipe (``... | head``).
    """
    interrupts.install()
    try:
        _run_to_its_end(main)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        interrupts.take()
        number = error.number if isinstance(error, interrupts.Stopped) else signal.SIGINT
        print(f"\nstopped by {interrupts.describe(number)}", file=sys.stderr)
        sys.exit(128 + number)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _run_to_its_end(main: Callable[[], None]) -> None:
    """Run ``main`` and raise a signal that was swallowed; no earlier signal is raised afterwards."""
    try:
        main()
        sys.stdout.flush()
        interrupts.check_swallowed()
    finally:
        interrupts.take()


def require_file(path: Path, made_by: str | None = None) -> Path:
    """Return ``path`` if it is a file. Raises UserError, with the command that creates it, if it is not.

    Without ``made_by``, the stage follows from the folder.
    """
    if not path.is_file():
        stage = made_by or paths.MADE_BY.get(path.parent)
        remedy = f"; create it with `dvc repro {stage}` or `python -m src.{stage}`" if stage else ""
        raise UserError(f"{path} is missing{remedy}")
    return path


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
