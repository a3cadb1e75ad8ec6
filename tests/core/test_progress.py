import io
import sys
import time

import pytest

from src.core.progress import ProgressLine, transfer_progress
from src.training.console import ConsoleRecorder
from src.training.recorder import Progress


def test_a_log_gets_plain_lines_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    with ProgressLine("train", 600, "kimg") as line:
        for seconds, done in ((3, 10), (9, 30), (12, 40), (15, 50), (90, 300)):
            clock[0] = 100.0 + seconds
            line.update(done, f"loss {done}")
        line.update(600, "end", now=True)
    assert capsys.readouterr().out.splitlines() == [
        "train 40/600 kimg (7%)  loss 40  2:48 left",
        "train 300/600 kimg (50%)  loss 300  1:30 left",
        "train 600/600 kimg (100%)  end  0:00 left",
    ]


def test_the_start_has_no_time_left_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("train", 2.5, "kimg") as line:
        line.update(0, "start", now=True)
    assert capsys.readouterr().out == "train 0/2.5 kimg (0%)  start  0:00 left\n"


def test_a_trainings_losses_and_scores_are_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("gan", 6, "kimg") as line:
        recorder = ConsoleRecorder(line)
        values = {"images_per_second": 12345.6, "loss_discriminator": 1.25, "loss_generator": 0.5}
        recorder.losses(Progress(10, 60, 1000, 1.0), values)
        assert capsys.readouterr().out == ""  # the first plain line comes after ten seconds, or with a score
        recorder.scores(Progress(20, 60, 2000, 2.0), {"score": 3.14159, "coverage": 0.5})
    (printed,) = capsys.readouterr().out.splitlines()
    assert printed.startswith(
        "gan 2/6 kimg (33%)  12,346 images/s  loss D 1.250 G 0.500  validation score 3.142, coverage 0.500"
    )


def test_a_training_that_goes_on_says_so_and_counts_its_own_time_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    with ProgressLine("gan", 100, "kimg") as line:
        recorder = ConsoleRecorder(line)
        clock[0] = 200.0  # loading takes its time
        recorder.resumed(Progress(800, 1000, 80_000, 1000.0))
        clock[0] = 210.0
        recorder.scores(Progress(900, 1000, 90_000, 1010.0), {"score": 3.0, "coverage": 0.5})
        recorder.event(Progress(950, 1000, 95_000, 1015.0), "collapsed", "[bold]all alike[/bold]")
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "resuming from the checkpoint at step 800 of 1000",
        "gan 90/100 kimg (90%)    validation score 3.000, coverage 0.500  0:10 left",
        "collapsed at step 950: [bold]all alike[/bold]",
    ]


def test_a_log_gets_two_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with transfer_progress("file.gz", 2_500_000) as advance:
        advance(2_500_000)
    assert capsys.readouterr().err == "fetching file.gz, 2.5 MB\nfetched file.gz\n"


def test_a_terminal_gets_bytes_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with transfer_progress("file.gz", 2_500_000) as advance:
        advance(2_500_000)
    assert "file.gz" in terminal.getvalue()
    assert "2.5/2.5 MB" in terminal.getvalue()
