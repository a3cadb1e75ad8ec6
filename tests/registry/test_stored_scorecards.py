import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from src.core.errors import UserError
from src.evaluation.comparison import StoredScorecard
from src.registry import stored_scorecards
from src.registry.stored_scorecards import find_scorecard, read_scorecard
from src.tracking import store
from tests.conftest import work_in
from tests.evaluation.test_comparison import evaluation


def save(one: StoredScorecard, folder: Path) -> Path:
    """Write a scorecard as the stage evaluate does."""
    folder.mkdir(parents=True, exist_ok=True)
    one.card.write(folder)
    pd.DataFrame({name: rows.numpy() for name, rows in one.rows.items()}).to_csv(folder / "bootstrap.csv", index=False)
    return folder


def log(name: str, one: StoredScorecard | None, experiment: str = "digits") -> str:
    """A run with a scorecard; its id."""
    client = store.connect()
    run_id = str(client.create_run(store.experiment_id(client, experiment), run_name=name).info.run_id)
    if one:
        client.log_artifacts(run_id, str(save(one, Path(f"{run_id}.files"))), "evaluation")
    return run_id


def register(name: str, run_id: str | None, one: StoredScorecard, alias: str = "champion") -> None:
    client = store.connect()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, "file:///nowhere", run_id, {"generator.hash": one.card.generator_hash})
    client.set_registered_model_alias(name, alias, version.version)


def same(found: StoredScorecard, expected: StoredScorecard) -> bool:
    assert found.rows.keys() == expected.rows.keys()
    return found.card == expected.card and all(
        torch.equal(found.rows[name], expected.rows[name]) for name in found.rows
    )


def test_a_folder_to_the_last_bit_and_without_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_in(tmp_path, monkeypatch)
    found = find_scorecard(str(save(evaluation(), tmp_path / "models/evaluation")))
    assert same(found, evaluation())
    assert found.run_id is None
    assert not (tmp_path / "mlruns").exists()


def test_runs(place: Path) -> None:
    first, second = evaluation(), evaluation(seed=1)
    one, two = log('mlp\'s "first"?', first), log("it's 2", second, experiment="fashion-mnist")
    for reference in (one, one.upper(), one[:6], one[:31]):
        found = find_scorecard(reference)
        assert same(found, first)
        assert found.run_id == one
    for reference in (two, "it's 2"):
        assert same(find_scorecard(reference), second)
    with pytest.raises(UserError, match="is no folder, no run and no model"):  # five digits say too little
        find_scorecard(one[:5])


def test_a_deleted_run_does_not_count(place: Path) -> None:
    run_id = log("mlp", evaluation())
    store.connect().delete_run(run_id)
    with pytest.raises(UserError, match=f"'{run_id}' is no folder, no run and no model of the MLflow store sqlite:"):
        find_scorecard(run_id)


def test_a_name_of_several_runs(place: Path) -> None:
    ids = [log("mlp", None) for _ in range(12)]
    with pytest.raises(
        UserError, match=r"'mlp' is ambiguous: run [0-9a-f]{32} \(mlp, of .* UTC\); .*; 2 more; give a"
    ) as it:
        find_scorecard("mlp")
    assert sum(run_id in str(it.value) for run_id in ids) == 10


def test_a_prefix_of_several_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_scorecards, "RUN_ID", re.compile("[0-9a-f]{1,32}"))
    ids = [log(f"run {number}", None) for number in range(17)]  # two of them begin with the same digit
    digit, count = Counter(run_id[0] for run_id in ids).most_common(1)[0]
    with pytest.raises(UserError, match=f"'{digit}' is ambiguous: run {digit}.*; give a run's whole id") as it:
        find_scorecard(digit)
    assert sum(run_id in str(it.value) for run_id in ids) == count


