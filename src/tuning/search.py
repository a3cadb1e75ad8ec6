"""The search: trials one after the other, in an MLflow run that stands for the study."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from src.params import Params
from src.tracking.runs import Run, new_run, reopened_run, run_exists
from src.tuning.report import record_trial
from src.tuning.space import distributions
from src.tuning.study import FINGERPRINT, FINISHED, RUN_ID, enqueue
from src.tuning.trial import TIMEOUT


def search(
    study: optuna.Study,
    params: Params,
    objective: Callable[[optuna.Trial], float],
    trials: int,
    deadline: float,
    told: Callable[[FrozenTrial], None],
) -> None:
    """Run ``trials`` more trials, finished or pruned; none begins after ``deadline`` on the clock of ``time.monotonic``.

    ``told`` receives each trial when it has ended. Any other exception than optuna.TrialPruned marks the trial as failed
    and is passed on. The values of a trial that was cut short by the deadline or Ctrl-C are enqueued for the next call.
    """
    space = distributions(params)
    for _ in range(trials):
        if time.monotonic() >= deadline:
            return
        trial = study.ask(space)
        try:
            outcome = study.tell(trial, objective(trial))
        except optuna.TrialPruned:
            outcome = study.tell(trial, state=TrialState.PRUNED)
            if outcome.user_attrs.get("reason") == TIMEOUT:
                enqueue(study, trial.params, params, again=True)
        except BaseException as error:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            if isinstance(error, KeyboardInterrupt):
                enqueue(study, trial.params, params, again=True)
            raise
        told(outcome)


@contextmanager
def study_run(study: optuna.Study, params: Params, experiment: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Open the study's MLflow run, the parent of its trials'; a new one if there is none or the store lost it."""
    run_id = study.user_attrs.get(RUN_ID, "")
    if run_id and run_exists(run_id):
        with reopened_run(run_id) as run:
            run.tags({**tags, **_space_tags(params)})
            yield run
        return
    if run_id:
        print(f"the MLflow run {run_id} of study {study.study_name!r} is gone; a new run takes its place")
    with new_run(experiment, study.study_name, _study_params(study, params), {**tags, **_space_tags(params)}) as run:
        study.set_user_attr(RUN_ID, run.run_id)
        for trial in study.get_trials(deepcopy=False, states=FINISHED):
            record_trial(run, study, trial)
        yield run


def _study_params(study: optuna.Study, params: Params) -> dict[str, Any]:
    space = {f"tune.space.{name}": entry.model_dump() for name, entry in params.tune.space.items()}
    sampler, pruner = type(study.sampler).__name__, type(study.pruner).__name__
    return {
        **study.user_attrs[FINGERPRINT],
        **space,
        "sampler": sampler,
        "pruner": pruner,
        "tune.seed": params.tune.seed,
    }


def _space_tags(params: Params) -> dict[str, str]:
    # The ranges may change between calls, and MLflow's params may not: the tag has the last ones.
    space = {name: entry.model_dump() for name, entry in params.tune.space.items()}
    return {"study": params.tune.study, "tune.space": json.dumps(space)}
