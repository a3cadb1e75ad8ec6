"""One trial: the training that the train stage would do with other values, watched by Optuna and the clock."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optuna
import torch
from torch import Tensor

from src.params import Params
from src.tracking.recorder import MlflowRecorder
from src.tracking.runs import TrainingRun, training_run
from src.training.health import TrainingDiverged
from src.training.loop import GRID_COLUMNS, TrainingData, fit
from src.training.recorder import Progress
from src.tuning.study import RUN_ID

PRUNED = "worse than the median of the earlier trials"
TIMEOUT = "timeout"


@dataclass(frozen=True)
class Setting:
    """What all trials of a call have in common."""

    params: Params
    data: TrainingData
    experiment: str
    parent: str
    """id of the study's MLflow run"""
    tags: Mapping[str, str]
    deadline: float
    """on the clock of ``time.monotonic``"""
    show: Callable[[float, str], None]
    """receives the share of the trial that is done, and a few words"""


def trial_params(params: Params, values: Mapping[str, object]) -> Params:
    """The parameters of a trial: params.yaml with the drawn values and the trial's own length. UserError for a bad mix."""
    tune = params.tune
    # A trial can be ended where losses are recorded: often enough for the clock. Recording changes no score.
    log_every = min(params.train.log_every_kimg, tune.score_every_kimg / 5)
    length = {
        "train.kimg": tune.kimg,
        "train.score_every_kimg": tune.score_every_kimg,
        "train.log_every_kimg": log_every,
    }
    return params.replace({**values, **length})


def run_trial(trial: optuna.Trial, setting: Setting) -> float:
    """Train with the trial's values in an MLflow run of its own, and return the best validation score; lower is better.

    Raises optuna.TrialPruned, with the reason as a user attribute too, when the trial is worse than the others, the time
    is up, the training diverged, or the GPU's memory is not enough. The run is then marked as killed.
    """
    trial.set_user_attr("pid", os.getpid())
    trial.set_user_attr("host", platform.node())
    params = trial_params(setting.params, trial.params)
    study = trial.study.study_name
    tags = {**setting.tags, "study": study, "trial": str(trial.number)}
    name = f"{study} {trial.number:03d}"
    with training_run(setting.experiment, name, params.flat(), tags, setting.parent, resumable=False) as run:
        trial.set_user_attr(RUN_ID, run.run_id)
        recorder = TrialRecorder(run, trial, setting)
        try:
            result = fit(params, setting.data, recorder)
            if recorder.pruned:
                raise optuna.TrialPruned(PRUNED)
            run.metrics({f"best.{name}": value for name, value in result.best.items()})
            return result.best["score"]
        except (optuna.TrialPruned, TrainingDiverged, torch.OutOfMemoryError) as error:
            reason = _reason(error)
            trial.set_user_attr("reason", reason)
            run.kill(reason)
            raise optuna.TrialPruned(reason) from None
        finally:
            recorder.keep_grid()


def _reason(error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    kinds = {TrainingDiverged: "diverged: ", torch.OutOfMemoryError: "out of memory: "}
    return kinds.get(type(error), "") + first_line


class TrialRecorder(MlflowRecorder):
    """Writes into the trial's run, reports the scores to Optuna, and ends the training when Optuna or the clock says so."""

    def __init__(self, run: TrainingRun, trial: optuna.Trial, setting: Setting) -> None:
        super().__init__(run, GRID_COLUMNS)
        self.trial, self.setting = trial, setting
        self.kimg, self.pruned = -1, False
        self.grid: tuple[Progress, Tensor] | None = None
        self.text = ""

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Record them. Raises optuna.TrialPruned when the time is up, unless only the last score is missing."""
        super().losses(progress, values)
        self.setting.show(progress.step / progress.steps, self.text)
        if time.monotonic() >= self.setting.deadline and progress.step < progress.steps:
            raise optuna.TrialPruned(TIMEOUT)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Record and report the score, by thousand images: batch sizes differ between trials, and so do their steps."""
        super().scores(progress, values)
        # Optuna ignores a second report at the same number, so one after half a thousand images counts one up.
        self.kimg = max(round(progress.images / 1000), self.kimg + 1)
        self.trial.report(values["score"], self.kimg)
        self.text = f"score {values['score']:.3f}"

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Keep it: only the last grid is written, which is enough to see what a trial can do."""
        self.grid = progress, images

    def stop_reason(self) -> str | None:
        """Ask the pruner; the loop does not ask at the end, so a trial that has come there is never pruned."""
        self.pruned = self.trial.should_prune()
        return PRUNED if self.pruned else None

    def keep_grid(self) -> None:
        """Write the last grid into the run."""
        if self.grid:
            super().samples(*self.grid)
