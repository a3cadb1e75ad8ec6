"""A registry in memory of versions without files: what matters is who is called what."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from src.core.errors import UserError
from src.registry import aliases
from src.registry.versions import aliases_of
from src.tracking import store


@pytest.fixture
def client(place: Path) -> MlflowClient:
    client = store.connect()
    client.create_registered_model("gan")
    for _ in range(3):
        client.create_model_version("gan", "nothing", None)
    client.set_registered_model_alias("gan", "candidate", "3")
    return client


def version(client: MlflowClient, number: int) -> ModelVersion:
    return client.get_model_version("gan", str(number))


def promote(client: MlflowClient, number: int) -> None:
    aliases.promote(client, version(client, number), aliases_of(client, "gan").get("champion"))


def test_a_champion_that_has_changed_meanwhile_is_not_replaced(client: MlflowClient) -> None:
    promote(client, 1)
    with pytest.raises(UserError, match="the champion of gan is now version 1, not 2; try again"):
        aliases.promote(client, version(client, 3), "2")
    assert aliases_of(client, "gan")["champion"] == "1"


def test_promotion_and_rollback(client: MlflowClient) -> None:
    promote(client, 1)
    assert aliases_of(client, "gan") == {"candidate": "3", "champion": "1"}
    promote(client, 3)
    assert aliases_of(client, "gan") == {"candidate": "3", "champion": "3", "previous": "1"}
    assert aliases.previous(client, "gan") == "1"
    promote(client, 1)
    assert aliases_of(client, "gan") == {"candidate": "3", "champion": "1", "previous": "3"}


def test_the_champion_is_not_promoted_again(client: MlflowClient) -> None:
    promote(client, 1)
    with pytest.raises(UserError, match="gan/1 is the champion already"):
        promote(client, 1)
    assert aliases_of(client, "gan") == {"candidate": "3", "champion": "1"}


def test_nothing_to_go_back_to(client: MlflowClient) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="gan has no previous champion to restore"):
            aliases.previous(client, "gan")
        client.set_registered_model_alias("gan", "champion", "1")
        client.set_registered_model_alias("gan", "previous", "1")


def test_the_champion_is_never_deleted(client: MlflowClient) -> None:
    promote(client, 1)
    promote(client, 3)
    with pytest.raises(UserError, match="gan/3 is the champion, which cannot be deleted"):
        aliases.delete(client, version(client, 3))
    aliases.delete(client, version(client, 1))
    assert aliases_of(client, "gan") == {"candidate": "3", "champion": "3"}
    assert [int(one.version) for one in client.search_model_versions("name = 'gan'")] == [3, 2]


def test_there_is_a_champion_at_every_moment(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies between the two calls of a promotion leaves the old champion or the new one."""
    promote(client, 1)
    calls = []

    def dies(name: str, alias: str, number: str) -> None:
        calls.append(alias)
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "set_registered_model_alias", dies)
    with pytest.raises(KeyboardInterrupt):
        promote(client, 2)
    assert calls == ["previous"]
    assert aliases_of(client, "gan")["champion"] == "1"
