"""What a person sees of a running study: a live table at a terminal, plain lines in a log."""

import sys
import time
from types import TracebackType
from typing import Self

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from .report import objectives_text, state_counts, state_name
from .retries import REASON, next_attempts
from .scheduling import FINISHED
from .study import best_trials
from .trial import News

LINE_SECONDS = 60.0
"""Where there is no terminal, the running trials are shown at most this often."""
LOOK_SECONDS = 2.0
"""The study is asked at most this often: trials of other machines count too."""


class Board:
    """Trials done, pruned, failed and running, the best so far, the time left, and a bar for each worker."""

    def __init__(self, study: optuna.Study, target: int, workers: int, deadline: float) -> None:
        self.study, self.target, self.workers, self.deadline = study, target, workers, deadline
        self.live = sys.stdout.isatty()
        self.news: dict[int, News] = {}
        self.began = self.looked = self.said = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
        self.bars = Progress(*columns, console=Console(), disable=not self.live)
        self.whole = self.bars.add_task(f"study {study.study_name}", total=target, text="")
        self.tasks = [self.bars.add_task(f"worker {index + 1}", total=1.0, text="starts") for index in range(workers)]
        self.finished_before = self._count(*FINISHED)

    def __enter__(self) -> Self:
        self.bars.start()
        self.look(now=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def tell(self, worker: int, news: News) -> None:
        """A worker's trial has come so far."""
        self.news[worker] = news
        self._bar(self.tasks[worker], news.share, f"trial {news.trial}  {news.text}")
        self.look()

    def ended(self, worker: int, trial: FrozenTrial) -> None:
        """A worker's trial has ended; without a terminal, a line."""
        self.news.pop(worker, None)
        self._bar(self.tasks[worker], 0.0, "next trial")
        reason = f" ({trial.user_attrs[REASON]})" if REASON in trial.user_attrs else ""
        seconds = f", {trial.duration.total_seconds():.0f} s" if trial.duration else ""
        state = state_name(trial, next_attempts(self.study.get_trials(deepcopy=False)))
        by = f"worker {worker + 1}  " if self.workers > 1 else ""
        self._line(f"{by}trial {trial.number} {state}{reason}: {objectives_text(self.study, trial)}{seconds}")
        self.look(now=True)

    def say(self, text: str) -> None:
        """A line of its own, above the live table."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def look(self, *, now: bool = False) -> None:
        """Show where the study and its workers stand, if it is time for that."""
        clock = time.monotonic()
        if self.live and (now or clock - self.looked >= LOOK_SECONDS):
            self.looked = clock
            self._bar(self.whole, self._count(*FINISHED), self.summary())
        if not self.live and self.news and clock - self.said >= LINE_SECONDS:
            states = (f"trial {one.trial} {one.share:.0%} {one.text}".rstrip() for one in self.news.values())
            self._line(f"running: {'; '.join(states)}")

    def summary(self) -> str:
        """Counts, the best so far, and the time left."""
        counts = state_counts(self.study)
        done = ", ".join(f"{shown} {counts[name]}" for name, shown in _SHOWN.items())
        return "  ".join(filter(None, (done, self._best(), self._left())))

    def _line(self, text: str) -> None:
        if not self.live:
            self.said = time.monotonic()
            done = self._count(*FINISHED)
            print(f"tune {done}/{self.target}  {text}  |  {self.summary()}", flush=True)

    def _bar(self, task: TaskID, done: float, text: str) -> None:
        self.bars.update(task, completed=done, text=text)

    def _count(self, *states: TrialState) -> int:
        return len(self.study.get_trials(deepcopy=False, states=states))

    def _best(self) -> str:
        best = best_trials(self.study)
        if len(self.study.directions) > 1:
            return f"Pareto front {len(best)}"
        return f"best {best[0].value:.4g} (trial {best[0].number})" if best else "no best yet"

    def _left(self) -> str:
        """From the trials that have ended since the start, and what the running ones have done; or until the time is up."""
        here = self._count(*FINISHED) - self.finished_before
        done = here + sum(one.share for one in self.news.values())
        missing = self.target - self.finished_before - done
        elapsed = time.monotonic() - self.began
        left = min(elapsed * missing / done if here else float("inf"), self.deadline - time.monotonic())
        return f"{int(left) // 60}:{int(left) % 60:02d} left" if 0 <= left < float("inf") else ""


_SHOWN = {"complete": "done", "pruned": "pruned", "failed": "failed", "running": "running"}
