"""A network on disk: its architecture as JSON and its weights as safetensors. Loading runs no code from the files."""

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from src.errors import UserError
from src.files import replacing, write_json
from src.networks.classifier import ConvClassifier
from src.networks.dcgan import DcganDiscriminator, DcganGenerator
from src.networks.interface import Classifier, Discriminator, Generator, Network
from src.networks.mlp import MlpDiscriminator, MlpGenerator

Kind = TypeVar("Kind", bound=Network)

ARCHITECTURES: dict[str, type[Network]] = {
    "mlp generator": MlpGenerator,
    "mlp discriminator": MlpDiscriminator,
    "dcgan generator": DcganGenerator,
    "dcgan discriminator": DcganDiscriminator,
    "conv classifier": ConvClassifier,
}


def build(description: Any, where: str = "architecture") -> Network:
    """A network with fresh weights from ``{"architecture": name, "options": {...}}``; unused options are not allowed.

    Raises UserError for an unknown architecture or options that do not fit it.
    """
    name, options = (
        (description.get(key) for key in ("architecture", "options")) if isinstance(description, dict) else (None, None)
    )
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UserError(f"{where}: unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    wanted = set(inspect.signature(ARCHITECTURES[name]).parameters)
    if not isinstance(options, dict) or wanted != set(options):
        found = sorted(options) if isinstance(options, dict) else options
        raise UserError(f"{where}: {name} needs the options {sorted(wanted)}, the file has {found}")
    try:
        network = ARCHITECTURES[name](**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{where}: {name} cannot be built from {options}: {error}") from None
    network.description = {"architecture": name, "options": dict(options)}
    return network


def describe(architecture: str, **candidates: Any) -> dict[str, Any]:
    """The description of ``architecture`` with those of the candidate options that it takes."""
    wanted = inspect.signature(ARCHITECTURES[architecture]).parameters
    return {"architecture": architecture, "options": {name: candidates[name] for name in wanted}}


def weights_bytes(network: Network) -> bytes:
    """The weights as a safetensors file's bytes: equal weights give equal bytes, whatever device they are on."""
    return save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})


def content_hash(network: Network) -> str:
    """SHA-256 over architecture and weights, as hexadecimal text."""
    text = json.dumps(network.description, sort_keys=True)
    return hashlib.sha256(text.encode() + weights_bytes(network)).hexdigest()


def save_network(network: Network, folder: Path, name: str) -> None:
    """Write ``name.json`` (architecture) and ``name.safetensors`` (weights) into ``folder``."""
    write_json(network.description, folder / f"{name}.json")
    with replacing(folder / f"{name}.safetensors") as part:
        part.write_bytes(weights_bytes(network))


def load_network(folder: Path, name: str, device: torch.device | None = None) -> Network:
    """Read what :func:`save_network` wrote, in evaluation mode.

    Raises UserError when a file is missing or corrupt, or when the weights do not fit the architecture.
    """
    architecture, weights = folder / f"{name}.json", folder / f"{name}.safetensors"
    for path in (architecture, weights):
        if not path.is_file():
            raise UserError(f"{path} is missing; a saved network is {name}.json with {name}.safetensors")
    try:
        description = json.loads(architecture.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{architecture} is not valid JSON: {error}") from None
    network = build(description, str(architecture))
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{weights} is corrupt: {error}") from None
    except RuntimeError as error:
        raise UserError(f"{weights} does not fit {architecture}: {' '.join(str(error).split())}") from None
    return network.eval().to(device or "cpu")


def load_generator(folder: Path, device: torch.device | None = None) -> Generator:
    """Load ``generator.json`` and its weights. Raises UserError as :func:`load_network` does, and for another kind."""
    return _of_kind(load_network(folder, "generator", device), Generator, folder / "generator.json")


def load_classifier(folder: Path, device: torch.device | None = None) -> Classifier:
    """Load ``classifier.json`` and its weights. Raises UserError as :func:`load_network` does, and for another kind."""
    classifier = _of_kind(load_network(folder, "classifier", device), Classifier, folder / "classifier.json")
    return classifier.to(memory_format=torch.channels_last)


def build_pair(family: str, **options: Any) -> tuple[Generator, Discriminator]:
    """The generator and discriminator of a family with fresh weights; unused options are left out."""
    generator = build(describe(f"{family} generator", **options))
    discriminator = build(describe(f"{family} discriminator", **options))
    where = Path(f"model.family {family}")
    return _of_kind(generator, Generator, where), _of_kind(discriminator, Discriminator, where)


def build_classifier(**options: Any) -> Classifier:
    """The auxiliary classifier with fresh weights; unused options are left out."""
    return _of_kind(build(describe("conv classifier", **options)), Classifier, Path("conv classifier"))


def _of_kind(network: Network, kind: type[Kind], where: Path) -> Kind:
    if not isinstance(network, kind):
        raise UserError(f"{where} describes a {type(network).__name__}, where a {kind.__name__.lower()} is needed")
    return network
