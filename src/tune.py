"""Command tune: search for better parameters with Optuna; every trial is a short training.

``python -m src.tune --trials 20 --timeout 600 --workers 2``, ``python -m src.tune status|best|show N|prune-stale``
"""

from collections.abc import Sequence

from .core.errors import UserError, run_command
from .tuning.options import DEFAULT_TRIALS, parse_options, study_params
from .tuning.search import answer, dry_run, tune


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, or answer a question about a study."""
    options = parse_options(arguments)
    from .config.params import load_params
    from .tuning.storage import open_storage
    from .tuning.study import best_trials, existing_study

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
        from .tuning.apply import apply
        from .tuning.confirm import is_confirmed

        if options.confirm_top and options.trial is None and not is_confirmed(study):
            raise UserError(
                "nothing is applied, for no confirmation of the study as it is now has come to its end: go on with the same "
                "command, or say which trial with --apply --trial N"
            )
        apply(study, params, options.trial)
    elif best_trials(study):
        print("write the best values into params.yaml with `python -m src.tune --apply`")


if __name__ == "__main__":
    run_command(main)
