"""What a check of ``python -m src.doctor`` finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's list."""

    level: Level
    """``problem``: something does not work, or says what is not so; ``warning``: worth knowing, and everything works"""
    text: str
    """what was found"""
    advice: str = ""
    """what ``repair`` will do; without it, what a person can do"""
    repair: Callable[[], str] | None = None
    """puts it right, and says in a sentence what it has done; may raise whatever stands in its way"""


def some(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
