"""Networks saved to disk, architecture as JSON and weights as safetensors, and the hash of both."""

import hashlib
import json
from pathlib import Path

from safetensors.torch import save

from ..core.files import replacing, write_json
from .interface import Network


def weights_bytes(network: Network) -> bytes:
    """The weights as bytes of a safetensors file: equal weights give equal bytes on any device."""
    return save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})


def content_hash(network: Network) -> str:
    """SHA-256 over architecture and weights, as hexadecimal text; see also :func:`~src.networks.saved.saved_hash`."""
    text = json.dumps(network.description, sort_keys=True)
    return hashlib.sha256(text.encode() + weights_bytes(network)).hexdigest()


def save_network(network: Network, folder: Path, name: str) -> None:
    """Write ``name.json`` (architecture) and ``name.safetensors`` (weights) into ``folder``."""
    save_architecture(network, folder / f"{name}.json")
    save_weights(network, folder / f"{name}.safetensors")


def save_architecture(network: Network, path: Path) -> None:
    """Write the architecture alone, as JSON."""
    write_json(network.description, path)


def save_weights(network: Network, path: Path) -> None:
    """Write the weights alone, as safetensors."""
    with replacing(path) as part:
        part.write_bytes(weights_bytes(network))
