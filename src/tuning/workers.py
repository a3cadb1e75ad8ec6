"""The workers of a search: run its trials in this process or in several, and show and record what they report.

A worker process that dies is replaced; concurrent.futures gives up all of its processes then, and multiprocessing.Pool loses
the task. Each has a pipe of its own, since one that is killed while it writes to a shared queue blocks the others.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import optuna
import torch
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from ..core import interrupts, paths
from ..core.device import pin_gpu, resolve
from ..core.errors import UserError
from ..core.interrupts import Stopped
from ..data import prepared
from ..tracking.runs import Run
from ..tracking.store import outage_is_told
from ..training.identity import identity
from ..training.setup import training_data
from ..training.step.distributed import DistributedContext
from . import space
from .confirm import confirming_plan
from .live_view import LiveView
from .record import end_orphans, record_progress, record_study
from .retries import FINISHED, Turn, next_turn, retry_stale
from .storage import alive, exclusively, new_worker, open_storage, remove_dead_locks
from .study import base_values, existing_study, finished, make_pruner, make_sampler
from .trial import TIMEOUT, Job, Setting, Status, TrialRun, sweep_folders, trial_params

POLL_SECONDS = 1.0
RECORD_SECONDS = 300.0
"""The study's table and plots are logged at this interval, and at the end."""
MAX_FAILURES = 3
"""consecutive trials that may fail with an error before it is raised"""
MAX_DEATHS = 10
"""workers that may die without an error before the search ends"""
Tell = Callable[[object], None]


def lead(job: Job, study: optuna.Study, storage: BaseStorage, workers: int, run: Run) -> None:
    """Run the trials of a job with ``workers``; ``run`` is the MLflow run of the study, or of the search it confirms."""
    with exclusively(storage):
        sweep_folders(study)
        remove_dead_locks()
    if finished(study) >= job.trials:
        return
    recorded = time.monotonic()
    with LiveView(study, job.trials, workers, job.deadline) as view:

        def receive(index: int, message: object) -> None:
            nonlocal recorded
            if isinstance(message, Status):
                view.tell(index, message)
            elif isinstance(message, FrozenTrial):
                view.ended(index, message)
                if job.study == job.search:
                    with outage_is_told("the study's curve"):  # it is logged when the next trial ends
                        record_progress(run, study, storage)
                        if time.monotonic() - recorded > RECORD_SECONDS:
                            recorded = time.monotonic()
                            record_study(run, study)

        try:
            if workers == 1:
                work(new_worker(), partial(receive, 0), job)
                return
            with crew(work, (job,), workers) as team:
                while team.members:
                    for member, message in team.listen():
                        receive(member.index, message)
                        if message is None and member.process.exitcode:
                            with exclusively(storage):
                                retry_stale(study, storage, dead=member.name)
                            team.start(member.index)
                            view.say(f"worker {member.index + 1} ended {how_it_ended(member.process)}; it is replaced")
                    view.refresh()
        finally:
            with outage_is_told("which trials were interrupted"):
                end_orphans(run, study, storage)


def work(worker: str, tell: Tell, job: Job) -> None:
    """A worker: run trials of a job, and report their status and their results."""
    storage = open_storage(job.storage)
    study, search = existing_study(job.study, storage), existing_study(job.search, storage)
    params = job.params.replace(base_values(search))  # params.yaml may have been changed since then
    resolve(params.train)
    data = prepared.load(paths.PREPARED, params.data)
    draw = partial(space.draw, params=params) if job.search == job.study else confirming_plan(search)
    setting = Setting(
        replace(job, params=params),
        lambda trial: trial_params(params, draw(trial)),
        training_data(params, data),
        lambda params: identity(params, job.tags, DistributedContext()),
        worker,
        tell,
    )
    with alive(worker):
        run_trials(study, storage, setting)


def run_trials(study: optuna.Study, storage: BaseStorage, setting: Setting) -> None:
    """Run trials until the study has its number of them, or the deadline is reached.

    A trial that ends with an error is marked as failed, and the third one in a row raises it. Raises Stopped for a signal.
    In both cases, and at the deadline, the running trial is enqueued again.
    """
    job, failures = setting.job, 0
    while time.monotonic() < job.deadline:
        interrupts.check()
        with ExitStack() as claim:
            claim.enter_context(exclusively(storage))
            retry_stale(study, storage)
            turn = next_turn(study, job.trials, queued_only=job.queued_only)
            if turn is Turn.DONE:
                return
            if turn is Turn.START:
                error = _run_trial(study, storage, TrialRun(setting, claim.close))
                failures = failures + 1 if error else 0
                if error and failures == MAX_FAILURES:
                    raise error
                continue
        time.sleep(min(POLL_SECONDS, max(0.0, job.deadline - time.monotonic())))


