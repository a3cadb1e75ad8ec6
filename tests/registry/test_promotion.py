"""What the gate's ruling does to a real registry; the measuring is made up, since tests/metrics/test_gate.py has it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from src.config.params import Register
from src.core.errors import UserError
from src.evaluation.gate import Gate, Measured
from src.registry import promotion, versions
from src.tracking import store
from src.tracking.origin import Origin
from src.tracking.runs import new_run

TAGS = {"data.hash": "d" * 64, "classifier.hash": "c" * 64, "git.dirty": "false", "registered.git.dirty": "false"}


@pytest.fixture
def client(place: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    client = store.connect()
    client.create_registered_model("gan")
    monkeypatch.setattr(
        versions, "load_version", lambda client, version: SimpleNamespace(network=float(version.tags["objective"]))
    )
    return client


def add(client: MlflowClient, objective: float, **changes: str) -> ModelVersion:
    tags = {**TAGS, "objective": str(objective), **{name.replace("__", "."): value for name, value in changes.items()}}
    return client.create_model_version("gan", "nothing", None, {k: v for k, v in tags.items() if v})


def gate() -> Gate:
    """It finds the objective that it is given, and two classes that agree with it."""
    made = object.__new__(Gate)
    made.class_names, made.data_hash, made.classifier_hash = ("boot", "bag"), "d" * 64, "c" * 64

    def measure(objective: Any) -> Measured:
        rows = torch.full((41,), objective, dtype=torch.float64)
        return Measured(rows, (1 - rows / 100)[:, None].repeat(1, 2), 0.01, 0.9, torch.ones(2))

    made.measure = measure  # type: ignore[method-assign, assignment]
    return made


def decide(client: MlflowClient, version: ModelVersion, **settings: Any) -> promotion.Decision:
    return promotion.decide(client, client.get_model_version("gan", version.version), gate(), Register(**settings))


def champion(client: MlflowClient) -> str | None:
    return versions.aliases_of(client, "gan").get("champion")


def test_the_first_then_a_better_then_a_worse_one(client: MlflowClient) -> None:
    first, better, worse = (add(client, objective) for objective in (3.0, 2.0, 2.5))
    assert decide(client, first).verdict == "gan/1 becomes champion: there was no champion, and nothing disqualifies it"
    assert decide(client, better).verdict == (
        "gan/2 becomes champion in place of gan/1: its objective is significantly lower: -1.000 [-1.000, -1.000], and no class "
        "loses too much"
    )
    kept = decide(client, worse)
    assert kept.verdict == (
        "gan/3 does not become champion, gan/2 stays: its objective is higher: +0.500 [+0.500, +0.500]"
    )
    assert versions.aliases_of(client, "gan") == {"champion": "2", "previous": "1"}
    assert decide(client, better) == promotion.Decision("gan/2 is the champion already")


def test_a_class_may_lose_as_much_as_the_parameter_says(client: MlflowClient) -> None:
    decide(client, add(client, 30.0))
    loses = add(client, 20.0)
    client.set_model_version_tag("gan", loses.version, "objective", "20.0")
    assert decide(client, loses, max_class_drop=0.0).ruling is not None  # it gains: nothing is lost
    assert champion(client) == "2"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"git__dirty": "true"}, "it was trained by code that differs from the commit; commit it and run"),
        ({"git__dirty": "unknown"}, "it was trained outside of a git repository"),
        ({"registered__git__dirty": "true"}, "it was registered by code that differs from the commit"),
        ({"data__hash": "e" * 64}, "it was trained on data eeeeeeeeeeee, and the prepared images are dddddddddddd"),
        ({"data__hash": ""}, "it was trained on unknown data"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_refusals(client: MlflowClient, changes: dict[str, str], words: str, before: bool) -> None:
    if before:
        decide(client, add(client, 3.0))
    found = decide(client, add(client, 1.0, **changes))
    assert found.ruling is not None
    assert found.ruling.decision == "refused"
    assert words in found.verdict
    assert champion(client) == ("1" if before else None)


def test_uncommitted_code_may_be_allowed_and_is_then_tagged(client: MlflowClient) -> None:
    version = add(client, 3.0, git__dirty="true")
    decision = decide(client, version, allow_dirty=True)
    assert champion(client) == "1"
    assert decision.allowed_dirty
    with new_run("digits", Origin.here("first", {}, {})) as run:
        promotion.record(run, version, decision)
    tags = client.get_model_version("gan", version.version).tags
    assert tags["gate.allowed_dirty"] == "true"
    assert not decide(client, add(client, 2.0), allow_dirty=True).allowed_dirty


def test_another_classifier_or_other_data_is_told(client: MlflowClient) -> None:
    decide(client, add(client, 3.0, classifier__hash="b" * 64))
    old = client.get_model_version("gan", "1")
    client.set_model_version_tag("gan", old.version, "data.hash", "f" * 64)
    decision = decide(client, add(client, 2.0))
    assert decision.notes[0].partition(" when")[0] == "gan/1 was scored by classifier bbbbbbbbbbbb"
    assert "both were scored again" in decision.notes[0]
    assert decision.notes[1].startswith("The champion was trained on other data (ffffffffffff)")
    assert decision.ruling is not None
    assert decision.ruling.decision == "promoted"


def test_a_champion_that_cannot_be_loaded_stays(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(client, add(client, 3.0))
    load: Callable[..., Any] = versions.load_version

    def broken(client: MlflowClient, version: ModelVersion) -> Any:
        if version.version in ("1", 1):
            raise UserError("gan/1 differs from what was registered")
        return load(client, version)

    monkeypatch.setattr(versions, "load_version", broken)
    found = decide(client, add(client, 2.0))
    assert "the champion cannot be measured (gan/1 differs from what was registered)" in found.verdict
    assert champion(client) == "1"


def test_the_verdict_is_on_the_version_and_the_report_in_the_run(client: MlflowClient) -> None:
    decide(client, add(client, 3.0))
    version = add(client, 2.0)
    decision = decide(client, version)
    with new_run("digits", Origin.here("first", {}, {})) as run:
        promotion.record(run, version, decision)
    tags = client.get_model_version("gan", version.version).tags
    assert tags["verdict"] == decision.verdict
    assert tags["gate.decision"] == "promoted"
    assert tags["gate.difference"] == "-1.0000 [-1.0000, -1.0000]"
    assert tags["gate.champion"] == "gan/1"
    import mlflow

    text = mlflow.artifacts.load_text(f"runs:/{run.run_id}/gate/gan-2.md")
    assert text == promotion.report(version, decision)
    assert "| objective | 2.000 [2.000, 2.000] | 3.000 [3.000, 3.000] | -1.000 [-1.000, -1.000] |" in text
