"""Files that are replaced atomically, and files of earlier stages that are read with one kind of error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError, require_file

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield ``path`` with ``.part`` appended, to be written to; afterwards it atomically replaces ``path``.

    If the body raises, ``path`` is unchanged and the part is removed. An OSError in the body (disk full, no permission)
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


def read_json(path: Path, made_by: str, *keys: str, shown: str | None = None) -> dict[str, Any]:
    """The mapping in a JSON file of an earlier stage, which has at least ``keys``.

    Raises UserError, which calls the file ``shown``, if it is missing or corrupt.
    """
    try:
        content = json.loads(require_file(path, made_by).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise corrupt(shown or path, made_by, error) from None
    if not isinstance(content, dict) or (missing := [key for key in keys if key not in content]):
        what = f"{', '.join(missing)} is missing" if isinstance(content, dict) else "it is not a mapping"
        raise corrupt(shown or path, made_by, what)
    return content


def read_tensors(path: Path, made_by: str, *names: str) -> "dict[str, Tensor]":
    """The memory-mapped tensors of a safetensors file of an earlier stage, at least ``names``.

    Raises UserError if it is missing or corrupt.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(require_file(path, made_by))
    except (OSError, SafetensorError) as error:
        raise corrupt(path, made_by, error) from None
    if missing := [name for name in names if name not in tensors]:
        raise corrupt(path, made_by, f"{', '.join(missing)} is missing")
    return tensors


def read_about(path: Path, made_by: str, entry: str, *keys: str) -> dict[str, Any]:
    """The mapping, JSON with at least ``keys``, in the metadata ``entry`` of a safetensors file of an earlier stage.

    Raises UserError if it is missing or corrupt.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(require_file(path, made_by), framework="pt") as file:
            content = json.loads((file.metadata() or {})[entry])
        return {**content, **{key: content[key] for key in keys}}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise corrupt(path, made_by, error) from None


def corrupt(path: Path | str, made_by: str, reason: Exception | str) -> UserError:
    """The error about an unusable file of an earlier stage, with the command that recreates it."""
    text = "it is not UTF-8 text" if isinstance(reason, UnicodeDecodeError) else " ".join(str(reason).split())
    if isinstance(reason, KeyError | TypeError):
        text = f"{type(reason).__name__} {text}"
    return UserError(f"{path} is corrupt: {text}; recreate it with `dvc repro --force --single-item {made_by}`")


def write_json(content: Any, path: Path) -> None:
    """Write JSON, indented, with a newline at the end."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
