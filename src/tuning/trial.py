"""One trial: the training that the train stage would do with other values, watched by Optuna and the clock."""

import platform
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState
from torch import Tensor

from ..config.params import Params
from ..core import interrupts, paths
from ..core.device import forget_peak_memory, peak_memory, resolve
from ..core.errors import UserError, first_line
from ..core.interrupts import Stopped
from ..tracking.mlflow_recorder import MlflowRecorder
from ..tracking.origin import Origin
from ..tracking.runs import TrainingRun, run_exists, training_run
from ..tracking.store import connect, project_root
from ..tracking.sync import abandon
from ..training.folder import TrainingFolder, sweep
from ..training.health import TrainingDiverged
from ..training.loop import GRID_COLUMNS, FitResult, TrainingData, fit
from ..training.recorder import Progress
from .objectives import COSTS, can_prune, set_constraints
from .retries import INTERRUPTED, REASON, THREADS, WORKER, first_number
from .study import RUN_ID

PRUNED = "worse than the others at this point"
TIMEOUT = "timeout"
CHECKPOINT_MINUTES = 0.25
"""A trial is short, and what a killed one has done since its last checkpoint is done again."""
PATIENCE = 60.0
"""seconds to wait for the folder of a trial whose process is just ending"""


@dataclass(frozen=True)
class News:
    """Where a worker's trial stands."""

    trial: int
    share: float
    """of the training that is done"""
    text: str


@dataclass(frozen=True)
class Setting:
    """What all trials of a worker have in common."""

    params: Params
    """those of the study"""
    plan: Callable[[optuna.Trial], Params]
    """Draws a trial's values, and makes the parameters of its training. UserError for a mix that is not allowed."""
    data: TrainingData
    identity: Callable[[Params], Mapping[str, str]]
    """all that a training's numbers depend on, by name"""
    experiment: str
    parent: str
    """id of the study's MLflow run"""
    tags: Mapping[str, str]
    worker: str
    tell: Callable[[News], None]
    deadline: float
    """on the clock of ``time.monotonic``"""


def trial_params(params: Params, values: Mapping[str, object]) -> Params:
    """The parameters of a trial: params.yaml with the drawn values and the trial's own length. UserError for a bad mix."""
    # A trial that diverges says something about its values: it is pruned, and not put right.
    minutes = min(params.train.checkpoint_minutes, CHECKPOINT_MINUTES)
    kept = {"train.max_rollbacks": 0, "train.checkpoint_minutes": minutes}
    return params.replace({**values, **trial_length(params), **kept})


def trial_length(params: Params) -> dict[str, float]:
    """What makes a training as long as a trial."""
    tune = params.tune
    # A trial shows where it is, and looks at the clock, where losses are recorded. Recording changes no score.
    log_every = min(params.train.log_every_kimg, tune.score_every_kimg / 5)
    return {
        "train.kimg": tune.kimg,
        "train.score_every_kimg": tune.score_every_kimg,
        "train.log_every_kimg": log_every,
    }


def trial_folders(study: str) -> Path:
    """Where a study's unfinished trials keep their checkpoints."""
    return project_root() / paths.CHECKPOINTS / "trials" / study


def sweep_folders(study: optuna.Study) -> None:
    """Remove checkpoints of trials that have ended, here or on another machine. The caller has the storage for itself."""
    open_ones = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    numbers = {str(first_number(trial)) for trial in open_ones}
    sweep(trial_folders(study.study_name), lambda identity: identity.get("trial") not in numbers)


