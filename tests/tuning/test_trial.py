import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import torch
from mlflow.entities import Run
from optuna.trial import TrialState

from src.config.params import Params
from src.core.interrupts import Stopped
from src.tracking import runs
from src.tracking.store import connect
from src.training.loop import fit
from src.training.recorder import Recorder
from src.tuning import trial as trials
from src.tuning.retries import retry
from src.tuning.trial import Setting, TrialRun, trial_params
from tests.tuning.conftest import scripted_judge, setting, training_data, weight_judge


def run_trial(trial: optuna.Trial, setting: Setting) -> float:
    """The trial alone, without Optuna's loop; its one objective."""
    run = TrialRun(setting, lambda: None)
    try:
        (value,) = run(trial)
    finally:
        run.close(finished=False)
    return value


def child(trial: optuna.Trial) -> Run:
    return connect().get_run(trial.user_attrs["mlflow_run_id"])


def test_a_trial_has_its_own_length_and_can_be_ended_often(params: Params) -> None:
    changed = trial_params(params, {"train.lr_generator": 0.05})
    assert (changed.train.kimg, changed.train.score_every_kimg, changed.train.lr_generator) == (0.64, 0.16, 0.05)
    assert changed.train.log_every_kimg == pytest.approx(0.032)


def test_the_score_is_that_of_the_same_training_without_optuna(study: optuna.Study, params: Params) -> None:
    trial = study.ask()
    score = run_trial(trial, setting(params, weight_judge, "parent"))
    alone = params.replace({**trial.params, "train.kimg": 0.64, "train.score_every_kimg": 0.16})
    assert score == fit(alone, training_data(weight_judge), Recorder()).best["score"]


def test_a_finished_trial_is_a_child_run_with_its_values_scores_and_grid(study: optuna.Study, params: Params) -> None:
    trial = study.ask()
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


def test_scores_are_reported_by_their_number(study: optuna.Study, params: Params) -> None:
    params = params.replace({"tune.kimg": 3.2, "tune.score_every_kimg": 0.8})
    trial = study.ask()
    run_trial(trial, setting(params, scripted_judge(4.0, 3.0, 2.0, 1.0), "parent"))
    assert study.trials[0].intermediate_values == {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}


def test_a_trial_below_the_median_is_pruned_and_its_run_killed(study: optuna.Study, params: Params) -> None:
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2)
    good = study.ask()
    study.tell(good, run_trial(good, setting(params, scripted_judge(5.0, 4.0, 3.0, 2.0), "parent")))
    bad = study.ask()
    with pytest.raises(optuna.TrialPruned, match="worse than the others"):
        run_trial(bad, setting(params, scripted_judge(9.0, 9.0), "parent"))
    assert study.trials[1].intermediate_values == {1: 9.0, 2: 9.0}  # not at the first score: it is warming up
    assert child(bad).info.status == "KILLED"
    assert child(bad).data.tags["stopped"] == bad.user_attrs["reason"] == "worse than the others at this point"


def test_a_trial_that_was_killed_when_it_was_pruned_is_pruned(
    study: optuna.Study, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2)
    good = study.ask()
    study.tell(good, run_trial(good, setting(params, scripted_judge(5.0, 4.0, 3.0, 2.0), "parent")))
    bad = study.ask()
    with monkeypatch.context() as patch:
        patch.setattr(trials, "peak_memory", killed)
        with pytest.raises(KeyboardInterrupt):
            run_trial(bad, setting(params, scripted_judge(9.0, 9.0), "parent"))
    study.tell(bad, state=TrialState.FAIL)
    assert retry(study, study.trials[1])
    with pytest.raises(optuna.TrialPruned, match="worse than the others"):
        run_trial(study.ask(), setting(params, scripted_judge(), "parent"))


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_trial_is_not_pruned_at_its_last_score(study: optuna.Study, params: Params) -> None:
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=4)
    for scores in ((5.0, 4.0, 3.0, 2.0), (9.0, 9.0, 9.0, 9.0)):
        trial = study.ask()
        study.tell(trial, run_trial(trial, setting(params, scripted_judge(*scores), "parent")))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_a_diverged_trial_is_pruned_with_its_reason(study: optuna.Study, params: Params) -> None:
    trial = study.ask()
    with pytest.raises(optuna.TrialPruned):
        run_trial(trial, setting(params, scripted_judge(9.0, float("nan")), "parent"))
    assert trial.user_attrs["reason"] == "diverged: the validation score is nan at step 10 of 20"
    assert (child(trial).info.status, child(trial).data.tags["stopped"]) == ("KILLED", trial.user_attrs["reason"])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        # refused by the parameters themselves, and by the networks
        (
            {"train.loss": "wasserstein"},
            "not allowed: parameters: train.loss: wasserstein needs train.gp_weight above 0",
        ),
        (
            {"model.conditioning": "batch_norm"},
            "not allowed: model.conditioning: batch_norm is not supported by model.family mlp",
        ),
    ],
)
def test_an_invalid_combination_of_values_is_pruned(
    study: optuna.Study, params: Params, values: dict[str, str], reason: str
) -> None:
    trial, started = study.ask(), []
    together = replace(setting(params, weight_judge, "parent"), plan=lambda _: params.replace(values))
    with pytest.raises(optuna.TrialPruned, match=re.escape(reason)):
        TrialRun(together, lambda: started.append(True))(trial)
    assert started == [True]  # other workers may start their trials
    assert trial.user_attrs["reason"].startswith(reason)


