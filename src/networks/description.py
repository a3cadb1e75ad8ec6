"""Networks built from their descriptions and loaded from disk. Loading runs no code from the files."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.files import read_json, read_tensors
from .classifier import CLASSIFIER, ConvClassifier
from .family import find_family
from .interface import Classifier, Discriminator, Generator, Network
from .saved import need_files

Kind = TypeVar("Kind", bound=Network)


def _architecture(name: Any, where: str) -> type[Network]:
    """The class of ``FAMILY generator``, ``FAMILY discriminator`` or the judge."""
    if name == CLASSIFIER:
        return ConvClassifier
    family, _, kind = name.rpartition(" ") if isinstance(name, str) else ("", "", "")
    if kind not in ("generator", "discriminator"):
        raise UserError(
            f"{where}: unknown architecture {name!r}; it must be {CLASSIFIER}, FAMILY generator or FAMILY discriminator"
        )
    found: type[Network] = getattr(find_family(family, where), kind)
    return found


def build(description: Any, where: str = "architecture") -> Network:
    """A network with fresh weights from ``{"architecture": name, "options": {...}}``.

    Raises UserError for an unknown architecture, and for missing, unknown or invalid options.
    """
    name, options = (
        (description.get(key) for key in ("architecture", "options")) if isinstance(description, dict) else (None, None)
    )
    architecture = _architecture(name, where)
    wanted = set(inspect.signature(architecture).parameters)
    if not isinstance(options, dict) or wanted != set(options):
        found = sorted(options) if isinstance(options, dict) else options
        raise UserError(f"{where}: {name} needs the options {sorted(wanted)}, the file has {found}")
    try:
        network = architecture(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{where}: {name} cannot be built from {options}: {error}") from None
    network.description = {"architecture": name, "options": dict(options)}
    return network


def describe(architecture: str, **candidates: Any) -> dict[str, Any]:
    """The description of ``architecture`` with the candidate options that it takes.

    Raises UserError for an option that is not among the candidates.
    """
    wanted = inspect.signature(_architecture(architecture, "model.family")).parameters
    if unknown := sorted(set(wanted) - set(candidates)):
        raise UserError(
            f"model.family: the {architecture} takes the unknown options {', '.join(unknown)}; allowed are "
            f"{', '.join(sorted(candidates))}"
        )
    return {"architecture": architecture, "options": {name: candidates[name] for name in wanted}}


def options_of(family: str) -> set[str]:
    """The names of all options that the networks of a family take."""
    networks = find_family(family).generator, find_family(family).discriminator
    return {name for network in networks for name in inspect.signature(network).parameters}


def load_network(folder: Path, name: str, device: torch.device | None = None) -> Network:
    """Load a network saved by :func:`save_network`, in evaluation mode.

    Raises UserError if a file is missing or corrupt, or if the weights do not match the architecture.
    """
    architecture, weights = need_files(folder, name)
    network = load_architecture(architecture)
    load_weights(network, weights, str(architecture))
    return network.eval().to(device or "cpu")


def load_architecture(path: Path) -> Network:
    """A network with fresh weights, from the JSON of :func:`save_architecture`.

    Raises UserError if the file is missing, is not JSON, or does not describe a network that can be built.
    """
    return build(read_json(path), str(path))


def load_weights(network: Network, path: Path, name: str = "the network") -> None:
    """Load the weights of :func:`save_weights` into a network, all or none.

    Raises UserError if the file is missing or corrupt, and for weights of another architecture, listing all missing and
    unexpected tensors and shapes that differ from those of ``name``.
    """
    weights = read_tensors(path)
    if found := weight_differences(weights, network.state_dict()):
        raise UserError(f"{path} does not fit {name}: {'; '.join(found)}")
    network.load_state_dict(weights)


def weight_differences(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Differences in names and shapes between the tensors of a file and of a network, one line each."""
    lines = []
    for name in sorted(weights.keys() | wanted.keys()):
        ours, theirs = (tuple(some[name].shape) if name in some else None for some in (weights, wanted))
        if ours is None:
            lines.append(f"{name} {theirs} is not in the file")
        elif theirs is None:
            lines.append(f"{name} {ours} is only in the file")
        elif ours != theirs:
            lines.append(f"{name} is {ours} in the file and {theirs} in the network")
    return lines


def load_generator(folder: Path, device: torch.device | None = None) -> Generator:
    """Load ``generator.json`` and its weights. Raises UserError as :func:`load_network` does."""
    return _of_kind(load_network(folder, "generator", device), Generator, folder / "generator.json")


def load_classifier(folder: Path, device: torch.device | None = None) -> Classifier:
    """Load ``classifier.json`` and its weights. Raises UserError as :func:`load_network` does."""
    classifier = _of_kind(load_network(folder, "classifier", device), Classifier, folder / "classifier.json")
    return classifier.to(memory_format=torch.channels_last)


def build_pair(family: str, **options: Any) -> tuple[Generator, Discriminator]:
    """The generator and discriminator of a family with fresh weights; unused options are ignored.

    Raises UserError for an unknown family, and for a ``conditioning`` or image size that it does not support.
    """
    allowed = find_family(family).conditionings
    if options["conditioning"] not in allowed:
        raise UserError(
            f"model.conditioning: {options['conditioning']} is not supported by model.family {family}, which has "
            f"{', '.join(allowed)}"
        )
    generator = build(describe(f"{family} generator", **options))
    discriminator = build(describe(f"{family} discriminator", **options))
    where = Path(f"model.family {family}")
    return _of_kind(generator, Generator, where), _of_kind(discriminator, Discriminator, where)


def _of_kind(network: Network, kind: type[Kind], where: Path) -> Kind:
    if not isinstance(network, kind):
        raise UserError(f"{where} describes a {type(network).__name__}, where a {kind.__name__.lower()} is needed")
    return network
