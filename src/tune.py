"""Command tune: search for better parameters with Optuna; every trial is a short training.

``python -m src.tune --trials 20 --timeout 600 [--apply]``
"""

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from src import paths
from src.datasets import store
from src.device import pick_device, set_up
from src.errors import UserError, run_command
from src.params import Params, load_params
from src.params_edit import write_params
from src.train import source_tags, training_data
from src.training.progress import ProgressLine
from src.tuning.report import print_best, record_study, record_trial
from src.tuning.search import search, study_run
from src.tuning.space import current_values, distributions
from src.tuning.study import best_trial, best_values, enqueue, fingerprint, open_study, retire_stale
from src.tuning.trial import Setting, run_trial


def main(arguments: Sequence[str] | None = None) -> None:
    """Add trials to the study, print the best ones, and write the best values into params.yaml if asked to."""
    options = parse_options(arguments)
    deadline = time.monotonic() + (options.timeout or math.inf)
    params = load_params()
    distributions(params)
    set_up(pick_device(params.train.device), deterministic=params.train.deterministic)
    data = store.load(paths.PREPARED)
    tags = source_tags(params, data)
    base = fingerprint(params, data.content_hash, tags["classifier.hash"])
    study = open_study(params, base, create=options.trials > 0)
    if options.trials:
        tune(study, params, data, tags, options.trials, deadline)
    else:
        print_best(study)
    if options.apply:
        apply_best(study, params)
    elif best_trial(study):
        print("write the best values into params.yaml with `python -m src.tune --trials 0 --apply`")


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line. UserError for a number that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m src.tune", description="Search for better parameters with Optuna.")
    parser.add_argument(
        "--trials", type=int, default=20, help="trials to add to the study; 0 with --apply (default 20)"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="end after this time (default: no limit)")
    parser.add_argument("--apply", action="store_true", help="write the best trial's values into params.yaml")
    options = parser.parse_args(arguments)
    if options.trials < (0 if options.apply else 1):
        raise UserError(f"--trials {options.trials} is not allowed: it must be at least 1, or 0 together with --apply")
    if options.timeout is not None and not 1 <= options.timeout < math.inf:
        raise UserError(f"--timeout {options.timeout:g} is not allowed: it must be at least 1 second")
    return options


def tune(
    study: optuna.Study, params: Params, data: store.PreparedData, tags: dict[str, str], trials: int, deadline: float
) -> None:
    """Run the trials with a progress line; tables and plots are made in any case, also after Ctrl-C."""
    prepare_queue(study, params)
    experiment, material = f"{data.name} tuning", training_data(params, data)
    with study_run(study, params, experiment, tags) as run:
        try:
            with ProgressLine("tune", trials, "trials") as line:
                progress = TrialLine(line, study)
                setting = Setting(params, material, experiment, run.run_id, tags, deadline, progress.show)

                def told(trial: FrozenTrial) -> None:
                    record_trial(run, study, trial)
                    progress.told(trial)

                search(study, params, lambda trial: run_trial(trial, setting), trials, deadline, told)
        finally:
            print_best(study)
            record_study(run, study)


def prepare_queue(study: optuna.Study, params: Params) -> None:
    """Enqueue what the search has to try before it draws: trials of processes that were killed, and params.yaml's values."""
    for trial in retire_stale(study, params):
        print(
            f"trial {trial.number} was left behind by process {trial.user_attrs['pid']}: marked as failed and tried again"
        )
    current = current_values(params)
    if beyond := enqueue(study, current, params):
        names = ", ".join(f"{name} {current[name]}" for name in beyond)
        print(f"the values of params.yaml are not tried: outside tune.space with {names}")


class TrialLine:
    """The trials on a ProgressLine: a bar that moves within a trial, or a line a trial where there is no terminal."""

    def __init__(self, line: ProgressLine, study: optuna.Study) -> None:
        self.line, self.study, self.done = line, study, 0

    def show(self, share: float, text: str) -> None:
        """Move the bar within the running trial; a log only has the trials' ends."""
        if self.line.live:
            words = (f"trial {self.done + 1} of {self.line.total:g}", text, self._best())
            self.line.update(self.done + share, "  ".join(filter(None, words)))

    def told(self, trial: FrozenTrial) -> None:
        """Count a trial that has ended."""
        self.done += 1
        reason = f" ({trial.user_attrs['reason']})" if "reason" in trial.user_attrs else ""
        score = "-" if trial.value is None else f"{trial.value:.3f}"
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        ended = f"trial {trial.number} {trial.state.name.lower()}{reason}  score {score}"
        self.line.update(self.done, f"{ended}  {self._best()}  {seconds:.0f} s", now=True)

    def _best(self) -> str:
        best = best_trial(self.study)
        return f"best {best.value:.3f} (trial {best.number})" if best else "no best yet"


def apply_best(study: optuna.Study, params: Params) -> None:
    """Write what the best trial had and params.yaml has not into params.yaml. UserError when no trial has finished."""
    best = best_trial(study)
    if best is None:
        raise UserError(f"the study {study.study_name!r} has no finished trial: there is nothing to apply")
    current: dict[str, Any] = params.flat()
    changes = {name: value for name, value in best_values(study, best).items() if value != current[name]}
    if not changes:
        print(f"params.yaml has the values of trial {best.number}, the best one, already")
        return
    write_params(changes)
    print(f"params.yaml has the values of trial {best.number} now:")
    for name, value in changes.items():
        print(f"  {name}: {current[name]} -> {value}")


if __name__ == "__main__":
    run_command(main)
