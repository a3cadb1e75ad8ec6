import json
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch
from optuna.storages import BaseStorage

from src.config.params import Params
from src.tracking.store import connect
from src.tuning.record import record_progress, record_study, study_run
from src.tuning.report import best_table, print_best, print_trial, trials_table
from src.tuning.retries import THREADS
from tests.tuning.conftest import ask, fill


def test_the_table_has_a_row_a_trial(study: optuna.Study, params: Params) -> None:
    assert trials_table(study).empty
    ask(study, params)
    assert list(trials_table(study)["state"]) == ["running"]
    fill(study, params, [3.0, None])
    table = trials_table(study)
    assert list(table["number"]) == [0, 1, 2]
    assert list(table["state"]) == ["running", "complete", "pruned"]
    assert list(table["score"])[1:] == [3.0, 0.5]
    assert {"train.lr_generator", "model.latent_size", "seconds", "started"} <= set(table.columns)


def test_the_best_come_first_and_pruned_ones_last(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    print_best(study)
    assert capsys.readouterr().out == "study 'default': no finished trials yet\n"
    fill(study, params, [3.0, None, 1.0, 2.0])
    ask(study, params)
    assert list(best_table(study)["number"]) == [2, 3, 0, 1]
    print_best(study)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study 'default', best trials of 4:"
    columns = ["number", "state", "score", "train.lr_generator", "model.latent_size", "seconds"]
    assert lines[1].split() == columns
    assert lines[2].split()[:3] == ["2", "complete", "1"]
    fill(study, params, [float(score) for score in range(10, 20)])
    assert list(best_table(study)["score"])[:4] == [1.0, 2.0, 3.0, 10.0]
    assert len(best_table(study)) == 10


def test_a_trial_is_shown_with_the_command_that_trains_it_again(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(study, params, [3.0])
    print_trial(study, study.trials[0])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("dvc exp run train -S 'model.family=mlp' -S 'model.conditioning=projection'")
    assert "-S 'model.hidden_sizes=[16]'" in line
    assert line.endswith("-S 'train.kimg=0.64' -S 'train.score_every_kimg=0.16'")
    trial = ask(study, params)
    trial.set_user_attr(THREADS, torch.get_num_threads() + 2)
    study.tell(trial, 2.0)
    print_trial(study, study.trials[1])
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"OMP_NUM_THREADS={torch.get_num_threads() + 2} dvc exp run train -S ")


def test_the_studys_run_holds_best_values_table_and_plots(
    study: optuna.Study, storage: BaseStorage, params: Params, tmp_path: Path
) -> None:
    fill(study, params, [3.0, None, 1.0])
    with study_run(study, storage, params, "tiny tuning", {}) as run:
        record_progress(run, study, storage)
        record_study(run, study)
    fill(study, params, [2.0])
    with study_run(study, storage, params, "tiny tuning", {}) as again:
        assert again.run_id == run.run_id
        record_progress(again, study, storage)
        record_progress(again, study, storage)
    client = connect()
    names = {file.path for place in (None, "plots") for file in client.list_artifacts(run.run_id, place)}
    assert {"trials.csv", "plots/history.png", "plots/importances.png", "plots/plots.html"} <= names
    table = pd.read_csv(client.download_artifacts(run.run_id, "trials.csv", str(tmp_path)))
    assert list(table["score"]) == [3.0, 0.5, 1.0]
    stored = client.get_run(run.run_id).data
    assert (stored.tags["best.trial"], stored.tags["best.score"], stored.tags["trials"]) == ("2", "1.0", "3")
    assert float(stored.tags["best.train.lr_generator"]) == study.trials[2].params["train.lr_generator"]
    assert (stored.params["tune.sampler"], stored.params["tune.objectives"]) == ("tpe", "score")
    note = stored.tags["mlflow.note.content"].splitlines()
    assert note[0] == "2 complete, 1 pruned, 0 failed, 0 interrupted, 0 running, 0 waiting."
    assert note[4].startswith("| number | state | score | train.lr_generator | model.latent_size |")
    assert note[6].startswith("| 2 | complete | 1 | ")
    assert json.loads(stored.tags["tune.space"])["model.latent_size"] == {"low": 2, "high": 8}
    curve = [(entry.step, entry.value) for entry in client.get_metric_history(run.run_id, "best_score")]
    assert curve == [(1, 3.0), (2, 3.0), (3, 1.0), (4, 1.0)]
