"""Command tune: search for better parameters with Optuna; every trial is a short training.

``python -m src.tune --trials 20 --timeout 600 --workers 2``, ``python -m src.tune status|best|show N|prune-stale``
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from src import paths
from src.errors import UserError, run_command

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from src.params import Params
    from src.tracking.runs import Run
    from src.tuning.crew import Speak
    from src.tuning.leader import Call

DEFAULT_TRIALS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, or answer a question about a study."""
    options = parse_options(arguments)
    from src.params import load_params
    from src.tuning.storage import open_storage
    from src.tuning.study import best_trials, existing_study

    params = study_params(load_params(), options)
    storage = open_storage(options.storage)
    if options.command:
        answer(params, storage, options)
        return
    if options.dry_run:
        dry_run(params, options.workers, options.trials or DEFAULT_TRIALS)
        return
    if options.trials or options.confirm_top:
        tune(params, storage, options)
    study = existing_study(params.tune.study, storage)
    if options.apply:
        from src.tuning.apply import apply
        from src.tuning.confirm import is_confirmed

        if options.confirm_top and options.trial is None and not is_confirmed(study):
            raise UserError(
                "nothing is applied, for no confirmation of the study as it is now has come to its end: go on with the same "
                "command, or say which trial with --apply --trial N"
            )
        apply(study, params, options.trial)
    elif best_trials(study):
        print("write the best values into params.yaml with `python -m src.tune --apply`")


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. UserError for a number that makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m src.tune",
        description="Search for better parameters with Optuna.",
        epilog="(*) without --trials: only that, for the trials the study has",
    )
    add = parser.add_argument
    common = argparse.ArgumentParser(add_help=False)
    for target, default in ((parser, None), (common, argparse.SUPPRESS)):
        target.add_argument("--study", default=default, help="name of the study (default: tune.study)")
        target.add_argument(
            "--storage", default=default, metavar="postgresql://...", help="a server, for many machines"
        )
    add("--trials", type=int, help=f"go on until the study has so many finished trials (default {DEFAULT_TRIALS})")
    add("--timeout", type=float, metavar="SECONDS", help="end after this time (default: no limit)")
    add("--workers", type=int, default=1, help="processes on this machine (default 1)")
    add("--objectives", metavar="NAME[,NAME]", help="what trials are compared by; several give a Pareto front")
    add("--sampler", help="tpe, gp, cmaes, random or qmc (default: tune.sampler)")
    add("--pruner", help="median, hyperband or none (default: tune.pruner)")
    add("--confirm-top", type=int, default=0, metavar="K", help="train the K best again with other seeds (*)")
    add("--seeds", type=int, default=3, help="seeds of a confirmation (default 3)")
    add("--confirm-kimg", type=float, metavar="KIMG", help="length of a confirming training (default: that of a trial)")
    add("--apply", action="store_true", help="write the best values into params.yaml (*)")
    add("--trial", type=int, metavar="N", help="with --apply: those of trial N")
    add("--dry-run", action="store_true", help="show the space, and what a trial will cost")
    commands = parser.add_subparsers(dest="command", metavar="status | best | show N | prune-stale")
    for name, text in (("status", "how far the study is"), ("best", "the best trials")):
        commands.add_parser(name, help=text, parents=[common])
    commands.add_parser("show", help="all about a trial", parents=[common]).add_argument("number", type=int)
    commands.add_parser("prune-stale", help="queue the trials of workers that are gone again", parents=[common])
    options = parser.parse_args(arguments)
    if options.trials is None:
        options.trials = 0 if options.apply or options.confirm_top else DEFAULT_TRIALS
    _check_numbers(options)
    return options


def _check_numbers(options: argparse.Namespace) -> None:
    if options.trials < (0 if options.apply or options.confirm_top else 1):
        allowed = "it must be at least 1, or 0 together with --apply or --confirm-top"
        raise UserError(f"--trials {options.trials} is not allowed: {allowed}")
    for name, least in (("workers", 1), ("seeds", 1), ("confirm_top", 0)):
        if getattr(options, name) < least:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {getattr(options, name)} is not allowed: it must be at least {least}")
    for name, least in (("timeout", 1), ("confirm_kimg", 0)):
        value = getattr(options, name)
        if value is not None and not (value >= least and 0 < value < math.inf):
            limit = "at least 1 second" if least else "above 0"
            raise UserError(f"--{name.replace('_', '-')} {value:g} is not allowed: it must be {limit}")
    if options.trial is not None and not options.apply:
        raise UserError("--trial says which trial to apply: it needs --apply; `show N` shows one")


