"""The view of a running study: a live table at a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .report import objectives_text, state_counts, state_name
from .retries import PROGRESS, REASON, SCORE, WORKER, next_attempts
from .study import best_trials, finished

LINE_SECONDS = 60.0
"""Shortest interval between two lines about running trials, without a terminal."""
REFRESH_SECONDS = 2.0
"""Shortest interval between two queries of the study, which may have workers on other machines."""


class LiveView:
    """Counts of trials by state, the best one, the remaining time, and a bar for each worker of this process."""

    def __init__(self, study: optuna.Study, target: int, workers: Sequence[str], deadline: float) -> None:
        """``workers`` are their names, which the caller may change. ``with view.bars`` shows the live table."""
        self.study, self.target, self.workers, self.deadline = study, target, workers, deadline
        self.live = sys.stdout.isatty()
        self.started = self.printed = time.monotonic()
        self.refreshed = self.progress = 0.0
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
        self.bars = Progress(*columns, console=Console(), disable=not self.live)
        self.whole = self.bars.add_task(f"study {study.study_name}", total=target, text="")
        self.tasks = [self.bars.add_task(f"worker {index + 1}", total=1.0, text="") for index in range(len(workers))]
        self.finished_before = finished(study)
        self.seen = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}

    def refresh(self, *, now: bool = False) -> bool:
        """Show the state of the study and its workers, and print a line for each trial that has ended (without a terminal).

        Unless ``now``, nothing happens within REFRESH_SECONDS. Returns whether a trial has ended since the last call.
        """
        clock = time.monotonic()
        if not now and clock - self.refreshed < REFRESH_SECONDS:
            return False
        self.refreshed, trials = clock, self.study.get_trials(deepcopy=False)
        running = {trial.user_attrs.get(WORKER, ""): trial for trial in trials if trial.state == TrialState.RUNNING}
        ended = [trial for trial in trials if trial.state.is_finished() and trial.number not in self.seen]
        self.seen |= {trial.number for trial in ended}
        self.progress = sum(map(_progress, running.values()))
        if self.live:
            self.bars.update(self.whole, completed=finished(self.study), text=self.summary())
            for task, name in zip(self.tasks, self.workers, strict=True):
                share, text = 0.0, "next trial"
                if one := running.get(name):
                    share, text = _progress(one), f"trial {one.number}  {one.user_attrs.get(SCORE, '')}"
                self.bars.update(task, completed=share, text=text)
            return bool(ended)
        for trial in ended:
            worker = trial.user_attrs.get(WORKER, "")
            by = (
                f"worker {self.workers.index(worker) + 1}  " if len(self.workers) > 1 and worker in self.workers else ""
            )
            reason = f" ({trial.user_attrs[REASON]})" if REASON in trial.user_attrs else ""
            seconds = f", {trial.duration.total_seconds():.0f} s" if trial.duration else ""
            state = state_name(trial, next_attempts(trials))
            self._print(f"{by}trial {trial.number} {state}{reason}: {objectives_text(self.study, trial)}{seconds}")
        if running and clock - self.printed >= LINE_SECONDS:
            texts = (
                f"trial {one.number} {_progress(one):.0%} {one.user_attrs.get(SCORE, '')}" for one in running.values()
            )
            self._print(f"running: {'; '.join(map(str.rstrip, texts))}")
        return bool(ended)

    def say(self, text: str) -> None:
        """Print a line, above the live table."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def summary(self) -> str:
        """Counts, the best trial, and the remaining time."""
        counts, best = state_counts(self.study), best_trials(self.study)
        parts = [
            f"done {counts['complete']}, "
            + ", ".join(f"{one} {counts[one]}" for one in ("pruned", "failed", "running"))
        ]
        if len(self.study.directions) > 1:
            parts.append(f"Pareto front {len(best)}")
        else:
            parts.append(f"best {best[0].value:.4g} (trial {best[0].number})" if best else "no best yet")
        return "  ".join(filter(None, (*parts, self._left())))

    def _print(self, text: str) -> None:
        self.printed = time.monotonic()
        print(f"tune {finished(self.study)}/{self.target}  {text}  |  {self.summary()}", flush=True)

    def _left(self) -> str:
        """Extrapolated from the trials since the start and the progress of running ones, and limited by the deadline."""
        here, clock = finished(self.study) - self.finished_before, time.monotonic()
        done = here + self.progress
        missing = self.target - self.finished_before - done
        left = min((clock - self.started) * missing / done if here else float("inf"), self.deadline - clock)
        return f"{int(left) // 60}:{int(left) % 60:02d} left" if 0 <= left < float("inf") else ""


def _progress(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get(PROGRESS, 0.0))