class TrialRun:
    """One trial, as the objective function that Optuna calls: trains in an MLflow run of its own, and returns the values.

    Raises optuna.TrialPruned, with the reason as a user attribute too, when its values may not be together, when the trial
    is worse than the others, diverges, or the GPU's memory is not enough; the run is then marked as killed. Raises Stopped
    for a signal, and when the time is up: the trial can go on from its checkpoint then.
    """

    def __init__(self, setting: Setting, begun: Callable[[], None]) -> None:
        """``begun`` is called when the trial has its values and its worker."""
        self.setting, self.begun = setting, begun
        self.number = -1
        self.folder: TrainingFolder | None = None

    def __call__(self, trial: optuna.Trial) -> list[float]:
        """The trial's objectives."""
        self.number = trial.number
        try:
            try:
                trial.set_user_attr(WORKER, self.setting.worker)
                trial.set_user_attr("host", platform.node())
                trial.set_user_attr(THREADS, torch.get_num_threads())
                params = self.setting.plan(trial)
            except UserError as error:
                raise optuna.TrialPruned(_reason(error)) from None
            finally:
                self.begun()
            return self._train(trial, params)
        except optuna.exceptions.UpdateFinishedTrialError:
            raise Stopped(signal.SIGTERM, "taken for dead, and tried again by another worker") from None
        except Stopped as stopped:
            trial.set_user_attr(INTERRUPTED, True)
            trial.set_user_attr(REASON, stopped.reason)
            raise
        except optuna.TrialPruned as pruned:
            trial.set_user_attr(REASON, str(pruned))
            raise
        except Exception as error:
            trial.set_user_attr(REASON, f"{type(error).__name__}: {error}")
            raise

    def close(self, *, finished: bool) -> None:
        """Let go of the trial's folder; one that is finished needs it no more."""
        if self.folder is not None:
            (self.folder.remove if finished else self.folder.release)()

    def _train(self, trial: optuna.Trial, params: Params) -> list[float]:
        setting, study = self.setting, trial.study.study_name
        stored = trial.study.get_trials(deepcopy=False)[trial.number]
        first = first_number(stored)
        folder = self.folder = TrainingFolder(
            trial_folders(study), {**setting.identity(params), "trial": str(first)}, PATIENCE
        )
        earlier = stored.user_attrs.get(RUN_ID)
        if earlier and earlier != folder.run_id and run_exists(connect(), earlier):
            abandon(earlier, "its process is gone; tried again without its checkpoint")
        tags = {**setting.tags, "study": study, "seed": str(params.train.seed), "trial": str(trial.number)}
        origin = Origin.here(f"{study} {first:03d}", params.flat(), tags)
        with training_run(setting.experiment, origin, setting.parent, folder.run_id) as run:
            folder.run_id = run.run_id
            trial.set_user_attr(RUN_ID, run.run_id)
            run.tags({"trial": str(trial.number)})  # a trial that is tried again has another number
            recorder = TrialRecorder(run, trial, setting, stored.intermediate_values)
            device = resolve(params.train).device
            forget_peak_memory(device)
            try:
                result = fit(params, setting.data, recorder, folder.checkpoints)
            except (TrainingDiverged, torch.OutOfMemoryError, UserError) as error:
                raise _prune(run, _reason(error)) from None
            except Stopped as stopped:
                raise Stopped(stopped.number, TIMEOUT) if recorder.late else stopped from None
            except Exception as error:
                run.fail(f"{type(error).__name__}: {error}")
                raise
            finally:
                recorder.keep_grid()
            measured = {**result.best, **dict(zip(COSTS, _costs(result, device), strict=True))}
            run.metrics({f"best.{name}": value for name, value in measured.items()})
            set_constraints(trial, setting.params, measured)
            if result.stopped == PRUNED:  # it may have been said before the process died
                raise _prune(run, PRUNED)
            return [measured[name] for name in setting.params.tune.objectives]


def _costs(result: FitResult, device: torch.device) -> tuple[float, float, float]:
    weights = sum(parameter.numel() for parameter in result.generator.parameters())
    return 1000 / result.images_per_second, peak_memory(device), float(weights)


def _prune(run: TrainingRun, reason: str) -> optuna.TrialPruned:
    run.kill(reason)
    return optuna.TrialPruned(reason)


def _reason(error: Exception) -> str:
    """What the values of a pruned trial did."""
    kinds = {TrainingDiverged: "diverged", torch.OutOfMemoryError: "out of memory", UserError: "not allowed"}
    return f"{next(word for kind, word in kinds.items() if isinstance(error, kind))}: {first_line(error)}"


class TrialRecorder(MlflowRecorder):
    """Writes into the trial's run, reports the scores to Optuna, and ends the training when Optuna or the clock says so."""

    def __init__(self, run: TrainingRun, trial: optuna.Trial, setting: Setting, reported: Mapping[int, float]) -> None:
        """``reported`` is what an earlier attempt at the trial has told Optuna already."""
        super().__init__(run, GRID_COLUMNS)
        self.trial, self.setting, self.reported = trial, setting, set(reported)
        self.every = setting.params.tune.score_every_kimg
        self.prunes = can_prune(setting.params.tune.objectives)
        self.late = False
        self.grid: tuple[Progress, Tensor] | None = None
        self.text = ""

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Record them. When the time is up the training saves itself and ends, unless only its last score is missing."""
        super().losses(progress, values)
        self.setting.tell(News(self.trial.number, progress.step / progress.steps, self.text))
        if time.monotonic() >= self.setting.deadline and progress.step < progress.steps:
            self.late = True
            interrupts.note(signal.SIGTERM)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Record and report the score by its number: batch sizes differ between trials, and so do their steps."""
        super().scores(progress, values)
        name = self.setting.params.tune.objectives[0]
        self.text = f"{name} {values.get(name, values['score']):.3f}"
        number = max(1, round(progress.images / 1000 / self.every))
        if self.prunes and number not in self.reported:
            self.trial.report(values[name], number)
            self.reported.add(number)

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Keep it: only the last grid is written, which is enough to see what a trial can do."""
        self.grid = progress, images

    def stop_reason(self) -> str | None:
        """Ask the pruner; the loop does not ask at the end, so a trial that has come there is never pruned."""
        return PRUNED if self.prunes and self.trial.should_prune() else None

    def keep_grid(self) -> None:
        """Write the last grid into the run."""
        if self.grid:
            super().samples(*self.grid)
