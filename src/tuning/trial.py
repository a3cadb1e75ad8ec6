"""One trial: a run as in the train stage with other values and its own length, which Optuna and the timeout may stop."""

import platform
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from torch import Tensor

from ..config.params import Params
from ..core import interrupts, paths
from ..core.device import forget_peak_memory, peak_memory, resolve
from ..core.errors import UserError, first_line
from ..core.interrupts import Stopped
from ..tracking.mlflow_recorder import MlflowRecorder
from ..tracking.origin import Origin
from ..tracking.runs import TrainingRun, delete_runs, run_exists, training_run
from ..tracking.store import connect, project_root
from ..tracking.sync import abandon
from ..training.folder import TrainingFolder, sweep
from ..training.health import TrainingDiverged
from ..training.loop import GRID_COLUMNS, TrainingData, fit
from ..training.recorder import Progress
from .retries import INTERRUPTED, PROGRESS, REASON, SCORE, THREADS, WORKER, first_number
from .space import COSTS, can_prune, set_constraints
from .study import RUN_ID

PRUNED = "worse than the others at this point"
TIMEOUT = "timeout"
CHECKPOINT_MINUTES = 0.25
"""Trials are short, and a killed one repeats what it did since its last checkpoint."""
PATIENCE = 60.0
"""seconds to wait for the folder of a trial whose process is just ending"""


@dataclass(frozen=True)
class Job:
    """What the workers of one command do; it is pickled for their processes."""

    params: Params
    """those of the study"""
    storage: str | None
    """URL of the server; None is the journal"""
    search: str
    """name of the study whose trials are confirmed, otherwise that of ``study``"""
    study: str
    trials: int
    """finished trials in the whole study, complete or pruned"""
    deadline: float
    """on the clock of ``time.monotonic``; no trial starts after it"""
    experiment: str
    parent: str
    """id of the study's MLflow run"""
    tags: Mapping[str, str]
    queued_only: bool = False
    """whether only trials of the queue are run, and none is drawn"""


@dataclass(frozen=True)
class Setting:
    """What all trials of a worker have in common."""

    job: Job
    plan: Callable[[optuna.Trial], Params]
    """Draws the values of a trial and returns the parameters of its run; UserError for an invalid combination."""
    data: TrainingData
    identity: Callable[[Params], Mapping[str, str]]
    """everything that the numbers of a run depend on, by name"""
    worker: str
    poll: Callable[[bool], None]
    """called each time losses are logged, and with True when a trial has ended"""


def trial_params(params: Params, values: Mapping[str, object]) -> Params:
    """params.yaml with the values and the length of a trial. Raises UserError for an invalid combination."""
    tune = params.tune
    length = {
        "train.kimg": tune.kimg,
        "train.score_every_kimg": tune.score_every_kimg,
        # A trial reports its progress, and checks the timeout, when losses are recorded. This changes no score.
        "train.log_every_kimg": min(params.train.log_every_kimg, tune.score_every_kimg / 5),
        "train.checkpoint_minutes": min(params.train.checkpoint_minutes, CHECKPOINT_MINUTES),
        # Divergence is a result of the trial's values: it is pruned, not rolled back.
        "train.max_rollbacks": 0,
    }
    return params.replace({**values, **length})


def trial_folders(study: str) -> Path:
    """Where the unfinished trials of a study keep their checkpoints."""
    return project_root() / paths.CHECKPOINTS / "trials" / study


def sweep_folders(study: optuna.Study) -> None:
    """Remove checkpoints of trials that have ended, here or on another machine. The caller holds the storage's lock."""
    unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    numbers = {str(first_number(trial)) for trial in unfinished}
    sweep(trial_folders(study.study_name), lambda identity: identity.get("trial") not in numbers)