def test_a_store_that_goes_away(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MlflowException("connection\nrefused")

    monkeypatch.setattr(MlflowClient, "search_runs", fail)
    with pytest.raises(UserError, match=r"'mlp' cannot be looked up in the MLflow store sqlite:.*: connection refused"):
        find_scorecard("mlp")


def test_models(place: Path) -> None:
    first, second = evaluation(), evaluation(seed=1)
    one, two = log("mlp", first), log("dcgan", second)
    register("gan-digits", one, first)
    register("gan-digits", two, second, alias="candidate")
    for reference in ("gan-digits", "gan-digits@champion", "gan-digits/1", "models:/gan-digits/1"):
        found = find_scorecard(reference)
        assert same(found, first)
        assert (found.name, found.run_id) == ("gan-digits/1", one)
    assert same(find_scorecard("gan-digits@candidate"), second)
    with pytest.raises(
        UserError, match="gan-digits has no alias 'winner'; it has gan-digits@candidate, gan-digits@champion"
    ):
        find_scorecard("gan-digits@winner")
    with pytest.raises(UserError, match="gan-digits has no version '7'"):
        find_scorecard("gan-digits/7")
    with pytest.raises(UserError, match="'boots@champion' is no folder, no run and no model"):
        find_scorecard("boots@champion")
    log("gan-digits", first)
    with pytest.raises(
        UserError, match=r"'gan-digits' is ambiguous: run .*; model gan-digits; give a run's whole id, or NAME/"
    ):
        find_scorecard("gan-digits")


def test_the_scorecard_of_a_version_is_about_its_generator(place: Path) -> None:
    run_id = log("mlp", evaluation(seed=1))
    register("gan-digits", run_id, evaluation(seed=2))
    with pytest.raises(
        UserError,
        match=f"the scorecard of run {run_id} scores generator 000100010001, and gan-digits/1 is 000200020002;",
    ):
        find_scorecard("gan-digits")
    register("gan-other", None, evaluation())
    with pytest.raises(UserError, match="gan-other/1 was registered without an MLflow run"):
        find_scorecard("gan-other")


def test_a_run_that_was_not_evaluated(place: Path) -> None:
    run_id = log("mlp", None)
    with pytest.raises(
        UserError, match=rf"run {run_id} \(run mlp\) has no evaluation/scorecard.json.*`dvc repro evaluate`"
    ):
        find_scorecard("mlp")
    (save(evaluation(), place / "old") / "bootstrap.csv").unlink()
    store.connect().log_artifacts(run_id, "old", "evaluation")
    with pytest.raises(UserError, match=r"has no evaluation/bootstrap.csv: .* older version of this project"):
        find_scorecard("mlp")


def test_a_corrupt_artifact_names_its_run(place: Path) -> None:
    run_id = log("mlp", evaluation())
    (place / "mlruns/artifacts/digits" / run_id / "artifacts/evaluation/scorecard.json").write_text(
        "{", encoding="utf-8"
    )
    with pytest.raises(UserError, match=f"evaluation/scorecard.json of run {run_id} is corrupt: Expecting"):
        find_scorecard("mlp")


@pytest.mark.parametrize("name", ["scorecard.json", "bootstrap.csv"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    folder = save(evaluation(), tmp_path)
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing; create it with `dvc repro evaluate`"):
        read_scorecard(folder, "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": None}, "corrupt: samples: Input should be a valid integer; recreate it with `dvc repro --force"),
        ({"generated": {"precision": 0.5}}, r"corrupt: generated\.precision: Input should be"),
        ({"generated": {"beauty": {"value": 1, "low": 1, "high": 1}}}, r"generated\.beauty is not a number that this"),
        ({"real": {"recall": {"value": 1, "low": float("nan"), "high": 1}}}, r"real\.recall is not finite"),
    ],
)
def test_wrong_json(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = save(evaluation(), tmp_path) / "scorecard.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_scorecard(tmp_path, "it")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe\x00", b'{"generated": {'])
def test_no_scorecard_at_all(tmp_path: Path, content: bytes) -> None:
    (save(evaluation(), tmp_path) / "scorecard.json").write_bytes(content)
    with pytest.raises(UserError, match=r"scorecard\.json is corrupt: "):
        read_scorecard(tmp_path, "it")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("precision,", "", r"its columns are not the numbers of scorecard\.json"),
        ("precision", "beauty", r"its columns are not the numbers of scorecard\.json: beauty, precision"),
        ("precision", "coverage", r"its columns are not the numbers of scorecard\.json: coverage\.1, precision"),
        ("LAST\n", "", "it has 999 rows, but scorecard.json says 1000 resamples"),
        ("LAST", "1,2,3,4", "gaps, NaN or infinity in kernel_classifier_distance"),
        ("LAST", "1,2,nan,4,5", "gaps, NaN or infinity in precision"),
        ("LAST", "1,2,inf,4,5", "gaps, NaN or infinity in precision"),
        ("LAST", "1,2,boots,4,5", r"bootstrap\.csv is corrupt: .*boots"),
        ("LAST", "1,2,3,4,5,6", r"bootstrap\.csv is corrupt: "),
    ],
)
def test_wrong_csv(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = save(evaluation(), tmp_path) / "bootstrap.csv"
    text = path.read_text(encoding="utf-8")
    last = text.splitlines()[-1]
    path.write_text(text.replace(old.replace("LAST", last), new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_scorecard(tmp_path, "it")


def test_an_empty_csv(tmp_path: Path) -> None:
    (save(evaluation(), tmp_path) / "bootstrap.csv").write_bytes(b"")
    with pytest.raises(UserError, match=r"bootstrap\.csv is corrupt: No columns"):
        read_scorecard(tmp_path, "it")


def test_without_resamples_the_files_are_sound(tmp_path: Path) -> None:
    assert find_scorecard(str(save(evaluation(resamples=0), tmp_path))).card.resamples == 0


def test_a_dead_server_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"the MLflow store http://127\.0\.0\.1:9 cannot be reached"):
        find_scorecard("gan-digits")
