"""The champion changes only for a better validation score."""

from types import SimpleNamespace
from typing import Any

import pytest

from src import register
from src.tracking import registry


class Aliases:
    """The part of MLflow's client that the choice uses."""

    def __init__(self, champion: str | None) -> None:
        self.aliases = {"champion": champion} if champion else {}

    def get_registered_model(self, name: str) -> Any:
        return SimpleNamespace(aliases=dict(self.aliases))

    def get_model_version(self, name: str, version: str) -> Any:
        return SimpleNamespace(name=name, version=version)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version


@pytest.mark.parametrize(
    ("champion", "score", "winner", "words"),
    [
        (None, 9.0, "2", "there was no champion"),
        ("1", 0.9, "2", "version 2 becomes champion: validation score 0.9000 is below 1.0000 of champion version 1"),
        ("1", 1.0, "1", "does not become champion: validation score 1.0000 is not below 1.0000"),
        ("1", 1.1, "1", "does not become champion"),
        ("2", 1.1, "2", "is the champion already"),
    ],
)
def test_choice(champion: str | None, score: float, winner: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_version", lambda client, version: SimpleNamespace(network="champion"))
    client = Aliases(champion)
    candidate: Any = SimpleNamespace(name="gan", version="2")
    run: Any = SimpleNamespace(client=client)
    verdict = register.choose_champion(run, candidate, score, lambda network: {"score": 1.0})
    assert client.aliases["champion"] == winner
    assert words in verdict
