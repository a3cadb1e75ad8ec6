import io
import math
import re
import time

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from src.config.params import Params
from src.tuning import live_view
from src.tuning.live_view import LiveView
from src.tuning.retries import INTERRUPTED, PROGRESS, REASON, SCORE, WORKER, retry_stale
from tests.tuning.conftest import ask, fill

TWO = ["first", "second"]


def running(study: optuna.Study, params: Params, worker: str, progress: float, score: str) -> None:
    """A trial of a worker."""
    trial = ask(study, params)
    for name, value in {WORKER: worker, PROGRESS: progress, SCORE: score}.items():
        trial.set_user_attr(name, value)


def test_a_log_has_a_line_for_each_trial(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(study, params, [9.0])
    view = LiveView(study, 4, TWO, math.inf)
    with view.bars:
        trial = ask(study, params)
        trial.set_user_attr(WORKER, "second")
        study.tell(trial, 3.0)
        fill(study, params, [None])
        view.started -= 60  # two trials in a minute: the fourth one takes another half
        assert view.refresh()
        assert not view.refresh(now=True)
    rest = "  |  done 2, pruned 1, failed 0, running 0  best 3 (trial 1)  0:30 left"
    assert capsys.readouterr().out.splitlines() == [
        f"tune 3/4  worker 2  trial 1 complete: score 3, 0 s{rest}",
        f"tune 3/4  trial 2 pruned: score 0.5, 0 s{rest}",
    ]


def test_a_retried_trial_is_interrupted_and_not_failed(
    study: optuna.Study, storage: BaseStorage, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    view = LiveView(study, 4, ["first"], math.inf)
    with view.bars:
        for reason in ("Ctrl-C", "RuntimeError: disk"):
            trial = ask(study, params)
            trial.set_user_attr(REASON, reason)
            trial.set_user_attr(INTERRUPTED, reason == "Ctrl-C")
            study.tell(trial, state=TrialState.FAIL)
        assert [trial.number for trial in retry_stale(study, storage)] == [0]
        view.refresh()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "tune 0/4  trial 0 interrupted (Ctrl-C): no score, 0 s  |  done 0, pruned 0, failed 1, running 0"
    )
    assert second.startswith("tune 0/4  trial 1 failed (RuntimeError: disk): no score")


def test_a_log_shows_running_trials_at_intervals(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = LiveView(study, 4, TWO, time.monotonic() + 75.5)
    with view.bars:
        running(study, params, "first", 0.5, "score 4.000")
        running(study, params, "second", 0.25, "")
        view.refresh(now=True)
        assert capsys.readouterr().out == ""
        monkeypatch.setattr(live_view, "LINE_SECONDS", 0.0)
        view.refresh()
        assert capsys.readouterr().out == ""
        view.refresh(now=True)
    line = capsys.readouterr().out
    assert line.startswith("tune 0/4  running: trial 0 50% score 4.000; trial 1 25%  |  done 0,")
    assert line.endswith("no best yet  1:15 left\n")  # until the deadline


def test_a_terminal_shows_a_bar_for_the_study_and_for_each_worker(
    study: optuna.Study, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm-256color")
    view = LiveView(study, 4, TWO, math.inf)
    with view.bars:
        fill(study, params, [3.0])
        running(study, params, "second", 0.5, "score 4.000")
        view.refresh(now=True)
        view.say("worker 1 ended by SIGKILL; it is replaced")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = shown.split("is replaced")[-1]
    assert re.search(r"study default +\S+ +done 1, pruned 0, failed 0, running 1  best 3 \(trial 0\)", last)
    assert re.search(r"worker 1 +\S+ +next trial", last)
    assert re.search(r"worker 2 +\S+ +trial 1  score 4\.000", last)
    assert "tune 1/4" not in shown  # no lines of a log


def test_a_front_has_a_size_and_no_best(params: Params) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.set_user_attr("objectives", ["score", "seconds_per_kimg"])
    for values in ([1.0, 3.0], [2.0, 2.0], [3.0, 3.0]):
        study.add_trial(optuna.create_trial(values=values))
    assert "Pareto front 2" in LiveView(study, 4, ["first"], math.inf).summary()
