"""Write files atomically, and read files of earlier stages with one kind of error."""

import json
import os
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError, require_file
from .paths import MADE_BY

if TYPE_CHECKING:
    from torch import Tensor


ABANDONED_SECONDS = 3600.0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a ``.part`` beside ``path``, this process's own, to be written to; afterwards it atomically replaces ``path``.

    If the body raises, ``path`` is unchanged and the part is removed. Parts that killed processes have left are removed an
    hour later, by the next process that writes to the folder. An OSError in the body (disk full, no permission) becomes a
    UserError that names ``path``.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None


@cache
def _remove_abandoned(folder: Path) -> None:
    """Remove the parts that nobody has written to for an hour, once per process. Process ids of other hosts tell nothing."""
    for part in folder.glob("*.part"):
        with suppress(OSError):  # another process may remove it, too
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()


def read_text(path: Path, made_by: str | None = None) -> str:
    """The text of a file of an earlier stage. Raises UserError if it is missing or corrupt."""
    try:
        return require_file(path, made_by).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise corrupt(path, made_by, error) from None


def read_json(path: Path, made_by: str | None = None, *keys: str, shown: str | None = None) -> dict[str, Any]:
    """The mapping, with at least ``keys``, in a JSON file of an earlier stage.

    Raises UserError, which calls the file ``shown``, if it is missing or corrupt.
    """
    try:
        content = json.loads(require_file(path, made_by).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise corrupt(shown or path, made_by, error) from None
    if not isinstance(content, dict):
        raise corrupt(shown or path, made_by, "it is not a mapping")
    _check_names(keys, content, shown or path, made_by)
    return content


def read_tensors(path: Path, made_by: str | None = None, *names: str) -> "dict[str, Tensor]":
    """The memory-mapped tensors, at least ``names``, of a safetensors file of an earlier stage.

    Raises UserError if it is missing or corrupt.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(require_file(path, made_by))
    except (OSError, SafetensorError) as error:
        raise corrupt(path, made_by, error) from None
    _check_names(names, tensors, path, made_by)
    return tensors


def read_about(path: Path, made_by: str | None, entry: str, *keys: str) -> dict[str, Any]:
    """The mapping, with at least ``keys``, that a safetensors file of an earlier stage has as JSON in its metadata ``entry``.

    Raises UserError if it is missing or corrupt.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(require_file(path, made_by), framework="pt") as file:
            content = json.loads((file.metadata() or {})[entry])
        return {**content, **{key: content[key] for key in keys}}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise corrupt(path, made_by, error) from None


def _check_names(names: Iterable[str], content: Container[str], path: Path | str, made_by: str | None) -> None:
    if missing := [name for name in names if name not in content]:
        raise corrupt(path, made_by, f"{', '.join(missing)} is missing")


def corrupt(path: Path | str, made_by: str | None, reason: Exception | str) -> UserError:
    """The error about an unusable file of an earlier stage, with the command that recreates it.

    Without ``made_by``, the stage follows from the folder; a file of another folder has none.
    """
    text = "it is not UTF-8 text" if isinstance(reason, UnicodeDecodeError) else " ".join(str(reason).split())
    if isinstance(reason, KeyError | TypeError):
        text = f"{type(reason).__name__} {text}"
    stage = made_by or MADE_BY.get(Path(path).parent)
    remedy = f"; recreate it with `dvc repro --force --single-item {stage}`" if stage else ""
    return UserError(f"{path} is corrupt: {text}{remedy}")


def write_json(content: Any, path: Path) -> None:
    """Write indented JSON that ends in a newline."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
