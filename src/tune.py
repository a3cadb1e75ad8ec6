"""Search for better parameters with Optuna; each trial is a short run.

``python -m src.tune --trials 20 --timeout 600 --workers 2``, ``python -m src.tune status|best|show N|prune-stale``
"""

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .core.arguments import Parser
from .core.errors import UserError, run_command

if TYPE_CHECKING:
    from .config.params import Params

DEFAULT_TRIALS = 20


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Raises UserError for a number outside its range."""
    parser = Parser(
        prog="python -m src.tune",
        description="Search for better parameters with Optuna.",
        epilog="(*) without --trials: no new trials are searched",
    )
    add = parser.add_argument
    common = Parser(add_help=False)
    for target, default in ((parser, None), (common, argparse.SUPPRESS)):
        target.add_argument("--study", default=default, help="name of the study (default: tune.study)")
        target.add_argument("--storage", default=default, metavar="postgresql://...", help="a server for many machines")
    add("--trials", type=int, help=f"total number of finished trials of the study (default {DEFAULT_TRIALS})")
    add("--timeout", type=float, metavar="SECONDS", help="stop after this time (default: no limit)")
    add("--workers", type=int, default=1, help="processes on this machine (default 1)")
    add("--objectives", metavar="NAME[,NAME]", help="what is optimised; several give a Pareto front")
    add("--sampler", help="tpe, gp, cmaes, random or qmc (default: tune.sampler)")
    add("--pruner", help="median, hyperband or none (default: tune.pruner)")
    add("--confirm-top", type=int, default=0, metavar="K", help="train the K best trials again with other seeds (*)")
    add("--seeds", type=int, default=3, help="seeds of a confirmation (default 3)")
    add("--confirm-kimg", type=float, metavar="KIMG", help="length of confirming runs (default: that of a trial)")
    add("--apply", action="store_true", help="write the best values into params.yaml (*)")
    add("--trial", type=int, metavar="N", help="with --apply: the values of trial N")
    add("--dry-run", action="store_true", help="show the search space and the cost of a trial")
    commands = parser.add_subparsers(dest="command", metavar="status | best | show N | prune-stale")
    commands.add_parser("status", help="progress of the study", parents=[common])
    commands.add_parser("best", help="the best trials", parents=[common])
    commands.add_parser("show", help="everything about a trial", parents=[common]).add_argument("number", type=int)
    commands.add_parser("prune-stale", help="enqueue the trials of dead workers again", parents=[common])
    options = parser.parse_args(arguments)
    least = 0 if options.apply or options.confirm_top else 1
    if options.trials is None:
        options.trials = DEFAULT_TRIALS * least
    at_least = {
        "trials": (least, "at least 1, or 0 together with --apply or --confirm-top"),
        **{name: (least, f"at least {least}") for name, least in (("workers", 1), ("seeds", 1), ("confirm_top", 0))},
        "timeout": (1, "at least 1 second"),
        "confirm_kimg": (5e-324, "above 0"),
    }
    for name, (minimum, allowed) in at_least.items():
        value = getattr(options, name)
        if value is not None and not minimum <= value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {value:g} is not allowed: it must be {allowed}")
    if options.trial is not None and not options.apply:
        raise UserError("--trial chooses the trial to apply, and requires --apply; `show N` shows one")
    return options


def study_params(params: "Params", options: argparse.Namespace) -> "Params":
    """params.yaml with the options of the command line. Raises UserError for an invalid search."""
    from .config.params import check_space
    from .tuning import space

    given = {"study": options.study, "sampler": options.sampler, "pruner": options.pruner}
    given["objectives"] = options.objectives.split(",") if options.objectives else None
    params = params.replace({f"tune.{name}": value for name, value in given.items() if value is not None})
    check_space(params, "params.yaml")
    space.check(params)
    return params


def answer(params: "Params", options: argparse.Namespace) -> None:
    """The commands that run no trials."""
    from .tuning.confirm import refuse_confirmation
    from .tuning.report import print_best, print_status, print_trial
    from .tuning.retries import retry_stale
    from .tuning.storage import exclusively, open_storage, shown
    from .tuning.study import existing_study, trial_number

    storage = open_storage(options.storage, create=False)
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
                numbers = ", ".join(str(trial.number) for trial in retry_stale(study, storage)) or "none"
            print(f"study {study.study_name!r} in {shown(options.storage)}: trials of dead workers: {numbers}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, or answer a question about a study."""
    options = parse_options(arguments)
    from .config.params import load_params

    params = study_params(load_params(), options)
    if options.command:
        answer(params, options)
        return
    if options.dry_run:
        from .tuning.search import dry_run

        dry_run(params, options.workers, options.trials or DEFAULT_TRIALS)
        return
    if options.trials or options.confirm_top:
        from .tuning.search import search

        search(params, options)
    from .tuning.confirm import apply, is_confirmed
    from .tuning.storage import open_storage
    from .tuning.study import best_trials, existing_study

    study = existing_study(params.tune.study, open_storage(options.storage, create=False))
    if options.apply:
        if options.confirm_top and options.trial is None and not is_confirmed(study):
            raise UserError(
                "no values are applied, since the confirmation of the study's trials is incomplete: repeat the command, or "
                "choose a trial with --apply --trial N"
            )
        apply(study, params, options.trial)
    elif best_trials(study):
        print("write the best values into params.yaml with `python -m src.tune --apply`")


if __name__ == "__main__":
    run_command(main)
