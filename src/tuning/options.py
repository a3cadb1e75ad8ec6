"""The command line of ``python -m src.tune``."""

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.arguments import Parser
from ..core.errors import UserError

if TYPE_CHECKING:
    from ..config.params import Params

DEFAULT_TRIALS = 20


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. UserError for a number that makes no sense."""
    parser = Parser(
        prog="python -m src.tune",
        description="Search for better parameters with Optuna.",
        epilog="(*) without --trials: only that, for the trials the study has",
    )
    add = parser.add_argument
    common = Parser(add_help=False)
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
    from ..config.params import check_space
    from . import objectives, space

    given = {"study": options.study, "sampler": options.sampler, "pruner": options.pruner}
    given["objectives"] = options.objectives.split(",") if options.objectives else None
    params = params.replace({f"tune.{name}": value for name, value in given.items() if value is not None})
    check_space(params, "params.yaml")
    space.check(params)
    objectives.check(params)
    return params
