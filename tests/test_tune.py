import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState
from torch import nn

from src import download, prepare, train_classifier, tune
from src.config.edit import write_params
from src.config.params import load_params
from src.core import paths
from src.core.errors import UserError, run_command
from src.core.interrupts import Stopped
from src.data import prepared
from src.tracking.store import connect
from src.training.loop import TrainingData, fit
from src.training.recorder import Recorder
from src.training.setup import training_data
from src.tuning import record, search, workers
from src.tuning.retries import first_number
from src.tuning.space import decoded
from src.tuning.storage import journal, open_storage
from src.tuning.study import existing_study
from src.tuning.trial import trial_params
from tests.conftest import sample_params, start, work_in

__all__ = ["digits_project", "project"]
REPOSITORY = Path(__file__).resolve().parents[1]
CHANGES = {
    **{"data.dataset": "digits", "classifier.width": 8, "classifier.feature_size": 32, "classifier.epochs": 4},
    **{
        "classifier.batch_size": 64,
        "classifier.lr": 0.004,
        "model.family": "mlp",
        "model.hidden_sizes": [32, 64],
        "model.latent_size": 8,
    },
    **{"train.device": "cpu", "train.batch_size": 32, "train.lr_generator": 0.002, "train.lr_discriminator": 0.002},
    **{"train.score_samples": 200, "tune.kimg": 1.28, "tune.score_every_kimg": 0.64},
}
SPACE = """\
  space:
    train.lr_generator: {low: 0.00001, high: 0.01, log: true}
    model.latent_size: {low: 4, high: 16}
"""


def whole_params() -> str:
    """A whole params.yaml for tiny trials, with comments."""
    text = sample_params(Path(), CHANGES).read_text(encoding="utf-8")
    text = re.sub(r"(lr_generator: 0.002).*", r"\1  # at the rate", text, count=1)
    return text[: text.index("  space:")] + SPACE


@pytest.fixture(scope="session")
def digits_project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Params, the prepared digits, a classifier and an empty store, to be copied."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(empty_store, folder / "mlruns")
    with pytest.MonkeyPatch.context() as patch:
        work_in(folder, patch)
        paths.PARAMS.write_text(whole_params())
        for stage in (download, prepare, train_classifier):
            stage.main([])
    return folder


