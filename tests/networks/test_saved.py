from collections.abc import Callable
from pathlib import Path

import pytest

from src.core.errors import UserError
from src.networks.saved import parameter_count, saved_hash
from src.networks.weights import content_hash, save_network
from tests.networks.test_description import NETWORKS
from tests.networks.tiny import pair


@pytest.mark.parametrize("architecture", NETWORKS)
def test_the_files_tell_hash_and_size_of_the_network(architecture: str, tmp_path: Path) -> None:
    network = NETWORKS[architecture]()
    save_network(network, tmp_path, "net")
    assert saved_hash(tmp_path, "net") == content_hash(network)
    assert parameter_count(tmp_path, "net") == sum(weight.numel() for weight in network.parameters())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_network(pair("mlp")[0], tmp_path, "net")
    return tmp_path


@pytest.mark.parametrize("name", ["net.json", "net.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    for read in (saved_hash, parameter_count):
        with pytest.raises(UserError, match=rf"{name} is missing$"):
            read(saved, "net")


@pytest.mark.parametrize("content", ["", "{", "\ufffe"])
def test_an_architecture_that_is_no_json(saved: Path, content: str) -> None:
    (saved / "net.json").write_bytes(content.encode("utf-16"))
    with pytest.raises(UserError, match=r"net\.json is corrupt: "):
        saved_hash(saved, "net")


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"{}",
        lambda _: b"\x02" + bytes(7) + b"[]",
        lambda _: bytes(8) + b"x",
        lambda content: content[:-1],
        lambda content: content + b"x",
    ],
)
def test_weights_that_are_no_safetensors(saved: Path, damage: Callable[[bytes], bytes]) -> None:
    weights = saved / "net.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    for read in (saved_hash, parameter_count):
        with pytest.raises(UserError, match=r"net\.safetensors is corrupt: "):
            read(saved, "net")


@pytest.mark.parametrize("place", [0, 3, 9, -1])
def test_every_changed_byte_is_another_hash_or_corrupt(saved: Path, place: int) -> None:
    before, weights = saved_hash(saved, "net"), saved / "net.safetensors"
    content = bytearray(weights.read_bytes())
    content[place] ^= 1
    weights.write_bytes(content)
    try:
        after = saved_hash(saved, "net")
    except UserError:
        after = "corrupt"
    assert after != before
