"""Makes one check after the other, repairs what can be repaired, and prints what was found."""

import shutil
import textwrap
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from ..core.errors import UserError, first_line
from .finding import Finding
from .machine import check_device, check_disk
from .pipeline import check_pipeline
from .software import check_git, check_packages, check_telemetry

Check: TypeAlias = Callable[[], Iterable[Finding]]
COLOURS = {"ok": "green", "fixed": "cyan", "warning": "yellow", "problem": "bold red"}
WIDTH = 120
MARK, INDENT = 9, 20
"""columns: of the mark, and of mark and title together"""


class Doctor:
    """Makes one check after the other, repairs if asked to, and prints what was found."""

    def __init__(self, *, fix: bool) -> None:
        from rich.console import Console

        self.fix = fix
        self.left: list[Finding] = []
        """what was found and is not repaired"""
        self.repaired = 0
        self.width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        self.console = Console(markup=False, highlight=False, emoji=False)

    def examine(self, title: str, check: Check) -> bool:
        """Make a check; whether no problem is left."""
        found = _findings(check)
        if self.fix and self._repair(title, found):
            found = _findings(check)
        for finding in found:
            self._print(finding.level, title, finding.text, _advice(finding))
        self.left += found
        return all(finding.level != "problem" for finding in found)

    def _repair(self, title: str, found: Iterable[Finding]) -> bool:
        """Repair what can be repaired; whether anything was."""
        before = self.repaired
        for finding in found:
            if finding.repair is None:
                continue
            try:
                self._print("fixed", title, finding.repair(), "")
                self.repaired += 1
            except Exception as error:  # the other repairs go on, and what is wrong is printed below
                self._print("problem", title, f"the repair failed: {first_line(error)}", "")
        return self.repaired > before

    def _print(self, mark: str, title: str, text: str, advice: str) -> None:
        from rich.text import Text

        lines = [*self._wrapped(text), *(self._wrapped(f"-> {advice}") if advice else [])]
        start = Text.assemble((f"{mark:<{MARK}}", COLOURS[mark]), f"{title:<{INDENT - MARK}}")
        self.console.print(start, f"\n{' ' * INDENT}".join(lines), sep="", soft_wrap=True)

    def _wrapped(self, text: str) -> list[str]:
        """Paths and names stay whole, to be copied."""
        width = max(20, self.width - INDENT)
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    def summary(self) -> str:
        """One line on all of it."""
        counts = {level: sum(one.level == level for one in self.left) for level in ("problem", "warning")}
        parts = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count]
        said = ", ".join(parts) or ("all is well" if not self.repaired else "all is well now")
        if self.repaired:
            return f"{self.repaired} repaired; {said}{' left' if parts else ''}"
        fixable = sum(one.repair is not None for one in self.left)
        return f"{said}; `python -m src.doctor --fix` repairs {fixable} of them" if fixable else said

    @property
    def status(self) -> int:
        """The exit status."""
        return int(any(finding.level == "problem" for finding in self.left))


def _findings(check: Check) -> list[Finding]:
    """What a check finds; that it fails itself is a problem, too."""
    found = []
    try:
        for finding in check():
            found.append(finding)
    except UserError as error:
        found.append(Finding("problem", str(error)))
    except Exception as error:
        found.append(Finding("problem", f"this check failed: {type(error).__name__}: {first_line(error)}"))
    return found


def _advice(finding: Finding) -> str:
    return f"--fix {finding.advice}" if finding.repair else finding.advice


def examine_store(doctor: Doctor) -> None:
    """What is in MLflow's store; where it cannot be used, only what waits for it."""
    from ..tracking import store
    from . import audit, moved, orphans, pending
    from .address import check_address, store_exists
    from .stray import check_stray

    usable = doctor.examine("store", check_address)
    doctor.examine("mlruns", check_stray)
    client = store.connect() if usable and store_exists() else None
    in_place = client is not None and doctor.examine("artifacts", moved.check_moved)
    doctor.examine("outbox", partial(pending.check_pending, client))
    if client is not None:
        doctor.examine("runs", partial(orphans.check_runs, client))
        if in_place:
            doctor.examine("registry", partial(audit.check_registry, client))
        else:  # its files would seem to be missing
            later = Finding("warning", "the versions are not checked before the artifacts are in their place")
            doctor.examine("registry", lambda: [later])
    if not usable:
        text = "artifacts, runs and registry are not checked: the store cannot be used"
        doctor.examine("store", lambda: [Finding("warning", text)])


def trials() -> Iterable[Finding]:
    """Those in Optuna's journal."""
    from .trials import check_trials

    return check_trials()


def examine_project(doctor: Doctor) -> None:
    """Everything but MLflow's store: trials, the pipeline, the machine and the software."""
    from ..tracking.store import project_root

    checks: dict[str, Check] = {
        "trials": trials,
        "pipeline": check_pipeline,
        "disk": partial(check_disk, project_root()),
        "device": check_device,
        "packages": check_packages,
        "git": check_git,
        "telemetry": check_telemetry,
    }
    for title, check in checks.items():
        doctor.examine(title, check)
