"""What the files of a saved network tell without building it, and without PyTorch."""

import hashlib
import json
from math import prod
from pathlib import Path
from typing import Any

from ..core.errors import UserError

LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header, little-endian; then comes the header, JSON."""
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

    Raises UserError when a file is missing or corrupt. Whether the weights fit the architecture is not looked at.
    """
    architecture, weights = need_files(folder, name)
    text = json.dumps(read_description(architecture), sort_keys=True)
    read_shapes(weights)
    return hashlib.sha256(text.encode() + weights.read_bytes()).hexdigest()


def parameter_count(folder: Path, name: str) -> int:
    """How many parameters the saved network has. Raises UserError when a file is missing or corrupt.

    A safetensors file does not tell parameters from buffers: what is named as one of BUFFERS is none.
    """
    _, weights = need_files(folder, name)
    return sum(prod(shape) for name, shape in read_shapes(weights).items() if name.rpartition(".")[2] not in BUFFERS)


def read_shapes(path: Path) -> dict[str, list[int]]:
    """The shape of each tensor in a safetensors file, by name. Raises UserError when the file is missing or corrupt."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if size < LENGTH_BYTES + length:
                raise UserError(f"{path} is corrupt: it ends before its header does")
            header = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        shapes = {name: [int(size) for size in entry["shape"]] for name, entry in tensors.items()}
        whole = size == LENGTH_BYTES + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except OSError as error:
        raise UserError(f"{path} is corrupt: {error}" if path.is_file() else f"{path} is missing") from None
    except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path} is corrupt: its header cannot be read: {type(error).__name__}") from None
    if not whole:
        raise UserError(f"{path} is corrupt: its size is not what its header says")
    return shapes
