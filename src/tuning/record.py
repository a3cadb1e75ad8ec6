"""A study in MLflow: one run, the parent of its trials' runs, with tables and plots."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ..config.params import Params
from ..tracking.origin import Origin
from ..tracking.runs import Run, child_runs, new_run, reopened_run, run_exists
from ..tracking.store import connect
from ..tracking.sync import abandon
from .plots import save_plots
from .report import description, trials_table
from .retries import FINISHED, first_number
from .storage import exclusively
from .study import FINGERPRINT, RUN_ID, best_trials, finished, is_feasible, objective_names

RECORDED = "recorded"
"""User attribute of a study: the number of its trials in the curves of the MLflow run."""


@contextmanager
def study_run(
    study: optuna.Study, storage: BaseStorage, params: Params, experiment: str, tags: Mapping[str, str]
) -> Iterator[Run]:
    """Open the study's MLflow run, or create one if there is none or it was deleted."""
    tune = params.tune
    space = {name: entry.model_dump(exclude_defaults=True) for name, entry in tune.space.items()}
    choices = {"tune.sampler": tune.sampler, "tune.pruner": tune.pruner}
    with exclusively(storage):
        run_id = study.user_attrs.get(RUN_ID, "")
        if not (run_id and run_exists(connect(), run_id)):
            if run_id:
                print(f"the MLflow run {run_id} of study {study.study_name!r} was deleted; it is replaced by a new one")
            logged = {
                **study.user_attrs[FINGERPRINT],
                **{f"tune.space.{name}": entry for name, entry in space.items()},
                **choices,
                "tune.objectives": ", ".join(tune.objectives),
                "tune.seed": tune.seed,
            }
            with new_run(experiment, Origin.here(study.study_name, logged, tags)) as run:
                run_id = run.run_id
            study.set_user_attr(RUN_ID, run_id)
            study.set_user_attr(RECORDED, 0)
    with reopened_run(run_id) as run:
        # Ranges, sampler and pruner can change between calls, unlike MLflow's params: the tags have the latest.
        run.tags({**tags, "study": study.study_name, "tune.space": json.dumps(space), **choices})
        yield run


def record_progress(run: Run, study: optuna.Study, storage: BaseStorage) -> None:
    """Log the finished trials that are not in the curves yet, in the order in which they finished.

    ``best_NAME`` (with one objective) is the best value so far of trials within the constraints.
    """
    names = objective_names(study)
    best = max if study.directions[0] == StudyDirection.MAXIMIZE else min
    with exclusively(storage, "curves"):
        done = sorted(study.get_trials(deepcopy=False, states=FINISHED), key=_end)
        recorded = study.user_attrs.get(RECORDED, 0)
        for place in range(recorded, len(done)):
            complete = [trial for trial in done[: place + 1] if trial.state == TrialState.COMPLETE]
            feasible = [trial.values[0] for trial in complete if is_feasible(trial)]
            ended = done[place].state == TrialState.COMPLETE
            values = dict(zip(names, done[place].values, strict=True)) if ended else {}
            if len(names) == 1 and feasible:
                values[f"best_{names[0]}"] = best(feasible)
            if values:
                run.metrics(values, place + 1)
        if recorded < len(done):
            study.set_user_attr(RECORDED, len(done))


def _end(trial: FrozenTrial) -> float:
    return trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0


def record_study(run: Run, study: optuna.Study, texts: Mapping[str, str] | None = None) -> None:
    """Log the best values, the table of trials and the plots, and ``texts`` by file name."""
    tags = {"trials": str(finished(study)), "mlflow.note.content": description(study)}
    if best := best_trials(study):
        # As tags, since they change with the next call, which MLflow's params cannot.
        tags["best.trial"] = ", ".join(str(trial.number) for trial in best)
    if len(best) == 1:
        values = {**dict(zip(objective_names(study), best[0].values, strict=True)), **best[0].params}
        tags |= {f"best.{name}": str(value) for name, value in values.items()}
    run.tags(tags)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials_table(study).to_csv(folder / "trials.csv", index=False)
        for file, text in (texts or {}).items():
            (folder / file).write_text(text, encoding="utf-8")
        (folder / "plots").mkdir()
        for missing in save_plots(study, folder / "plots"):
            print(missing)
        run.artifact(folder)


def end_orphans(run: Run, study: optuna.Study, storage: BaseStorage) -> None:
    """Mark running MLflow runs as killed whose trial has ended or lost its worker before it knew the run."""
    with exclusively(storage):
        unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        expected = {trial.user_attrs.get(RUN_ID) for trial in unfinished}
        numbers = {str(number) for trial in unfinished for number in (trial.number, first_number(trial))}
        for run_id, tags in child_runs(run.client, run.run_id, "RUNNING"):
            if tags.get("study") == study.study_name and run_id not in expected and tags.get("trial") not in numbers:
                abandon(run_id, "its process died")
