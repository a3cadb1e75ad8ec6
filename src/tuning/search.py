"""A search from its first trial to its report, and the questions about it."""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core import paths

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from ..config.params import Params
    from ..tracking.runs import Run
    from .leader import Call
    from .pool import Speak


def answer(params: "Params", storage: "BaseStorage", options: argparse.Namespace) -> None:
    """The commands that train nothing."""
    from .confirm import refuse_confirmation
    from .report import print_best, print_status, print_trial
    from .scheduling import retire_stale
    from .storage import exclusively
    from .study import described, existing_study, trial_number

    study = existing_study(params.tune.study, storage)
    match options.command:
        case "status":
            print_status(study)
        case "best":
            print_best(study)
        case "show":
            refuse_confirmation(study)
            print_trial(study, trial_number(study, options.number))
        case _:
            with exclusively(storage):
                stale = retire_stale(study, storage)
            numbers = ", ".join(str(trial.number) for trial in stale) or "none"
            print(f"{described(study, options.storage)}: trials of workers that are gone: {numbers}")


def dry_run(params: "Params", workers: int, trials: int) -> None:
    """Print the space and what a trial will cost on this machine."""
    from ..core.device import resolve
    from ..data import prepared
    from ..training.setup import training_data
    from .pool import share_threads
    from .probe import probe
    from .report import formatted, space_table
    from .trial import trial_params

    tune = params.tune
    print(f"study {tune.study!r}: {', '.join(tune.objectives)}, sampler {tune.sampler}, pruner {_pruner(params)}")
    print(formatted(space_table(params)))
    threads = share_threads(workers)
    resolve(params.train, threads)
    cost = probe(trial_params(params, {}), training_data(params, prepared.load(paths.PREPARED, params.data)))
    seconds = cost.trial_seconds(params)
    print(f"a trial: {1000 * tune.kimg:,.0f} images, {cost.images_per_second:,.0f} images/s, about {seconds:.0f} s")
    by = f"{workers} workers with {threads} threads each" if workers > 1 else "1 worker"
    minutes = trials * seconds / workers / 60
    print(f"{trials} trials with {by}: at most about {minutes:.1f} min; pruned trials are shorter")


def _pruner(params: "Params") -> str:
    from . import objectives

    if objectives.can_prune(params.tune.objectives):
        return params.tune.pruner
    return "none, since Optuna compares trials on the way by one score only"


def worker(speak: "Speak", call: "Call") -> None:
    """A worker from its start to its end, in this process or one of its own."""
    from ..core.device import resolve
    from ..data import prepared
    from ..training.identity import identity
    from ..training.setup import training_data
    from ..training.step.distributed import DistributedContext
    from . import space
    from .confirm import confirming_plan
    from .storage import Mark, open_storage
    from .study import base_values, existing_study
    from .trial import Setting, trial_params
    from .worker import work

    storage = open_storage(call.storage)
    study, search = existing_study(call.study, storage), existing_study(call.search, storage)
    params = call.params.replace(base_values(search))  # the command may run in a project that has changed since
    resolve(params.train)
    data = prepared.load(paths.PREPARED, params.data)
    material = training_data(params, data)
    draw: Callable[[optuna.Trial], dict[str, Any]] = lambda trial: space.draw(trial, params)  # noqa: E731
    if call.search != call.study:
        draw = confirming_plan(search)
    with Mark() as mark:
        speak(mark.worker)
        setting = Setting(
            params,
            lambda trial: trial_params(params, draw(trial)),
            material,
            lambda params: identity(params, call.tags, DistributedContext()),
            call.experiment,
            call.parent,
            call.tags,
            mark.worker,
            speak,
            call.goal.deadline,
        )
        work(study, storage, setting, call.goal, speak)


def tune(params: "Params", storage: "BaseStorage", options: argparse.Namespace) -> None:
    """Run the trials, and confirm the best ones if asked to; tables and plots are made in any case, also after Ctrl-C."""
    from ..core.device import resolve
    from ..data import prepared
    from ..tracking.store import reporting_outage
    from ..training.identity import source_tags
    from ..training.setup import training_data
    from .leader import Call, lead
    from .record import record_study, study_run
    from .report import ended, print_best
    from .storage import exclusively
    from .study import existing_study, fingerprint, open_study
    from .worker import Goal

    deadline = time.monotonic() + (options.timeout or math.inf)
    resolve(params.train)
    data = prepared.load(paths.PREPARED, params.data)
    tags = source_tags(params, data)
    if options.workers > 1:
        training_data(params, data)  # what the classifier sees in real images is kept, and the workers find it
    if not options.trials:
        existing_study(params.tune.study, storage)  # there must be something to confirm
    with exclusively(storage):
        study = open_study(params, fingerprint(params, data.content_hash, tags["classifier.hash"]), storage)
        prepare_queue(study, storage, params)
    experiment, confirmed = f"{data.name} tuning", dict[str, str]()
    with study_run(study, storage, params, experiment, tags) as run:
        goal = Goal(options.trials, deadline, queued_only=False)
        call = Call(params, options.storage, study.study_name, study.study_name, goal, experiment, run.run_id, tags)
        try:
            if _pruner(params) != params.tune.pruner:
                print(f"pruner: {_pruner(params)}")
            if 0 < options.trials <= (done := ended(study)):
                print(f"study {study.study_name!r} has {done} finished trials already; --trials is the number in all")
            elif options.trials:
                lead(worker, call, study, storage, options.workers, run)
            if options.confirm_top and time.monotonic() < deadline:
                confirmed = confirm(call, study, storage, options, run)
        finally:
            print_best(study)
            with reporting_outage("the study's table"):
                record_study(run, study, confirmed)


def prepare_queue(study: "optuna.Study", storage: "BaseStorage", params: "Params") -> None:
    """Enqueue what the search has to try before it draws: trials of workers that were killed, and params.yaml's values."""
    from . import space
    from .scheduling import retire_stale
    from .study import enqueue

    for trial in retire_stale(study, storage):
        print(f"trial {trial.number} was left behind by a worker that is gone: it goes on from its checkpoint")
    current = space.current_values(params)
    if beyond := enqueue(study, current, params, origin="params.yaml"):
        names = ", ".join(f"{name} {current[name]}" for name in beyond)
        print(f"the values of params.yaml are not tried: outside tune.space with {names}")


def confirm(
    call: "Call", study: "optuna.Study", storage: "BaseStorage", options: argparse.Namespace, run: "Run"
) -> dict[str, str]:
    """Train the best trials again with other seeds, and print mean and spread; returns the table as a file by name."""
    from .confirm import candidates, confirmed_table, confirming_params, confirming_study, remember
    from .leader import lead
    from .report import ended, formatted

    params = confirming_params(call.params, options.confirm_kimg)
    chosen = candidates(study, call.params, options.confirm_top)
    if not chosen:
        print("no trial to confirm yet")
        return {}
    made, target = confirming_study(study, storage, params, chosen, options.seeds)
    print(f"confirming trials {', '.join(str(one.number) for one in chosen)} with {options.seeds} other seeds each")
    again = replace(
        call, params=params, study=made.study_name, goal=replace(call.goal, trials=target, queued_only=True)
    )
    lead(worker, again, made, storage, options.workers, run)
    table = confirmed_table(made, chosen, study)
    print(f"over {options.seeds} seeds and {params.tune.kimg:g} thousand images, the best mean first:")
    print(formatted(table))
    if ended(made) < target:
        print(f"{ended(made)} of {target} trainings have ended; the same command goes on")
    else:
        remember(study, table)
    return {f"{made.study_name}.csv": table.to_csv(index=False)}