@pytest.fixture
def project(digits_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(digits_project, tmp_path, dirs_exist_ok=True)
    (tmp_path / "src").symlink_to(REPOSITORY / "src")  # a checkpoint belongs to the code that made it
    work_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plots, which take more time than the trials of most tests here; tests/tuning has their own."""
    monkeypatch.setattr(record, "save_plots", lambda study, folder: [])


def study() -> Any:
    return existing_study(load_params().tune.study, open_storage(None))


def stored_runs() -> tuple[Run, list[Run]]:
    """The only parent, and its children by trial number."""
    client = connect()
    experiment = client.get_experiment_by_name("digits tuning")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = sorted((run for run in runs if run is not parent), key=lambda run: int(run.data.tags["trial"]))
    assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent.info.run_id}
    return parent, children


def judged_by(judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_judge(params: Any, data: prepared.PreparedData) -> TrainingData:
        return replace(training_data(params, data), judge=judge)

    monkeypatch.setattr(workers, "training_data", with_judge)


def test_trials_are_added_to_one_study_and_one_parent_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune.main(["--trials", "2"])
    output = capsys.readouterr().out
    first, second = study().trials
    assert first.params == {"train.lr_generator": 0.002, "model.latent_size": 8}
    assert "tune 1/2  trial 0 complete: score " in output
    assert "study 'default', best trials of 2:" in output
    assert "python -m src.tune --apply" in output

    params, data = load_params(), prepared.load(paths.PREPARED)
    length = {"train.kimg": 1.28, "train.score_every_kimg": 0.64}
    for trial in (first, second):
        alone = fit(params.replace({**trial.params, **length}), training_data(params, data), Recorder())
        assert alone.best["score"] == trial.value

    parent, children = stored_runs()
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 3
    assert [run.data.metrics["best.score"] for run in children] == [first.value, second.value]
    assert parent.data.metrics["best_score"] == min(first.value, second.value)

    tune.main(["--trials", "2"])
    assert "study 'default' already has 2 finished trials; --trials is the total number" in capsys.readouterr().out
    tune.main(["--trials", "3"])
    again, children = stored_runs()
    assert again.info.run_id == parent.info.run_id
    assert again.data.tags["trials"] == "3"
    assert len(children) == len(study().trials) == 3
    assert len({str(trial.params) for trial in study().trials}) == 3


def test_other_base_parameters_are_refused_before_anything_runs(project: Path, plain: None) -> None:
    tune.main(["--trials", "1"])
    write_params({"train.batch_size": 64})
    with pytest.raises(UserError, match=r"created with train\.batch_size 32 \(now 64\)"):
        tune.main(["--trials", "1"])
    parent, children = stored_runs()
    assert (parent.info.status, len(children)) == ("FINISHED", 1)


def test_values_outside_the_space_are_not_tried(project: Path, plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    write_params({"model.latent_size": 32})
    tune.main(["--trials", "1"])
    assert "are not tried, since they are outside tune.space: model.latent_size 32\n" in capsys.readouterr().out
    assert study().trials[0].params["model.latent_size"] <= 16


def test_apply_changes_the_best_trials_values_and_nothing_else(
    project: Path, plain: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wants_slow(generator: nn.Module) -> Mapping[str, float]:
        raise AssertionError

    text = Path("params.yaml").read_text()
    tune.main(["--trials", "1", "--apply"])
    assert "params.yaml already has the values of trial 0, the best one" in capsys.readouterr().out
    assert Path("params.yaml").read_text() == text

    made = study()
    made.enqueue_trial({"train.lr_generator": 3e-5, "model.latent_size": 8})
    judged_by(lambda generator: {"score": 1e-3, "coverage": 1.0}, monkeypatch)
    tune.main(["--trials", "2"])
    capsys.readouterr()
    judged_by(wants_slow, monkeypatch)
    tune.main(["--apply"])
    assert capsys.readouterr().out == (
        "params.yaml now has the values of trial 1, the best one:\n"
        "-  lr_generator: 0.002  # at the rate\n+  lr_generator: 3e-05  # at the rate\n"
        "train, evaluate and register with them: dvc repro\n"
    )
    assert load_params().train.lr_generator == 3e-5
    changed = [
        line
        for line, before in zip(Path("params.yaml").read_text().splitlines(), text.splitlines(), strict=True)
        if line != before
    ]
    assert changed == ["  lr_generator: 3e-05  # at the rate"]
    tune.main(["--trials", "0", "--apply"])
    assert "already" in capsys.readouterr().out
    tune.main(["--apply", "--trial", "0"])
    assert Path("params.yaml").read_text() == text


def test_apply_needs_a_finished_trial(project: Path, plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by(lambda generator: {"score": float("nan"), "coverage": 0.0}, monkeypatch)
    with pytest.raises(UserError, match="has no finished trial within its constraints to apply"):
        tune.main(["--trials", "1", "--apply"])
    parent, (child,) = stored_runs()
    assert (parent.info.status, child.info.status) == ("FINISHED", "KILLED")
    (trial,) = study().trials
    assert trial.state == TrialState.PRUNED
    assert trial.user_attrs["reason"].startswith("diverged: ")


@pytest.mark.parametrize("arguments", [["--trials", "0"], ["--trials", "-1", "--confirm-top", "1"], ["--timeout", "0"]])
def test_numbers_outside_their_range_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(lambda: tune.main(arguments))
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {' '.join(arguments[:2])} is not allowed: it must be at least 1")


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [(paths.PREPARED, r"prepared/dataset\.safetensors is missing"), (paths.CLASSIFIER, r"classifier\.json is missing")],
)
def test_missing_inputs_are_named(project: Path, missing: Path, sentence: str) -> None:
    shutil.rmtree(missing)
    with pytest.raises(UserError, match=sentence):
        tune.main(["--trials", "1"])


def test_a_stopped_search_ends_the_trial_in_both_stores_and_enqueues_it_again(
    project: Path, plain: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(generator: nn.Module) -> Mapping[str, float]:
        raise Stopped(signal.SIGINT)

    judged_by(stopped, monkeypatch)
    with pytest.raises(SystemExit) as end:
        run_command(lambda: tune.main(["--trials", "2"]))
    assert end.value.code == 130
    output, errors = capsys.readouterr()
    assert errors.strip() == "stopped by Ctrl-C"
    _is_queued_again(output)


def _is_queued_again(output: str) -> None:
    assert "study 'default': no finished trials yet" in output
    failed, waiting = study().trials
    assert (failed.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)
    parent, (child,) = stored_runs()
    assert (parent.info.status, child.info.status) == ("KILLED", "KILLED")


@pytest.mark.slow
def test_ctrl_c_ends_the_search(project: Path) -> None:
    write_params({"tune.kimg": 10_000})
    command = [sys.executable, "-m", "src.tune", "--trials", "2"]
    running = start(command, {**environment(), "PYTHONFAULTHANDLER": "1"})
    try:
        limit = time.monotonic() + 60
        while not (journal().exists() and 'mlflow_run_id":' in journal().read_text().partition('"worker"')[2]):
            assert running.poll() is None, running.communicate()[1]
            assert time.monotonic() < limit
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGABRT)  # shows where it hangs
        pytest.fail(running.communicate()[1])
    finally:
        running.kill()
    assert (running.returncode, errors.strip()) == (130, "stopped by Ctrl-C")
    _is_queued_again(output)


@pytest.mark.slow
def test_workers_share_a_study_and_one_that_is_killed_is_replaced(project: Path) -> None:
    write_params({"tune.kimg": 12.8, "tune.score_every_kimg": 6.4})
    command = [sys.executable, "-m", "src.tune", "--trials", "4", "--workers", "2"]
    running = start(command, environment())
    try:
        limit, killed = time.monotonic() + 120, 0
        while not killed:
            assert time.monotonic() < limit
            assert running.poll() is None, running.communicate()
            time.sleep(0.2)
            if not journal().exists() or 'intermediate_value":' not in journal().read_text():
                continue
            under_way = [one for one in study().trials if one.state == TrialState.RUNNING and one.intermediate_values]
            children = worker_processes(running.pid)
            if under_way and len(children) == 2:
                killed = children[0]
                os.kill(killed, signal.SIGKILL)
        output, errors = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 0, errors
    assert "ended by SIGKILL; it is replaced" in output
    states = [one.state for one in study().trials]
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 4
    assert states.count(TrialState.RUNNING) == states.count(TrialState.WAITING) == 0
    finished = [one for one in study().trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    parent, children_runs = stored_runs()
    assert sorted(run.info.run_id for run in children_runs) == sorted(
        one.user_attrs["mlflow_run_id"] for one in finished
    )
    assert {run.info.status for run in children_runs} <= {"FINISHED", "KILLED"}
    assert parent.info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "number"), [(1, 2), (2, 3)])
def test_a_killed_search_is_resumed_by_the_same_command(project: Path, workers: int, number: int) -> None:
    write_params({"tune.kimg": 25.6, "tune.score_every_kimg": 6.4})
    write_params({"train.checkpoint_minutes": 0.005})
    command = [sys.executable, "-m", "src.tune", "--trials", str(number), "--workers", str(workers)]
    killed = start(command, environment())
    try:
        limit = time.monotonic() + 120
        while not any(len(one.intermediate_values) >= 2 for one in trials_so_far() if one.state == TrialState.RUNNING):
            assert time.monotonic() < limit
            assert killed.poll() is None, killed.communicate()
            time.sleep(0.1)
        orphans = worker_processes(killed.pid)
        killed.kill()
        killed.wait()
        while any(Path(f"/proc/{pid}").exists() for pid in orphans):  # they save themselves, and end
            assert time.monotonic() < limit
            time.sleep(0.1)
    finally:
        killed.kill()
        killed.communicate()
    finished = [one.number for one in study().trials if one.state.is_finished() and one.state != TrialState.FAIL]

    again = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    if workers == 1:
        assert "was interrupted when its worker died: it resumes from its checkpoint" in again.stdout
    trials = study().trials
    done = [one for one in trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(done) == len({first_number(one) for one in done}) == number
    assert {one.number for one in done} >= set(finished)
    assert {one.state for one in trials} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    retried = [one for one in done if first_number(one) != one.number]
    _, children = stored_runs()
    runs = {run.info.run_id: run for run in children}
    assert sorted(runs) == sorted(one.user_attrs["mlflow_run_id"] for one in done)
    assert retried
    for one in retried:
        assert any(tag.startswith("resumed.") for tag in runs[one.user_attrs["mlflow_run_id"]].data.tags)
    params, data = load_params(), prepared.load(paths.PREPARED)
    for one in (one for one in retried if one.state == TrialState.COMPLETE):  # the same as if nobody had killed it
        alone = fit(trial_params(params, decoded(one.params)), training_data(params, data), Recorder())
        assert one.value == alone.best["score"]
    assert list(Path("models/checkpoints/trials/default").iterdir()) == []
    assert list(Path("mlruns/workers").iterdir()) == []


def environment() -> dict[str, str]:
    """That of a command with the code of this repository, on one thread."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def trials_so_far() -> list[optuna.trial.FrozenTrial]:
    """Those of the study, if there is one yet."""
    storage = open_storage(None)
    names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    return list(study().trials) if names else []


def worker_processes(leader: int) -> list[int]:
    """The process ids of a leader's workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, stat = (path / "cmdline").read_bytes(), (path / "stat").read_text()
        except OSError:
            continue
        if b"spawn_main" in command and int(stat.rpartition(")")[2].split()[1]) == leader:
            found.append(int(path.name))
    return found


def files() -> dict[str, int]:
    """The files of the project and the time of their last change."""
    return {
        str(path): path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.parametrize(
    "arguments", [["status"], ["best"], ["show", "0"], ["prune-stale"], ["--apply"], ["--confirm-top", "1"]]
)
def test_what_needs_a_study_writes_nothing_without_one(project: Path, arguments: list[str]) -> None:
    before = files()
    with pytest.raises(UserError, match=r"there is no study named 'default' \(existing studies: none\)"):
        tune.main(arguments)
    assert files() == before


def test_the_commands_answer_and_write_nothing(project: Path, plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    tune.main(["--trials", "2"])
    capsys.readouterr()
    before = files()
    tune.main(["status"])
    assert capsys.readouterr().out.startswith(
        "study 'default': 2 complete, 0 pruned, 0 failed, 0 interrupted, 0 running, 0 waiting\n"
    )
    tune.main(["best"])
    assert "best trials of 2" in capsys.readouterr().out
    tune.main(["show", "1"])
    output = capsys.readouterr().out
    assert output.startswith("number: 1\nstate: complete\nscore: ")
    assert "score at score 2: " in output
    assert f"-S 'train.lr_generator={study().trials[1].params['train.lr_generator']}'" in output
    tune.main(["prune-stale"])
    assert capsys.readouterr().out.endswith("trials of dead workers: none\n")
    with pytest.raises(UserError, match="has no trial 7; it has 0 to 1"):
        tune.main(["show", "7"])
    Path("mlruns/optuna.claims").unlink()  # the lock of prune-stale
    before.pop("mlruns/optuna.claims")
    assert files() == before


def test_a_dry_run_shows_space_and_cost_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files()
    tune.main(["--dry-run", "--workers", "2"])
    assert files() == before
    output = capsys.readouterr().out
    assert "train.lr_generator" in output
    assert "a trial: 1,280 images, " in output
    assert "20 trials with 2 workers" in output


def test_several_objectives_give_a_front_and_no_pruning(
    project: Path, plain: None, capsys: pytest.CaptureFixture[str]
) -> None:
    names = "frechet_classifier_distance,seconds_per_kimg"
    tune.main(["--study", "two", "--objectives", names, "--trials", "3"])
    output = capsys.readouterr().out
    assert "pruner: none, since Optuna prunes by a single objective that is measured during training" in output
    made = existing_study("two", open_storage(None))
    assert [direction.name for direction in made.directions] == ["MINIMIZE", "MINIMIZE"]
    assert [len(trial.values) for trial in made.trials] == [2, 2, 2]
    for values in ([0.0, 1e9], [1e9, 0.0]):
        made.add_trial(optuna.create_trial(values=values))
    with pytest.raises(UserError, match=r"the Pareto front consists of trials .*: choose one with --apply --trial N"):
        tune.main(["--study", "two", "--objectives", names, "--apply"])


def test_a_confirmation_runs_no_new_trials(project: Path, plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    tune.main(["--trials", "1"])
    tune.main(["--confirm-top", "1", "--seeds", "1"])
    assert "confirming trials 0 with 1 other seeds each" in capsys.readouterr().out
    assert len([one for one in study().trials if one.state != TrialState.WAITING]) == 1


def test_an_incomplete_confirmation_is_not_applied(
    project: Path, plain: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tune.main(["--trials", "2"])
    monkeypatch.setattr(search, "lead", lambda *arguments: None)  # the timeout is reached before the first run
    tune.main(["--confirm-top", "2", "--seeds", "1"])
    output = capsys.readouterr().out
    assert "0 of 2 runs are finished; the same command resumes the confirmation" in output
    with pytest.raises(
        UserError, match="no values are applied, since the confirmation of the study's trials is incomplete"
    ):
        tune.main(["--confirm-top", "2", "--seeds", "1", "--apply"])
    tune.main(["--apply"])
    assert "over several seeds" not in capsys.readouterr().out


def test_the_search_continues_without_mlflow(
    project: Path, plain: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: object) -> None:
        raise MlflowException("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(workers, "record_progress", away)
        tune.main(["--trials", "2"])
    assert capsys.readouterr().err.count("the study's curve is not recorded yet: the server is away") == 2
    tune.main(["--trials", "3"])
    parent, _ = stored_runs()
    curve = connect().get_metric_history(parent.info.run_id, "best_score")
    assert [point.step for point in curve] == [1, 2, 3]


def test_a_confirmation_trains_the_best_again_with_other_seeds(
    project: Path, plain: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tune.main(["--trials", "2", "--confirm-top", "1", "--seeds", "2"])
    output = capsys.readouterr().out
    made = existing_study("default.confirm-1.28kimg", open_storage(None))
    assert {(one.params["trial"], one.params["train.seed"]) for one in made.trials} >= {(0, 1), (0, 2)}
    values = [one.values[0] for one in made.trials if one.params["trial"] == 0]
    assert f"{sum(values) / 2:.4g}" in output
    params, data = load_params(), prepared.load(paths.PREPARED)
    length = {"train.kimg": 1.28, "train.score_every_kimg": 0.64, "train.seed": 2, "train.log_every_kimg": 0.128}
    alone = fit(params.replace(length), training_data(params, data), Recorder())
    (again,) = (one.value for one in made.trials if one.params == {"trial": 0, "train.seed": 2})
    assert again == alone.best["score"]
    tune.main(["--apply"])
    assert "the best over several seeds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "--workers 0 is not allowed: it must be at least 1"),
        (["--confirm-kimg", "0"], "--confirm-kimg 0 is not allowed: it must be above 0"),
        (["--trial", "1"], "--trial chooses the trial to apply, and requires --apply; `show N` shows one"),
        (
            ["--sampler", "grid"],
            "parameters: tune.sampler: 'grid' is not allowed: it must be tpe | gp | cmaes | random | qmc",
        ),
        (["--objectives", "beauty"], "tune.objectives: beauty is not measured in a trial; allowed are score, "),
        (["--storage", "mysql://x/y"], "--storage mysql://x/y is not allowed: it must be postgresql://"),
    ],
)
def test_wrong_options_end_with_2(
    project: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_command(lambda: tune.main(arguments))
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
