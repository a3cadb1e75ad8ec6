"""Files that appear under their final name only when they are whole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield ``path`` with ``.part`` appended, to be written to; afterwards it takes the place of ``path`` at once.

    When the body raises, ``path`` is as it was and the part is gone. An OSError in the body (disk full, no permission)
    becomes a UserError that names ``path``.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None


def write_json(content: Any, path: Path) -> None:
    """Write JSON, indented, with a newline at the end."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
