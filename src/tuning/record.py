"""A study in MLflow: one run, the parent of its trials' runs, with tables and plots."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..config.params import Params
from ..tracking.origin import Origin
from ..tracking.runs import Run, child_runs, new_run, reopened_run, run_exists
from ..tracking.store import connect
from ..tracking.sync import abandon
from .plots import save_plots
from .report import description, ended, is_feasible, trials_table
from .retries import first_number
from .scheduling import FINISHED
from .storage import exclusively
from .study import FINGERPRINT, RUN_ID, best_trials, objective_names

RECORDED = "recorded"
"""User attribute of a study: how many of its trials are in the MLflow run's curves."""


@contextmanager
def study_run(
    study: optuna.Study, storage: BaseStorage, params: Params, experiment: str, tags: Mapping[str, str]
) -> Iterator[Run]:
    """Open the study's MLflow run; a new one if there is none or the store lost it."""
    with exclusively(storage):
        run_id = study.user_attrs.get(RUN_ID, "")
        if not (run_id and run_exists(connect(), run_id)):
            if run_id:
                print(f"the MLflow run {run_id} of study {study.study_name!r} is gone; a new run replaces it")
            with new_run(experiment, Origin.here(study.study_name, _study_params(study, params), tags)) as run:
                run_id = run.run_id
            study.set_user_attr(RUN_ID, run_id)
            study.set_user_attr(RECORDED, 0)
    with reopened_run(run_id) as run:
        run.tags({**tags, **_space_tags(study, params)})
        yield run


def _study_params(study: optuna.Study, params: Params) -> dict[str, Any]:
    space = {f"tune.space.{name}": entry.model_dump(exclude_defaults=True) for name, entry in params.tune.space.items()}
    tune = params.tune
    return {
        **study.user_attrs[FINGERPRINT],
        **space,
        "tune.objectives": ", ".join(tune.objectives),
        "tune.sampler": tune.sampler,
        "tune.pruner": tune.pruner,
        "tune.seed": tune.seed,
    }


def _space_tags(study: optuna.Study, params: Params) -> dict[str, str]:
    # The ranges, sampler and pruner may change between calls, and MLflow's params may not: the tags have the last ones.
    space = {name: entry.model_dump(exclude_defaults=True) for name, entry in params.tune.space.items()}
    tune = params.tune
    last = {"tune.space": json.dumps(space), "tune.sampler": tune.sampler, "tune.pruner": tune.pruner}
    return {"study": study.study_name, **last}


def record_progress(run: Run, study: optuna.Study, storage: BaseStorage) -> None:
    """Write the finished trials that are not in the curves yet, at their place in the order in which they ended.

    ``best_score`` (with one objective) is the best value so far of the trials within the constraints.
    """
    names = objective_names(study)
    with exclusively(storage, "curves"):
        done = sorted(study.get_trials(deepcopy=False, states=FINISHED), key=_end)
        recorded = study.user_attrs.get(RECORDED, 0)
        for place in range(recorded, len(done)):
            if values := _points(names, study, done[: place + 1]):
                run.metrics(values, place + 1)
        if recorded < len(done):
            study.set_user_attr(RECORDED, len(done))


def _end(trial: FrozenTrial) -> float:
    return trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0


def _points(names: Any, study: optuna.Study, done: list[FrozenTrial]) -> dict[str, float]:
    last, values = done[-1], dict[str, float]()
    if last.state == TrialState.COMPLETE:
        values |= dict(zip(names, last.values, strict=True))
    allowed = [one.values[0] for one in done if one.state == TrialState.COMPLETE and is_feasible(one)]
    if len(names) == 1 and allowed:
        falling = study.direction == optuna.study.StudyDirection.MINIMIZE
        values[f"best_{names[0]}"] = min(allowed) if falling else max(allowed)
    return values


def record_study(run: Run, study: optuna.Study, confirmed: Mapping[str, str] | None = None) -> None:
    """Write the best values, the table of trials and the plots into the study's run.

    ``confirmed`` is text by file name that belongs there too.
    """
    tags = {"trials": str(ended(study)), "mlflow.note.content": description(study)}
    if best := best_trials(study):
        # As tags: they change with the next call, and MLflow's params cannot.
        tags["best.trial"] = ", ".join(str(trial.number) for trial in best)
    if len(best) == 1:
        tags |= {f"best.{name}": str(value) for name, value in zip(objective_names(study), best[0].values, strict=True)}
        tags |= {f"best.{name}": str(value) for name, value in best[0].params.items()}
    run.tags(tags)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials_table(study).to_csv(folder / "trials.csv", index=False)
        for file, text in (confirmed or {}).items():
            (folder / file).write_text(text, encoding="utf-8")
        (folder / "plots").mkdir()
        if missing := save_plots(study, folder / "plots"):
            print("\n".join(missing))
        run.artifact(folder)


def end_orphans(run: Run, study: optuna.Study, storage: BaseStorage) -> None:
    """Mark the runs of trials that nobody is working on as killed: their worker died at the wrong moment."""
    with exclusively(storage):
        trials = study.get_trials(deepcopy=False)
        open_ones = [one for one in trials if one.state in (TrialState.RUNNING, TrialState.WAITING)]
        expected = {one.user_attrs.get(RUN_ID) for one in open_ones}
        numbers = {str(number) for one in open_ones for number in (one.number, first_number(one))}
        for run_id, tags in child_runs(run.client, run.run_id, "RUNNING"):
            if tags.get("study") == study.study_name and run_id not in expected and tags.get("trial") not in numbers:
                abandon(run_id, "its process is gone")
