"""What the files of a saved network say, read without building the network and without PyTorch."""

import hashlib
import json
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import paths
from ..core.errors import UserError, require_file
from ..core.files import corrupt, read_json

if TYPE_CHECKING:
    from ..config.params import Params

BUFFERS = {"running_mean", "running_var", "num_batches_tracked", "_u", "_v", "growth"}
"""of batch normalisation, of PyTorch's spectral norm, and of networks that grow"""


def need_files(folder: Path, name: str) -> tuple[Path, Path]:
    """The paths of ``name.json`` and ``name.safetensors``. Raises UserError if one of them is missing."""
    return require_file(folder / f"{name}.json"), require_file(folder / f"{name}.safetensors")


def saved_hash(folder: Path, name: str) -> str:
    """The :func:`~src.networks.weights.content_hash` of the network that was saved as ``name`` in ``folder``.

    Raises UserError when a file is missing or corrupt. Whether the weights fit the architecture is not checked.
    """
    architecture, weights = need_files(folder, name)
    text = json.dumps(read_json(architecture), sort_keys=True)
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
        with safe_open(require_file(path), framework="np") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise corrupt(path, None, error) from None


def check_inputs(params: "Params", data_hash: str, *, generator: bool) -> None:
    """Raise UserError if the classifier, or the ``generator``, was made from other data or with other parameters.

    Only parameters that are recorded with a network are compared; DVC compares all.
    """
    made = [(paths.CLASSIFIER, "report.json", "classifier", params.classifier.model_dump())]
    if generator:
        made.append((paths.GAN, "card.json", "generator", params.model.model_dump()))
    for folder, about, name, wanted in made:
        remedy = f"run `dvc repro {paths.MADE_BY[folder]}`"
        if read_json(folder / about, None, "data_hash")["data_hash"] != data_hash:
            raise UserError(f"{folder} was made from other data than {paths.PREPARED} has; {remedy}")
        content = read_json(folder / f"{name}.json", None, "architecture", "options")
        given = {**content["options"], "family": str(content["architecture"]).rpartition(" ")[0]}
        for field, value in wanted.items():
            if given.get(field, value) != value:
                section = "classifier" if name == "classifier" else "model"
                raise UserError(
                    f"{folder} was made with {section}.{field} {given[field]}, but params.yaml has {value}; {remedy}"
                )
