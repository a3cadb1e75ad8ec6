"""The workers of a search: run its trials in this process or in several, and show and record their results.

A worker process that dies is replaced; concurrent.futures gives up all of its processes then, and multiprocessing.Pool loses
the task. Workers report through the study only, so trials of other machines are shown and recorded as well.
"""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import Any

import optuna
import torch
from optuna.storages import BaseStorage

from ..core import interrupts, paths
from ..core.device import pin_gpu, resolve
from ..core.errors import UserError
from ..core.interrupts import Stopped
from ..data import prepared
from ..tracking.runs import Run
from ..tracking.store import reporting_outage
from ..training.identity import identity
from ..training.setup import training_data
from ..training.step.distributed import DistributedContext
from . import space
from .confirm import confirming_plan
from .live_view import LiveView
from .record import end_orphans, record_progress, record_study
from .retries import FINISHED, next_turn, retry_stale
from .storage import alive, exclusively, new_worker, open_storage, remove_dead_locks
from .study import base_values, existing_study, finished, make_pruner, make_sampler
from .trial import TIMEOUT, Job, Setting, TrialRun, sweep_folders, trial_params

POLL_SECONDS = 1.0
RECORD_SECONDS = 300.0
"""The study's table and plots are logged at this interval, and at the end."""
MAX_FAILURES = 3
"""consecutive trials that may fail with an error before it is raised"""
MAX_DEATHS = 10
"""worker processes that may die before the search ends"""
Poll = Callable[[bool], None]
"""Called regularly by a worker; True when a trial has ended."""


def lead(job: Job, study: optuna.Study, storage: BaseStorage, workers: int, run: Run) -> None:
    """Run the trials of a job with ``workers``; ``run`` is the MLflow run of the study, or of the search it confirms."""
    with exclusively(storage):
        sweep_folders(study)
        remove_dead_locks()
    if finished(study) >= job.trials:
        return
    recorded = time.monotonic()
    names = [new_worker() for _ in range(workers)]
    view = LiveView(study, job.trials, names, job.deadline)
    with view.bars:

        def poll(ended: bool) -> None:
            nonlocal recorded
            if view.refresh(now=ended) and job.study == job.search:
                with reporting_outage("the study's curve"):  # it is logged when the next trial ends
                    record_progress(run, study, storage)
                    if time.monotonic() - recorded > RECORD_SECONDS:
                        recorded = time.monotonic()
                        record_study(run, study)

        def replaced(index: int, how: str) -> str:
            with exclusively(storage):
                retry_stale(study, storage, dead=names[index])
            view.say(f"worker {index + 1} ended {how}; it is replaced")
            names[index] = new_worker()
            return names[index]

        try:
            if workers == 1:
                work(names[0], poll, job)
            else:
                run_processes(work, (job,), names, poll, replaced)
        finally:
            poll(True)
            with reporting_outage("which trials were interrupted"):
                end_orphans(run, study, storage)


def work(worker: str, poll: Poll, job: Job) -> None:
    """A worker: run trials of a job, and call ``poll`` regularly."""
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
        poll,
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
        setting.poll(True)
        interrupts.check()
        with ExitStack() as claim:
            claim.enter_context(exclusively(storage))
            retry_stale(study, storage)
            turn = next_turn(study, job.trials, queued_only=job.queued_only)
            if turn == "done":
                return
            if turn == "start":
                error = _run_trial(study, storage, TrialRun(setting, claim.close))
                failures = failures + 1 if error else 0
                if error and failures == MAX_FAILURES:
                    raise error
                continue
        time.sleep(min(POLL_SECONDS, max(0.0, job.deadline - time.monotonic())))


def _run_trial(study: optuna.Study, storage: BaseStorage, run: TrialRun) -> Exception | None:
    """Run one trial with ``study.optimize``, which sends the heartbeats; returns the error that it ended with, if any."""
    params = run.setting.job.params
    study.sampler, study.pruner = make_sampler(study, params), make_pruner(params)
    try:
        study.optimize(run, n_trials=1, catch=Exception)
    except Stopped as stopped:
        if run.number < 0:  # stopped before the trial had a worker, by which it is found
            raise
        run.close(finished=False)
        with exclusively(storage):
            retry_stale(study, storage)
        if stopped.reason != TIMEOUT:
            raise
        return None
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        if run.number < 0:  # the sampler failed
            raise
        # The trial was taken for dead when it ended, and another worker has it.
    trial = study.get_trials(deepcopy=False)[run.number]
    run.close(finished=run.error is not None or trial.state in FINISHED)
    return run.error


def run_processes(
    run: Callable[..., None],
    arguments: tuple[Any, ...],
    names: Sequence[str],
    poll: Poll,
    replaced: Callable[[int, str], str],
) -> None:
    """Call ``run(name, poll, *arguments)``, a function of a module, in a process for each worker, until all have ended.

    ``replaced`` receives the index of a worker that died and how, and returns the name of its successor. Raises UserError for
    a worker that ends with an error, and if too many die. At the end all have ended; a second Ctrl-C kills them.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy PyTorch's threads, and CUDA forbids it
    errors = context.SimpleQueue()

    def start(index: int, name: str) -> BaseProcess:
        process = context.Process(
            target=_main,
            args=(run, arguments, name, index, share_threads(len(names)), errors),
            name=f"worker {index + 1}",
        )
        process.start()
        return process

    processes, deaths = {index: start(index, name) for index, name in enumerate(names)}, 0
    try:
        while processes:
            wait([process.sentinel for process in processes.values()], POLL_SECONDS)
            for index, process in [*processes.items()]:
                code = process.exitcode  # read once: the process may end in between
                if code == 0:
                    del processes[index]
                elif code is not None:
                    if not errors.empty():
                        raise UserError(errors.get())
                    deaths += 1
                    if deaths == MAX_DEATHS:
                        raise UserError(f"{deaths} workers have died, the last one {how_it_ended(code)}")
                    processes[index] = start(index, replaced(index, how_it_ended(code)))
            poll(False)
    finally:
        for process in processes.values():
            process.terminate()  # it saves a checkpoint
        try:
            for process in processes.values():
                process.join()
        except KeyboardInterrupt:
            for process in processes.values():
                process.kill()
            raise


def share_threads(workers: int) -> int:
    """The number of PyTorch threads for each worker."""
    return max(1, torch.get_num_threads() // workers)


def how_it_ended(code: int) -> str:
    """The exit code of a process in words."""
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"


def _main(
    run: Callable[..., None],
    arguments: tuple[Any, ...],
    name: str,
    index: int,
    threads: int,
    errors: "SimpleQueue[str]",
) -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes; the parent passes it on
    interrupts.install()
    pin_gpu(index)
    torch.set_num_threads(threads)

    def poll(ended: bool) -> None:
        parent = multiprocessing.parent_process()
        if parent and not parent.is_alive():
            interrupts.note(signal.SIGTERM)

    try:
        run(name, poll, *arguments)
    except Stopped as stopped:
        os._exit(128 + stopped.number)
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        errors.put(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        sys.exit(2)
