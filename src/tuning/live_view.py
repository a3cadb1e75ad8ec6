"""The view of a running study: a live table at a terminal, plain lines in a log."""

import sys
import time
from types import TracebackType
from typing import Self

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .report import objectives_text, state_counts, state_name
from .retries import REASON, next_attempts
from .study import best_trials, finished
from .trial import Status

LINE_SECONDS = 60.0
"""Shortest interval between two lines about running trials, without a terminal."""
REFRESH_SECONDS = 2.0
"""Shortest interval between two queries of the study, which may have workers on other machines."""


class LiveView:
    """Counts of trials by state, the best one, the remaining time, and a bar for each worker."""

    def __init__(self, study: optuna.Study, target: int, workers: int, deadline: float) -> None:
        self.study, self.target, self.workers, self.deadline = study, target, workers, deadline
        self.live = sys.stdout.isatty()
        self.running: dict[int, Status] = {}
        self.started = self.refreshed = self.printed = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
        self.bars = Progress(*columns, console=Console(), disable=not self.live)
        self.whole = self.bars.add_task(f"study {study.study_name}", total=target, text="")
        self.tasks = [self.bars.add_task(f"worker {index + 1}", total=1.0, text="starting") for index in range(workers)]
        self.finished_before = finished(study)

    def __enter__(self) -> Self:
        self.bars.start()
        self.refresh(now=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def tell(self, worker: int, status: Status) -> None:
        """Show the status of a worker's trial."""
        self.running[worker] = status
        self.bars.update(self.tasks[worker], completed=status.share, text=f"trial {status.trial}  {status.text}")
        self.refresh()

    def ended(self, worker: int, trial: FrozenTrial) -> None:
        """Show the result of a worker's trial; without a terminal, as a line."""
        self.running.pop(worker, None)
        self.bars.update(self.tasks[worker], completed=0.0, text="next trial")
        reason = f" ({trial.user_attrs[REASON]})" if REASON in trial.user_attrs else ""
        seconds = f", {trial.duration.total_seconds():.0f} s" if trial.duration else ""
        state = state_name(trial, next_attempts(self.study.get_trials(deepcopy=False)))
        by = f"worker {worker + 1}  " if self.workers > 1 else ""
        self._print(f"{by}trial {trial.number} {state}{reason}: {objectives_text(self.study, trial)}{seconds}")
        self.refresh(now=True)

    def say(self, text: str) -> None:
        """Print a line, above the live table."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def refresh(self, *, now: bool = False) -> None:
        """Show the state of the study and its workers, if the interval has passed."""
        clock = time.monotonic()
        if self.live and (now or clock - self.refreshed >= REFRESH_SECONDS):
            self.refreshed = clock
            self.bars.update(self.whole, completed=finished(self.study), text=self.summary())
        if not self.live and self.running and clock - self.printed >= LINE_SECONDS:
            states = (f"trial {one.trial} {one.share:.0%} {one.text}".rstrip() for one in self.running.values())
            self._print(f"running: {'; '.join(states)}")

    def summary(self) -> str:
        """Counts, the best trial, and the remaining time."""
        counts, best = state_counts(self.study), best_trials(self.study)
        parts = [f"done {counts['complete']}, " + ", ".join(f"{name} {counts[name]}" for name in SHOWN)]
        if len(self.study.directions) > 1:
            parts.append(f"Pareto front {len(best)}")
        else:
            parts.append(f"best {best[0].value:.4g} (trial {best[0].number})" if best else "no best yet")
        return "  ".join(filter(None, (*parts, self._left())))

    def _print(self, text: str) -> None:
        if not self.live:
            self.printed = time.monotonic()
            print(f"tune {finished(self.study)}/{self.target}  {text}  |  {self.summary()}", flush=True)

    def _left(self) -> str:
        """Extrapolated from the trials since the start and the share of the running ones, and limited by the deadline."""
        here = finished(self.study) - self.finished_before
        done = here + sum(one.share for one in self.running.values())
        missing, clock = self.target - self.finished_before - done, time.monotonic()
        left = min((clock - self.started) * missing / done if here else float("inf"), self.deadline - clock)
        return f"{int(left) // 60}:{int(left) % 60:02d} left" if 0 <= left < float("inf") else ""


SHOWN = ("pruned", "failed", "running")