class TrialRun:
    """The objective function of one trial: trains in an MLflow run of its own, and returns the values of the objectives.

    Raises optuna.TrialPruned, with the reason as a user attribute, when the values are an invalid combination, when the trial
    is worse than the others, diverges, or exceeds the GPU's memory; its run is then marked as killed. Raises Stopped for a
    signal and for the timeout: the trial can then resume from its checkpoint.
    """

    def __init__(self, setting: Setting, started: Callable[[], None]) -> None:
        """``started`` is called when the trial has its values and its worker."""
        self.setting, self.started = setting, started
        self.number = -1
        self.error: Exception | None = None
        self.folder: TrainingFolder | None = None

    def __call__(self, trial: optuna.Trial) -> list[float]:
        """Run the trial."""
        self.number = trial.number
        try:
            try:
                attributes = {WORKER: self.setting.worker, "host": platform.node(), THREADS: torch.get_num_threads()}
                for name, value in attributes.items():
                    trial.set_user_attr(name, value)
                params = self.setting.plan(trial)
            except UserError as error:
                raise optuna.TrialPruned(_reason(error)) from None
            finally:
                self.started()
            return self._train(trial, params)
        except optuna.exceptions.UpdateFinishedTrialError:
            raise Stopped(signal.SIGTERM, "taken for dead, and retried by another worker") from None
        except Stopped as stopped:
            trial.set_user_attr(INTERRUPTED, True)
            trial.set_user_attr(REASON, stopped.reason)
            raise
        except optuna.TrialPruned as pruned:
            trial.set_user_attr(REASON, str(pruned))
            raise
        except Exception as error:
            self.error = error
            trial.set_user_attr(REASON, f"{type(error).__name__}: {error}")
            raise

    def close(self, *, finished: bool) -> None:
        """Release the trial's folder, and delete it if the trial is finished."""
        if self.folder is not None:
            (self.folder.remove if finished else self.folder.release)()

    def _train(self, trial: optuna.Trial, params: Params) -> list[float]:
        setting, study, job = self.setting, trial.study.study_name, self.setting.job
        stored = trial.study.get_trials(deepcopy=False)[trial.number]
        first = first_number(stored)
        identity = {**setting.identity(params), "trial": str(first)}
        folder = self.folder = TrainingFolder(trial_folders(study), identity, PATIENCE)
        earlier = stored.user_attrs.get(RUN_ID)
        if earlier and earlier != folder.run_id and run_exists(connect(), earlier):
            abandon(earlier, "its process died; retried without its checkpoint")
        elif not (earlier or folder.run_id):  # earlier attempts may have died before they knew their run
            for number in RetryHeartbeatStaleTrialCallback.retry_history(stored):
                attempt = {"mlflow.parentRunId": job.parent, "study": study, "trial": str(number)}
                delete_runs(job.experiment, attempt)
        tags = {**job.tags, "study": study, "seed": str(params.train.seed), "trial": str(trial.number)}
        origin = Origin.here(f"{study} {first:03d}", params.flat(), tags)
        with training_run(job.experiment, origin, job.parent, folder.run_id) as run:
            folder.run_id = run.run_id
            trial.set_user_attr(RUN_ID, run.run_id)
            run.tags({"trial": str(trial.number)})  # which a retried trial changes
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
                recorder.write_grid()
            weights = sum(parameter.numel() for parameter in result.generator.parameters())
            costs = 1000 / result.images_per_second, peak_memory(device), float(weights)
            measured = {**result.best, **dict(zip(COSTS, costs, strict=True))}
            run.metrics({f"best.{name}": value for name, value in measured.items()})
            set_constraints(trial, job.params, measured)
            if result.stopped == PRUNED:  # possibly by an earlier attempt
                raise _prune(run, PRUNED)
            return [measured[name] for name in job.params.tune.objectives]


def _prune(run: TrainingRun, reason: str) -> optuna.TrialPruned:
    run.kill(reason)
    return optuna.TrialPruned(reason)


def _reason(error: Exception) -> str:
    """Why the values of a trial were pruned."""
    kinds = {TrainingDiverged: "diverged", torch.OutOfMemoryError: "out of memory", UserError: "not allowed"}
    return f"{next(word for kind, word in kinds.items() if isinstance(error, kind))}: {first_line(error)}"


class TrialRecorder(MlflowRecorder):
    """Logs to the trial's run, reports scores to Optuna, and stops training for the pruner or the timeout."""

    def __init__(self, run: TrainingRun, trial: optuna.Trial, setting: Setting, reported: Mapping[int, float]) -> None:
        """``reported`` are the scores that an earlier attempt reported to Optuna."""
        super().__init__(run, GRID_COLUMNS)
        self.trial, self.setting, self.reported = trial, setting, set(reported)
        self.tune = setting.job.params.tune
        self.prunes = can_prune(self.tune.objectives)
        self.late = False
        self.grid: tuple[Progress, Tensor] | None = None

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Log them. After the timeout the run saves a checkpoint and ends, unless only its last score is missing."""
        super().losses(progress, values)
        self.trial.set_user_attr(PROGRESS, progress.step / progress.steps)
        self.setting.poll(False)
        if time.monotonic() >= self.setting.job.deadline and progress.step < progress.steps:
            self.late = True
            interrupts.note(signal.SIGTERM)

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Log them, and report the score by its number: steps differ between trials with different batch sizes."""
        super().scores(progress, values)
        name = self.tune.objectives[0]
        self.trial.set_user_attr(SCORE, f"{name} {values.get(name, values['score']):.3f}")
        number = max(1, round(progress.images / 1000 / self.tune.score_every_kimg))
        if self.prunes and number not in self.reported:
            self.trial.report(values[name], number)
            self.reported.add(number)

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Keep it: only the last grid of a trial is logged."""
        self.grid = progress, images

    def stop_reason(self) -> str | None:
        """Ask the pruner. The loop does not ask after the last score, so a trial at its end is never pruned."""
        return PRUNED if self.prunes and self.trial.should_prune() else None

    def write_grid(self) -> None:
        """Log the last grid."""
        if self.grid:
            super().samples(*self.grid)
