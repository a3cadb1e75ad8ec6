"""A version that an earlier release registered still loads, draws and serves the same images.

``older_version`` has its files as they lie in the store, its tags (everything was a tag of the version then), and images that
release drew: two of each class.
"""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from src.registry import versions
from src.registry.facts import facts
from src.sampling.draw import generate
from src.serving import server
from src.tracking import store
from tests.serving.test_server import ask

OLDER = Path(__file__).parent / "older_version"
ROWS = torch.tensor([[label, seed] for label in range(10) for seed in (0, 2**40 + 5)])


@pytest.fixture
def images() -> np.ndarray:
    loaded: np.ndarray = np.load(OLDER / "images.npy")
    return loaded


@pytest.fixture
def reference(place: Path) -> str:
    client = store.connect()
    model = client.create_logged_model(store.experiment_id(client, "digits"), name="generator")
    client.log_model_artifacts(model.model_id, str(OLDER / "files"))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("gan-digits", {"dataset": "digits"})
    tags = json.loads((OLDER / "tags.json").read_text(encoding="utf-8"))
    client.create_model_version("gan-digits", f"models:/{model.model_id}", tags=tags)
    client.set_registered_model_alias("gan-digits", versions.CHAMPION, "1")
    return "gan-digits@champion"


def apart(some: np.ndarray, others: np.ndarray) -> int:
    """The largest difference of two pixels; another processor may round one otherwise."""
    return int(np.abs(some.astype(int) - others.astype(int)).max())


def test_it_loads_and_draws_the_same_images(reference: str, images: np.ndarray) -> None:
    client = store.connect()
    version = versions.find_version(client, reference)
    stored = versions.load_version(client, version)
    assert stored.class_names == tuple("0123456789")
    assert apart(generate(stored.network, ROWS[:, 0], ROWS[:, 1]).numpy(), images) <= 1
    assert versions.check_version(client, version).parameters == sum(one.numel() for one in stored.network.parameters())


def test_the_server_answers_with_the_same_images(
    reference: str, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.connect()
    files = versions.fetch(client, versions.find_version(client, reference), str(tmp_path / "served"))
    monkeypatch.setenv(server.FOLDER, str(files))
    status, body, _ = ask(json.dumps({"inputs": ROWS.tolist()}).encode(), app=server.create_app())
    assert status == 200
    served = np.array(json.loads(body)["predictions"], dtype=np.float32)
    assert apart(np.round((served + 1) * 127.5).astype(np.uint8), images) <= 1


def test_it_is_served_with_its_own_code(reference: str, images: np.ndarray) -> None:
    served = mlflow.pyfunc.load_model(f"models:/{reference}").predict(ROWS.numpy())
    assert apart(np.round((served + 1) * 127.5).astype(np.uint8), images) <= 1


def test_what_is_known_of_it_is_read_from_its_own_tags(reference: str) -> None:
    client = store.connect()
    known = facts(client, versions.find_version(client, reference))
    assert known["gate.decision"] == "refused"
    assert len(known["code.sha256"]) == 64
    assert float(known["test.coverage"]) >= 0
