"""Trials that are RUNNING in a study of the journal, and whose worker is dead."""

from collections.abc import Iterator
from functools import partial

import optuna
from optuna.storages import BaseStorage

from ..tuning.retries import retry_stale, stale_trials
from ..tuning.storage import exclusively, journal, open_storage
from ..tuning.study import existing_study
from .finding import Finding


def check_trials() -> Iterator[Finding]:
    """The repair does what ``python -m src.tune prune-stale`` does. Without a journal there are no findings."""
    if not journal().is_file():
        return
    storage = open_storage(None)
    found = False
    for name in optuna.get_all_study_names(storage):
        study = existing_study(name, storage)
        with exclusively(storage):
            numbers = [str(trial.number) for trial in stale_trials(study, storage)]
        if numbers:
            found = True
            text = f"study {study.study_name!r}: trials of dead workers: {', '.join(numbers)}"
            yield Finding("warning", text, "enqueues them again", partial(_queue, study, storage))
    if not found:
        yield Finding("ok", "no trial has lost its worker")


def _queue(study: optuna.Study, storage: BaseStorage) -> str:
    with exclusively(storage):
        stale = retry_stale(study, storage)
    numbers = ", ".join(str(trial.number) for trial in stale) or "none, they were tried too often"
    return f"study {study.study_name!r}: enqueued again: {numbers}"
