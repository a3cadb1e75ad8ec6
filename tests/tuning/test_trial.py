import time
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest
import torch
from mlflow.entities import Run
from optuna.trial import TrialState

from src.params import Params
from src.tracking.store import connect
from src.training.loop import fit
from src.training.recorder import SilentRecorder
from src.tuning import trial as trials
from src.tuning.space import distributions
from src.tuning.trial import run_trial, trial_params
from tests.tuning.conftest import scripted_judge, setting, training_data, weight_judge


def child(trial: optuna.Trial) -> Run:
    return connect().get_run(trial.user_attrs["mlflow_run_id"])


def test_a_trial_has_its_own_length_and_can_be_ended_often(params: Params) -> None:
    changed = trial_params(params, {"train.lr_generator": 0.05})
    assert (changed.train.kimg, changed.train.score_every_kimg, changed.train.lr_generator) == (0.64, 0.16, 0.05)
    assert changed.train.log_every_kimg == pytest.approx(0.032)


def test_the_score_is_that_of_the_same_training_without_optuna(study: optuna.Study, params: Params) -> None:
    trial = study.ask(distributions(params))
    score = run_trial(trial, setting(params, weight_judge, "parent"))
    alone = params.replace({**trial.params, "train.kimg": 0.64, "train.score_every_kimg": 0.16})
    assert score == fit(alone, training_data(weight_judge), SilentRecorder()).best["score"]


def test_a_finished_trial_is_a_child_run_with_its_values_scores_and_grid(study: optuna.Study, params: Params) -> None:
    trial = study.ask(distributions(params))
    assert run_trial(trial, setting(params, scripted_judge(4.0, 2.0, 3.0, 5.0), "parent")) == 2.0
    run = child(trial)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "default 000"
    tags = {"mlflow.parentRunId": "parent", "trial": "0", "study": "default", "seed": "0"}
    assert tags.items() <= run.data.tags.items()
    assert run.data.params["model.latent_size"] == str(trial.params["model.latent_size"])
    assert run.data.params["train.kimg"] == "0.64"
    history = connect().get_metric_history(run.info.run_id, "validation.score")
    assert [(entry.step, entry.value) for entry in history] == [(5, 4.0), (10, 2.0), (15, 3.0), (20, 5.0)]
    assert (run.data.metrics["best.score"], run.data.metrics["best.step"]) == (2.0, 10.0)
    assert [Path(file.path).suffix for file in connect().list_artifacts(run.info.run_id, "images")].count(".png") == 1


def test_scores_are_reported_by_thousand_images_and_always_one_up(study: optuna.Study, params: Params) -> None:
    params = params.replace({"tune.kimg": 3.2, "tune.score_every_kimg": 0.8})
    trial = study.ask(distributions(params))
    run_trial(trial, setting(params, scripted_judge(4.0, 3.0, 2.0, 1.0), "parent"))
    assert study.trials[0].intermediate_values == {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}


def test_a_trial_below_the_median_is_pruned_and_its_run_killed(study: optuna.Study, params: Params) -> None:
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1)
    good = study.ask(distributions(params))
    study.tell(good, run_trial(good, setting(params, scripted_judge(5.0, 4.0, 3.0, 2.0), "parent")))
    bad = study.ask(distributions(params))
    with pytest.raises(optuna.TrialPruned, match="worse than the median"):
        run_trial(bad, setting(params, scripted_judge(9.0, 9.0), "parent"))
    assert study.trials[1].intermediate_values == {0: 9.0, 1: 9.0}  # not at the first score: it is warming up
    assert child(bad).info.status == "KILLED"
    assert child(bad).data.tags["stopped"] == bad.user_attrs["reason"] == "worse than the median of the earlier trials"


def test_a_trial_that_is_through_is_not_pruned(study: optuna.Study, params: Params) -> None:
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3)
    for scores in ((5.0, 4.0, 3.0, 2.0), (9.0, 9.0, 9.0, 9.0)):
        trial = study.ask(distributions(params))
        study.tell(trial, run_trial(trial, setting(params, scripted_judge(*scores), "parent")))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_a_diverged_trial_is_pruned_with_its_reason(study: optuna.Study, params: Params) -> None:
    trial = study.ask(distributions(params))
    with pytest.raises(optuna.TrialPruned):
        run_trial(trial, setting(params, scripted_judge(9.0, float("nan")), "parent"))
    assert trial.user_attrs["reason"] == "diverged: the validation score is nan at step 10 of 20"
    assert (child(trial).info.status, child(trial).data.tags["stopped"]) == ("KILLED", trial.user_attrs["reason"])


def test_too_little_memory_prunes_too(study: optuna.Study, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    monkeypatch.setattr(trials, "fit", full)
    trial = study.ask(distributions(params))
    with pytest.raises(optuna.TrialPruned, match=r"^out of memory: CUDA out of memory\. Tried to allocate 9 GiB$"):
        run_trial(trial, setting(params, weight_judge, "parent"))


def test_the_clock_ends_a_trial_between_two_scores(study: optuna.Study, params: Params) -> None:
    trial = study.ask(distributions(params))
    judged: list[float] = []

    def slow(generator: torch.nn.Module) -> Mapping[str, float]:
        judged.append(1.0)
        time.sleep(0.5)
        return {"score": 1.0, "coverage": 0.5}

    with pytest.raises(optuna.TrialPruned, match=r"^timeout$"):
        run_trial(trial, setting(params, slow, "parent", seconds=0.4))
    assert len(judged) <= 1
    assert trial.user_attrs["reason"] == "timeout"
    assert child(trial).info.status == "KILLED"


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "KILLED"), (RuntimeError("disk"), "FAILED")])
def test_other_ends_are_passed_on(study: optuna.Study, params: Params, error: BaseException, status: str) -> None:
    def broken(generator: torch.nn.Module) -> Mapping[str, float]:
        raise error

    trial = study.ask(distributions(params))
    with pytest.raises(type(error)):
        run_trial(trial, setting(params, broken, "parent"))
    assert child(trial).info.status == status