def study_params(params: "Params", options: argparse.Namespace) -> "Params":
    """params.yaml with what the command line says otherwise; UserError for a search that makes no sense."""
    from src.params import check_space
    from src.tuning import objectives, space

    given = {"study": options.study, "sampler": options.sampler, "pruner": options.pruner}
    given["objectives"] = options.objectives.split(",") if options.objectives else None
    params = params.replace({f"tune.{name}": value for name, value in given.items() if value is not None})
    check_space(params, "params.yaml")
    space.check(params)
    objectives.check(params)
    return params


def answer(params: "Params", storage: "BaseStorage", options: argparse.Namespace) -> None:
    """The commands that train nothing."""
    from src.tuning.confirm import refuse_confirmation
    from src.tuning.report import print_best, print_status, print_trial
    from src.tuning.storage import exclusively
    from src.tuning.study import described, existing_study, trial_number
    from src.tuning.turns import retire_stale

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
    import torch

    from src.datasets import store
    from src.device import pick_device, set_up
    from src.setup import training_data
    from src.tuning.crew import share_threads
    from src.tuning.probe import probe
    from src.tuning.report import formatted, space_table
    from src.tuning.trial import trial_params

    tune = params.tune
    print(f"study {tune.study!r}: {', '.join(tune.objectives)}, sampler {tune.sampler}, pruner {_pruner(params)}")
    print(formatted(space_table(params)))
    threads = share_threads(workers)
    torch.set_num_threads(threads)
    set_up(pick_device(params.train.device), deterministic=params.train.deterministic)
    cost = probe(trial_params(params, {}), training_data(params, store.load(paths.PREPARED)))
    seconds = cost.trial_seconds(params)
    print(f"a trial: {1000 * tune.kimg:,.0f} images, {cost.images_per_second:,.0f} images/s, about {seconds:.0f} s")
    by = f"{workers} workers with {threads} threads each" if workers > 1 else "1 worker"
    minutes = trials * seconds / workers / 60
    print(f"{trials} trials with {by}: at most about {minutes:.1f} min; pruned trials are shorter")


def _pruner(params: "Params") -> str:
    from src.tuning import objectives

    if objectives.can_prune(params.tune.objectives):
        return params.tune.pruner
    return "none, since Optuna compares trials on the way by one score only"


def worker(speak: "Speak", call: "Call") -> None:
    """A worker from its start to its end, in this process or one of its own."""
    from src.datasets import store
    from src.device import pick_device, set_up
    from src.identity import identity
    from src.setup import training_data
    from src.training.world import World
    from src.tuning import space
    from src.tuning.confirm import confirming_plan
    from src.tuning.storage import Mark, open_storage
    from src.tuning.study import base_values, existing_study
    from src.tuning.trial import Setting, trial_params
    from src.tuning.worker import work

    storage = open_storage(call.storage)
    study, search = existing_study(call.study, storage), existing_study(call.search, storage)
    params = call.params.replace(base_values(search))  # the command may run in a project that has changed since
    device = pick_device(params.train.device)
    set_up(device, deterministic=params.train.deterministic)
    data = store.load(paths.PREPARED)
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
            lambda params: identity(params, call.tags, World()),
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
    from src.datasets import store
    from src.device import pick_device, set_up
    from src.identity import source_tags
    from src.setup import training_data
    from src.tracking.store import outage_is_told
    from src.tuning.leader import Call, lead
    from src.tuning.record import record_study, study_run
    from src.tuning.report import ended, print_best
    from src.tuning.storage import exclusively
    from src.tuning.study import existing_study, fingerprint, open_study
    from src.tuning.worker import Goal

    deadline = time.monotonic() + (options.timeout or math.inf)
    set_up(pick_device(params.train.device), deterministic=params.train.deterministic)
    data = store.load(paths.PREPARED)
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
            with outage_is_told("the study's table"):
                record_study(run, study, confirmed)


def prepare_queue(study: "optuna.Study", storage: "BaseStorage", params: "Params") -> None:
    """Enqueue what the search has to try before it draws: trials of workers that were killed, and params.yaml's values."""
    from src.tuning import space
    from src.tuning.study import enqueue
    from src.tuning.turns import retire_stale

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
    from src.tuning.confirm import candidates, confirmed_table, confirming_params, confirming_study, remember
    from src.tuning.leader import lead
    from src.tuning.report import ended, formatted

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


if __name__ == "__main__":
    run_command(main)
