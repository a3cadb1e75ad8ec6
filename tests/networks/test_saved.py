from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.config.params import Params
from src.core import paths
from src.core.errors import UserError
from src.core.files import write_json
from src.networks.saved import check_inputs, parameter_count, saved_hash
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


@pytest.mark.parametrize(
    ("changes", "data_hash", "words"),
    [
        ({}, "data", None),
        ({"classifier.lr": 1e-3, "train.seed": 7}, "data", None),  # not recorded with the networks
        ({}, "other", "models/classifier was made from other data than data/prepared has; run `dvc repro train_class"),
        (
            {"classifier.width": 16},
            "data",
            "models/classifier was made with classifier.width 8, but params.yaml has 16; run",
        ),
        (
            {"model.family": "dcgan"},
            "data",
            "models/gan was made with model.family mlp, but params.yaml has dcgan; run `dvc",
        ),
        (
            {"model.hidden_sizes": [8]},
            "data",
            r"model.hidden_sizes \[4\], but params.yaml has \[8\]; run `dvc repro train`",
        ),
    ],
)
def test_inputs_belong_to_data_and_parameters(
    changes: dict[str, Any], data_hash: str, words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mlp = {"architecture": "mlp generator", "options": {"hidden_sizes": [4], "channels": 1}}
    conv = {"architecture": "conv classifier", "options": {"width": 8, "channels": 1}}
    for folder, about, name, description in (
        (paths.CLASSIFIER, "report.json", "classifier.json", conv),
        (paths.GAN, "card.json", "generator.json", mlp),
    ):
        write_json({"data_hash": "data"}, folder / about)
        write_json(description, folder / name)
    base = {"model.family": "mlp", "model.hidden_sizes": [4], "classifier.width": 8}
    params = Params().replace({**base, **changes})
    if words is None:
        check_inputs(params, data_hash, generator=True)
        return
    with pytest.raises(UserError, match=words):
        check_inputs(params, data_hash, generator=True)
    if "model.family" in changes:
        check_inputs(params, data_hash, generator=False)