def _run_trial(study: optuna.Study, storage: BaseStorage, run: TrialRun) -> Exception | None:
    """Run one trial with ``study.optimize``, which sends the heartbeats; returns the error that it ended with, if any."""
    params, tell = run.setting.job.params, run.setting.tell
    study.sampler, study.pruner = make_sampler(study, params), make_pruner(params)
    try:
        study.optimize(run, n_trials=1, catch=Exception)
    except Stopped as stopped:
        if run.number < 0:  # stopped before the trial had a worker, by which it is found
            raise
        run.close(finished=False)
        with exclusively(storage):
            retry_stale(study, storage)
        tell(study.get_trials(deepcopy=False)[run.number])
        if stopped.reason != TIMEOUT:
            raise
        return None
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        if run.number < 0:  # the sampler failed
            raise
        # The trial was taken for dead when it ended, and another worker has it.
    trial = study.get_trials(deepcopy=False)[run.number]
    run.close(finished=run.error is not None or trial.state in FINISHED)
    tell(trial)
    return run.error


@dataclass(frozen=True)
class Member:
    """A worker process."""

    index: int
    name: str
    process: BaseProcess


class Crew:
    """Worker processes, each with a pipe to this process."""

    def __init__(self, run: Callable[..., None], arguments: tuple[Any, ...], threads: int) -> None:
        """``run(name, tell, *arguments)`` is a function of a module, with ``threads`` of PyTorch."""
        self.run, self.arguments, self.threads = run, arguments, threads
        self.members: dict[Connection, Member] = {}
        self.deaths = 0

    def start(self, index: int) -> None:
        """Start a worker."""
        context = multiprocessing.get_context("spawn")  # a fork would copy PyTorch's threads, and CUDA forbids it
        receiver, sender = context.Pipe(duplex=False)
        name = new_worker()
        process = context.Process(
            target=_main, args=(self.run, name, sender, index, self.threads, self.arguments), name=f"worker {index + 1}"
        )
        process.start()
        sender.close()
        self.members[receiver] = Member(index, name, process)

    def listen(self) -> Iterator[tuple[Member, object]]:
        """Yield what the workers report within a second; None, when a worker has ended.

        Raises the UserError that a worker ended with, or one if too many workers have died.
        """
        for pipe in wait(list(self.members), POLL_SECONDS):
            assert isinstance(pipe, Connection)
            member, message = self.members[pipe], None
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                del self.members[pipe]
                member.process.join()
                self.deaths += bool(member.process.exitcode)
                if member.process.exitcode and self.deaths >= MAX_DEATHS:
                    raise UserError(
                        f"{self.deaths} workers have died, the last one {how_it_ended(member.process)}"
                    ) from None
            if isinstance(message, UserError):
                raise message
            yield member, message

    def stop(self) -> None:
        """Let every worker save a checkpoint and end; a second Ctrl-C kills them."""
        for member in self.members.values():
            member.process.terminate()
        try:
            for pipe, member in self.members.items():
                while member.process.is_alive():
                    with suppress(EOFError, OSError):  # a full pipe would block it
                        while pipe.poll(0.1):
                            pipe.recv()
                    member.process.join(0.1)
        except KeyboardInterrupt:
            for member in self.members.values():
                member.process.kill()
            raise


@contextmanager
def crew(run: Callable[..., None], arguments: tuple[Any, ...], size: int) -> Iterator[Crew]:
    """Start ``size`` workers, see :class:`Crew`; they have ended at the end of the context."""
    team = Crew(run, arguments, share_threads(size))
    try:
        for index in range(size):
            team.start(index)
        yield team
    finally:
        team.stop()


def share_threads(workers: int) -> int:
    """The number of PyTorch threads for each worker."""
    return max(1, torch.get_num_threads() // workers)


def how_it_ended(process: BaseProcess) -> str:
    """The exit code of a process in words."""
    code = process.exitcode or 0
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"


def _main(
    run: Callable[..., None], name: str, pipe: Connection, index: int, threads: int, arguments: tuple[Any, ...]
) -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes; the parent passes it on
    interrupts.install()
    pin_gpu(index)
    torch.set_num_threads(threads)

    def tell(message: object) -> None:
        try:
            pipe.send(message)
        except OSError:  # the parent was killed
            interrupts.note(signal.SIGTERM)

    try:
        run(name, tell, *arguments)
    except Stopped as stopped:
        os._exit(128 + stopped.number)
    except UserError as error:
        tell(error)
    except Exception as error:
        import traceback

        traceback.print_exc()
        tell(UserError(f"{type(error).__name__}: {error}"))
