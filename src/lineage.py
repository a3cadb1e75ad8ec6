"""Which models came from this? ``python -m src.lineage HASH``

HASH is a git commit, or the hash of data, classifier, generator, requirements, the stored difference from the
commit, or one of DVC's own; its first digits are enough (6 or more).
"""

import re
from collections.abc import Sequence

from .core.arguments import Parser
from .core.errors import UserError, run_command
from .core.tables import aligned


def main(arguments: Sequence[str] | None = None) -> None:
    """List the versions that came from a hash."""
    lines = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m src.lineage", description=lines[0], epilog=" ".join(lines[2:]))
    parser.add_argument("hash", metavar="HASH", help="at least 6 hexadecimal digits")
    digits = parser.parse_args(arguments).hash.lower()
    if not re.fullmatch(r"[0-9a-f]{6,64}(\.dir)?", digits):
        raise UserError(f"{digits!r} is not a hash: write 6 to 64 hexadecimal digits")
    from .registry.listing import came_from
    from .tracking import store

    rows = came_from(store.connect(), digits)
    if not rows:
        raise UserError(f"no model in the registry at {store.where()} came from {digits}")
    print(aligned(rows))


if __name__ == "__main__":
    run_command(main)
