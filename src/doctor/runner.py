"""Run checks one after the other, repair what can be repaired, and print what was found."""

import shutil
import textwrap
from collections.abc import Iterable

from ..core.errors import UserError, first_line
from .finding import Check, Finding

COLOURS = {"ok": "green", "fixed": "cyan", "warning": "yellow", "problem": "bold red"}
WIDTH = 120
MARK, INDENT = 9, 20
"""columns: of the mark, and of mark and title together"""


class Doctor:
    """Runs checks, repairs if ``fix``, and prints what was found."""

    def __init__(self, *, fix: bool) -> None:
        from rich.console import Console

        self.fix = fix
        self.left: list[Finding] = []
        """findings that are not repaired"""
        self.repaired = 0
        self.width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        self.console = Console(markup=False, highlight=False, emoji=False)

    def examine(self, title: str, check: Check) -> bool:
        """Run a check. Returns whether no problem is left."""
        found = _findings(check)
        if self.fix and self._repair(title, found):
            found = _findings(check)
        for finding in found:
            advice = f"--fix {finding.advice}" if finding.repair else finding.advice
            self._print(finding.level, title, finding.text, advice)
        self.left += found
        return all(finding.level != "problem" for finding in found)

    def _repair(self, title: str, found: Iterable[Finding]) -> bool:
        """Repair what can be repaired. Returns whether anything was."""
        before = self.repaired
        for finding in found:
            if finding.repair is None:
                continue
            try:
                self._print("fixed", title, finding.repair())
                self.repaired += 1
            except Exception as error:  # the other repairs follow, and the finding is printed again
                self._print("problem", title, f"the repair failed: {first_line(error)}")
        return self.repaired > before

    def _print(self, mark: str, title: str, text: str, advice: str = "") -> None:
        """Print a finding, wrapped between words so that paths and names can be copied."""
        from rich.text import Text

        width = max(20, self.width - INDENT)
        parts = [text, f"-> {advice}"] if advice else [text]
        lines = [
            line
            for part in parts
            for line in textwrap.wrap(part, width, break_long_words=False, break_on_hyphens=False)
        ]
        start = Text.assemble((f"{mark:<{MARK}}", COLOURS[mark]), f"{title:<{INDENT - MARK}}")
        self.console.print(start, f"\n{' ' * INDENT}".join(lines), sep="", soft_wrap=True)

    def summary(self) -> str:
        """One line about all checks."""
        counts = {level: sum(one.level == level for one in self.left) for level in ("problem", "warning")}
        parts = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count]
        if self.repaired:
            return f"{self.repaired} repaired; {', '.join(parts) + ' left' if parts else 'no problems left'}"
        fixable = sum(one.repair is not None for one in self.left)
        advice = f"; `python -m src.doctor --fix` repairs {fixable} of them" if fixable else ""
        return (", ".join(parts) or "no problems") + advice


def _findings(check: Check) -> list[Finding]:
    """The findings of a check; an exception is one of them."""
    found = []
    try:
        for finding in check():
            found.append(finding)
    except UserError as error:
        found.append(Finding("problem", str(error)))
    except Exception as error:
        found.append(Finding("problem", f"this check failed: {type(error).__name__}: {first_line(error)}"))
    return found
