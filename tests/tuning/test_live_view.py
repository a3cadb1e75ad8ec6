import io
import math
import re
import time

import optuna
import pytest
from optuna.trial import TrialState

from src.config.params import Params
from src.tuning import live_view
from src.tuning.live_view import LiveView
from src.tuning.retries import INTERRUPTED, REASON, retry
from src.tuning.trial import Status
from tests.tuning.conftest import ask, fill


class Terminal(io.StringIO):
    """What a person's terminal is to a program."""

    def isatty(self) -> bool:
        return True


def test_a_log_has_a_line_a_trial_with_counts_best_and_time_left(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(study, params, [9.0])
    with LiveView(study, 4, 2, math.inf) as view:
        fill(study, params, [3.0, None])
        view.started -= 60  # two trials in a minute: the fourth one takes another half
        view.ended(1, study.trials[1])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "tune 3/4  worker 2  trial 1 complete: score 3, 0 s  |  done 2, pruned 1, failed 0, running 0  "
        "best 3 (trial 1)  0:30 left"
    ]


def test_what_is_tried_again_is_interrupted_and_not_failed(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with LiveView(study, 4, 1, math.inf) as view:
        for reason in ("Ctrl-C", "RuntimeError: disk"):
            trial = ask(study, params)
            trial.set_user_attr(REASON, reason)
            trial.set_user_attr(INTERRUPTED, reason == "Ctrl-C")
            study.tell(trial, state=TrialState.FAIL)
        assert [retry(study, trial) for trial in study.trials] == [True, False]
        view.ended(0, study.trials[0])
        view.ended(0, study.trials[1])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "tune 0/4  trial 0 interrupted (Ctrl-C): no score, 0 s  |  done 0, pruned 0, failed 1, running 0"
    )
    assert second.startswith("tune 0/4  trial 1 failed (RuntimeError: disk): no score")


def test_a_log_is_told_now_and_then_where_running_trials_are(
    study: optuna.Study, params: Params, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with LiveView(study, 4, 2, time.monotonic() + 75.5) as view:
        view.tell(0, Status(7, 0.5, "score 4.000"))
        view.tell(1, Status(8, 0.25, ""))
        assert capsys.readouterr().out == ""  # not yet
        monkeypatch.setattr(live_view, "LINE_SECONDS", 0.0)
        view.refresh()
    line = capsys.readouterr().out
    assert line.startswith("tune 0/4  running: trial 7 50% score 4.000; trial 8 25%  |  done 0,")
    assert line.endswith("no best yet  1:15 left\n")  # until the time is up


def test_a_terminal_shows_a_bar_for_the_study_and_for_each_worker(
    study: optuna.Study, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm-256color")
    with LiveView(study, 4, 2, math.inf) as view:
        fill(study, params, [3.0])
        view.ended(0, study.trials[0])
        view.tell(1, Status(1, 0.5, "score 4.000"))
        view.say("worker 1 ended by SIGKILL; it is replaced")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    last = shown.split("is replaced")[-1]
    assert re.search(r"study default +\S+ +done 1, pruned 0, failed 0, running 0  best 3 \(trial 0\)", last)
    assert re.search(r"worker 1 +\S+ +next trial", last)
    assert re.search(r"worker 2 +\S+ +trial 1  score 4\.000", last)
    assert "tune 1/4" not in shown  # the lines of a log are not there as well


def test_a_front_has_a_size_and_no_best(params: Params) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.set_user_attr("objectives", ["score", "seconds_per_kimg"])
    for values in ([1.0, 3.0], [2.0, 2.0], [3.0, 3.0]):
        study.add_trial(optuna.create_trial(values=values))
    assert "Pareto front 2" in LiveView(study, 4, 1, math.inf).summary()
