from pathlib import Path

import matplotlib
import optuna
import pandas as pd
import pytest
from matplotlib import pyplot
from PIL import Image

from src.params import Params
from src.tracking.store import connect
from src.tuning.report import best_table, print_best, record_study, save_plots, trials_table
from src.tuning.search import study_run
from src.tuning.space import distributions


def fill(study: optuna.Study, params: Params, scores: list[float | None]) -> None:
    """A trial a score; None is a pruned one, after a report of 0.5."""
    for score in scores:
        trial = study.ask(distributions(params))
        if score is None:
            trial.report(0.5, 1)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score)


def test_the_table_has_a_row_a_trial(study: optuna.Study, params: Params) -> None:
    assert trials_table(study).empty
    study.ask(distributions(params))
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
    assert capsys.readouterr().out == "study 'default': no trial has ended yet\n"
    fill(study, params, [3.0, None, 1.0, 2.0])
    study.ask(distributions(params))
    assert list(best_table(study)["number"]) == [2, 3, 0, 1]
    print_best(study)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study 'default', best trials of 4:"
    columns = ["number", "state", "score", "model.latent_size", "train.lr_generator", "seconds"]
    assert lines[1].split() == columns
    assert lines[2].split()[:3] == ["2", "complete", "1"]
    fill(study, params, [float(score) for score in range(10, 20)])
    assert list(best_table(study)["score"])[:4] == [1.0, 2.0, 3.0, 10.0]
    assert len(best_table(study)) == 10


def test_plots_leave_nothing_behind(
    study: optuna.Study, params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    style = dict(matplotlib.rcParams)
    save_plots(study, tmp_path)
    assert not list(tmp_path.glob("*.png"))
    fill(study, params, [30.0])
    save_plots(study, tmp_path)
    assert [path.name for path in tmp_path.glob("*.png")] == ["history.png"]
    assert "importances need two finished trials with different scores" in capsys.readouterr().out
    fill(study, params, [None, 1.0, 2.0])
    save_plots(study, tmp_path)
    for name in ("history.png", "importances.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
    assert pyplot.get_fignums() == []
    assert {
        name: value for name, value in matplotlib.rcParams.items() if style[name] != value and name != "backend"
    } == {}


def test_equal_scores_have_no_importances(study: optuna.Study, params: Params, tmp_path: Path) -> None:
    fill(study, params, [1.0, 1.0, 1.0])
    save_plots(study, tmp_path)
    assert [path.name for path in tmp_path.glob("*.png")] == ["history.png"]


def test_trials_from_different_spaces_can_be_plotted(study: optuna.Study, params: Params, tmp_path: Path) -> None:
    fill(study, params, [1.0, 2.0])
    other = params.replace({"tune.space": {"model.dropout": {"low": 0.0, "high": 0.5}}})
    fill(study, other, [3.0, 4.0])
    save_plots(study, tmp_path)
    assert (tmp_path / "importances.png").is_file()
    assert len(best_table(study).columns) == 7


def test_the_studys_run_holds_best_values_table_and_plots(study: optuna.Study, params: Params, tmp_path: Path) -> None:
    fill(study, params, [3.0, None, 1.0])
    with study_run(study, params, "tiny tuning", {}) as run:
        record_study(run, study)
    client = connect()
    names = {file.path for file in client.list_artifacts(run.run_id)}
    assert {"trials.csv", "history.png", "importances.png"} <= names
    table = pd.read_csv(client.download_artifacts(run.run_id, "trials.csv", str(tmp_path)))
    assert list(table["score"]) == [3.0, 0.5, 1.0]
    stored = client.get_run(run.run_id).data
    assert (stored.tags["best.trial"], stored.tags["best.score"], stored.tags["trials"]) == ("2", "1.0", "3")
    assert float(stored.tags["best.train.lr_generator"]) == study.trials[2].params["train.lr_generator"]
    assert [entry.value for entry in client.get_metric_history(run.run_id, "best_score")] == [3.0, 3.0, 1.0]
