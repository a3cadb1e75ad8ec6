"""What the files of a saved network say, read without building the network and without PyTorch."""

import hashlib
import json
from math import prod
from pathlib import Path
from typing import Any

from ..core.errors import UserError

BUFFERS = {"running_mean", "running_var", "num_batches_tracked", "_u", "_v", "growth"}
"""of batch normalisation, of PyTorch's spectral norm, and of networks that grow"""


def need_files(folder: Path, name: str) -> tuple[Path, Path]:
    """The paths of ``name.json`` and ``name.safetensors``. Raises UserError where one of them is missing."""
    files = folder / f"{name}.json", folder / f"{name}.safetensors"
    for path in files:
        if not path.is_file():
            raise UserError(f"{path} is missing; a saved network is {name}.json with {name}.safetensors")
    return files


def read_description(path: Path) -> Any:
    """The architecture's JSON. Raises UserError when the file cannot be read, or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None


def saved_hash(folder: Path, name: str) -> str:
    """The :func:`~src.networks.weights.content_hash` of the network that was saved as ``name`` in ``folder``.

    Raises UserError when a file is missing or corrupt. Whether the weights fit the architecture is not checked.
    """
    architecture, weights = need_files(folder, name)
    text = json.dumps(read_description(architecture), sort_keys=True)
    read_shapes(weights)
    return hashlib.sha256(text.encode() + weights.read_bytes()).hexdigest()


def parameter_count(folder: Path, name: str) -> int:
    """How many parameters the saved network has. Raises UserError when a file is missing or corrupt.

    A safetensors file does not tell parameters from buffers: names in BUFFERS are not counted.
    """
    _, weights = need_files(folder, name)
    return sum(prod(shape) for name, shape in read_shapes(weights).items() if name.rpartition(".")[2] not in BUFFERS)


def read_shapes(path: Path) -> dict[str, list[int]]:
    """The shape of each tensor in a safetensors file, by name. Raises UserError when the file is missing or corrupt."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is corrupt: {error}" if path.is_file() else f"{path} is missing") from None
