"""Trials that are RUNNING in a study of the journal, and whose worker is gone."""

from collections.abc import Iterator
from functools import partial

import optuna
from optuna.storages import BaseStorage

from ..tuning.scheduling import left_behind, retire_stale
from ..tuning.storage import exclusively, journal, open_storage
from ..tuning.study import existing_study
from .finding import Finding


def check_trials() -> Iterator[Finding]:
    """The repair does what ``python -m src.tune prune-stale`` does. Without a journal there is nothing to say."""
    if not journal().is_file():
        return
    storage = open_storage(None)
    found = False
    for summary in optuna.get_all_study_summaries(storage):
        study = existing_study(summary.study_name, storage)
        with exclusively(storage):
            numbers = [str(trial.number) for trial in left_behind(study, storage)]
        if numbers:
            found = True
            text = f"study {study.study_name!r}: trials of workers that are gone: {', '.join(numbers)}"
            yield Finding("warning", text, "queues them again", partial(_queue, study, storage))
    if not found:
        yield Finding("ok", "no trial was left behind")


def _queue(study: optuna.Study, storage: BaseStorage) -> str:
    with exclusively(storage):
        stale = retire_stale(study, storage)
    numbers = ", ".join(str(trial.number) for trial in stale) or "none, they have been tried too often"
    return f"study {study.study_name!r}: queued again: {numbers}"
