"""The leader of a search: lets the workers of this machine do the trials, and shows and records what they say."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from ..config.params import Params
from ..tracking.runs import Run
from ..tracking.store import reporting_outage
from .live_view import Board
from .pool import Job, Speak, crew, how_it_ended, share_threads
from .record import end_orphans, record_progress, record_study
from .report import ended
from .scheduling import retire_stale
from .storage import exclusively, sweep_marks
from .trial import News, sweep_folders
from .worker import Goal

RECORD_SECONDS = 300.0
"""The study's table and plots are written this often while it runs, and at the end."""


@dataclass(frozen=True)
class Call:
    """What the workers of one call have in common; it can be pickled."""

    params: Params
    storage: str | None
    search: str
    """name of the study whose trials are confirmed, or of the study itself"""
    study: str
    goal: Goal
    experiment: str
    parent: str
    tags: dict[str, str]


Work = Callable[[Speak, Call], None]
"""A worker from its start to its end, in this process or one of its own: a function of a module."""


def lead(work: Work, call: Call, study: optuna.Study, storage: BaseStorage, workers: int, run: Run) -> None:
    """Let ``workers`` do the trials of a study; ``run`` is the study's own, or that of the search it confirms."""
    with exclusively(storage):
        sweep_folders(study)
        sweep_marks()
    if ended(study) >= call.goal.trials:
        return
    recorded = time.monotonic()
    with Board(study, call.goal.trials, workers, call.goal.deadline) as board:

        def heard(index: int, word: object) -> None:
            nonlocal recorded
            if isinstance(word, News):
                board.tell(index, word)
            elif isinstance(word, FrozenTrial):
                board.ended(index, word)
                if call.study == call.search:
                    with reporting_outage("the study's curve"):  # the next trial that ends writes it then
                        record_progress(run, study, storage)
                        if time.monotonic() - recorded > RECORD_SECONDS:
                            recorded = time.monotonic()
                            record_study(run, study)

        try:
            if workers == 1:
                work(lambda word: heard(0, word), call)
            else:
                _lead_crew(Job(work, (call,), share_threads(workers)), study, storage, workers, board, heard)
        finally:
            with reporting_outage("which trials were left behind"):
                end_orphans(run, study, storage)


def _lead_crew(
    job: Job,
    study: optuna.Study,
    storage: BaseStorage,
    workers: int,
    board: Board,
    heard: Callable[[int, object], None],
) -> None:
    """Run worker processes; one that dies is replaced, and what it was doing is queued again."""
    with crew(job, workers) as team:
        while team.members:
            for member, word in team.listen():
                if isinstance(word, str):
                    member.name = word
                elif word is not None:
                    heard(member.index, word)
                elif member.process.exitcode:
                    with exclusively(storage):
                        retire_stale(study, storage, dead=member.name)
                    team.hire(member.index)
                    how = how_it_ended(member.process.exitcode)
                    board.say(f"worker {member.index + 1} ended {how}; another one takes over")
            board.look()