def test_too_little_memory_prunes_too(study: optuna.Study, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    monkeypatch.setattr(trials, "fit", full)
    trial = study.ask()
    with pytest.raises(optuna.TrialPruned, match=r"^out of memory: CUDA out of memory\. Tried to allocate 9 GiB$"):
        run_trial(trial, setting(params, weight_judge, "parent"))


def test_a_trial_stopped_by_the_timeout_resumes_from_its_checkpoint(
    study: optuna.Study, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[float] = []

    def counted(generator: torch.nn.Module) -> Mapping[str, float]:
        judged.append(weight_judge(generator)["score"])
        return {"score": judged[-1], "coverage": 0.5}

    trial, whole = study.ask(), setting(params, counted, "parent")
    with monkeypatch.context() as patch:
        patch.setattr(trials, "time", SimpleNamespace(monotonic=lambda: len(judged)))
        with pytest.raises(Stopped, match="stopped by timeout"):
            run_trial(trial, replace(whole, job=replace(whole.job, deadline=1.0)))
    assert len(judged) == 1
    assert trial.user_attrs["reason"] == "timeout"
    assert (child(trial).info.status, child(trial).data.tags["stopped"]) == ("KILLED", "timeout")
    study.tell(trial, state=TrialState.FAIL)
    assert retry(study, study.trials[0])

    again = study.ask()
    score = run_trial(again, whole)
    assert len(judged) == 4  # nothing is repeated
    assert again.user_attrs["mlflow_run_id"] == trial.user_attrs["mlflow_run_id"]
    assert (child(again).info.status, child(again).data.tags["trial"]) == ("FINISHED", "1")
    assert "stopped" not in child(again).data.tags
    history = connect().get_metric_history(again.user_attrs["mlflow_run_id"], "validation.score")
    assert [entry.step for entry in history] == [5, 10, 15, 20]
    assert list(study.trials[1].intermediate_values) == [1, 2, 3, 4]
    alone = fit(trial_params(params, again.params), training_data(weight_judge), Recorder())
    assert score == alone.best["score"]


def test_costs_are_measured_and_constraints_reported(study: optuna.Study, params: Params) -> None:
    limits = {
        "coverage": {"at_least": 0.6},
        "generator_parameters": {"at_most": 1e6},
        "seconds_per_kimg": {"at_most": 1e6},
    }
    params = params.replace({"tune.constraints": limits})
    trial = study.ask()
    run_trial(trial, setting(params, weight_judge, "parent"))
    metrics = child(trial).data.metrics
    latent = trial.params["model.latent_size"]
    weights = (latent + 10) * 16 + 16 + 16 * 64 + 64
    assert metrics["best.generator_parameters"] == weights
    assert metrics["best.peak_memory_mib"] > 50
    assert metrics["best.seconds_per_kimg"] > 0
    constraints = study.trials[0].constraints
    assert constraints["coverage"] == pytest.approx(0.1)
    assert constraints["generator_parameters"] == weights - 1e6
    assert constraints["seconds_per_kimg"] < 0


def test_the_run_of_an_attempt_that_died_when_it_was_created_is_deleted(
    study: optuna.Study, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, whole = study.ask(), setting(params, weight_judge, "parent")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "TrainingRun", killed)
        with pytest.raises(KeyboardInterrupt):
            run_trial(trial, whole)
    client = connect()
    experiment = client.get_experiment_by_name(whole.job.experiment)
    assert experiment is not None
    (orphan,) = client.search_runs([experiment.experiment_id])
    assert {"study": "default", "trial": "0"}.items() <= orphan.data.tags.items()
    study.tell(trial, state=TrialState.FAIL)
    assert retry(study, study.trials[0])
    again = study.ask()
    run_trial(again, whole)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == again.user_attrs["mlflow_run_id"] != orphan.info.run_id
    assert client.get_run(orphan.info.run_id).info.lifecycle_stage == "deleted"


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "KILLED"), (RuntimeError("disk"), "FAILED")])
def test_other_exceptions_are_raised(study: optuna.Study, params: Params, error: BaseException, status: str) -> None:
    def broken(generator: torch.nn.Module) -> Mapping[str, float]:
        raise error

    trial = study.ask()
    with pytest.raises(type(error)):
        run_trial(trial, setting(params, broken, "parent"))
    assert child(trial).info.status == status
