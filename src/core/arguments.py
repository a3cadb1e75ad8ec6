"""The argument parser of every command."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that refuses empty arguments, which a shell passes for an unset variable."""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does. Exits with status 2 for an empty argument."""
        given = sys.argv[1:] if args is None else list(args)
        for before, text in zip(["", *given], given, strict=False):
            if not text.strip() or (text.startswith("--") and text.endswith("=")):
                option = before if before.startswith("-") and text == text.strip("-=") else text.rstrip("=")
                self.error(f"argument {option}: it must not be empty" if option.strip() else "an argument is empty")
        return super().parse_known_args(given, namespace)
