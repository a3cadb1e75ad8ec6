"""A search from its first trial to its report, and what a trial of it costs."""

import argparse
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import optuna
from optuna.storages import BaseStorage

from ..config.params import Params
from ..core import paths
from ..core.device import resolve
from ..data import prepared
from ..evaluation.judge import ValidationJudge
from ..evaluation.real_images import RealImages
from ..networks.description import load_classifier
from ..networks.interface import Generator
from ..networks.saved import check_inputs
from ..tracking.runs import Run
from ..tracking.store import reporting_outage
from ..training.identity import source_tags
from ..training.loop import TrainingData, fit
from ..training.recorder import Progress, Recorder
from ..training.setup import training_data
from . import space
from .confirm import candidates, confirmed_table, confirming_params, confirming_study, remember
from .record import record_study, study_run
from .report import formatted, print_best, space_table
from .retries import retry_stale
from .storage import exclusively, open_storage
from .study import enqueue, existing_study, fingerprint, finished, open_study
from .trial import Job, trial_params
from .workers import lead, share_threads

PROBE_SECONDS = 2.0


def search(params: Params, options: argparse.Namespace) -> None:
    """Run the trials and the confirmation; the results are printed and logged in any case, also after Ctrl-C."""
    deadline = time.monotonic() + (options.timeout or math.inf)
    resolve(params.train)
    data = prepared.load(paths.PREPARED, params.data)
    tags = source_tags(params, data)
    if options.workers > 1:
        training_data(params, data)  # stores the features of the real images, for the workers
    storage = open_storage(options.storage, create=options.trials > 0)
    if not options.trials:
        existing_study(params.tune.study, storage)  # to confirm
    with exclusively(storage):
        study = open_study(params, fingerprint(params, data.content_hash, tags["classifier.hash"]), storage)
        _fill_queue(study, storage, params)
    experiment, texts = f"{data.name} tuning", dict[str, str]()
    with study_run(study, storage, params, experiment, tags) as run:
        name = study.study_name
        job = Job(params, options.storage, name, name, options.trials, deadline, experiment, run.run_id, tags)
        try:
            if (pruner := _pruner(params)) != params.tune.pruner:
                print(f"pruner: {pruner}")
            if 0 < options.trials <= (done := finished(study)):
                print(f"study {name!r} already has {done} finished trials; --trials is the total number")
            elif options.trials:
                lead(job, study, storage, options.workers, run)
            if options.confirm_top and time.monotonic() < deadline:
                texts = _confirm(job, study, storage, options, run)
        finally:
            print_best(study)
            with reporting_outage("the study's table"):
                record_study(run, study, texts)


def _fill_queue(study: optuna.Study, storage: BaseStorage, params: Params) -> None:
    """Enqueue the trials of dead workers, and the values of params.yaml."""
    for trial in retry_stale(study, storage):
        print(f"trial {trial.number} was interrupted when its worker died: it resumes from its checkpoint")
    current = space.current_values(params)
    if beyond := enqueue(study, current, params, origin="params.yaml"):
        names = ", ".join(f"{name} {current[name]}" for name in beyond)
        print(f"the values of params.yaml are not tried, since they are outside tune.space: {names}")


def _confirm(
    job: Job, study: optuna.Study, storage: BaseStorage, options: argparse.Namespace, run: Run
) -> dict[str, str]:
    """Train the best trials with other seeds, and print mean and spread; returns the table as CSV by file name."""
    params = confirming_params(job.params, options.confirm_kimg)
    chosen = candidates(study, job.params, options.confirm_top)
    if not chosen:
        print("there is no trial to confirm yet")
        return {}
    made, target = confirming_study(study, storage, params, chosen, options.seeds)
    print(f"confirming trials {', '.join(map(str, chosen))} with {options.seeds} other seeds each")
    lead(
        replace(job, params=params, study=made.study_name, trials=target, queued_only=True),
        *(made, storage, options.workers, run),
    )
    table = confirmed_table(made, chosen, study)
    print(f"over {options.seeds} seeds and {params.tune.kimg:g} thousand images, the best mean first:")
    print(formatted(table))
    if finished(made) < target:
        print(f"{finished(made)} of {target} runs are finished; the same command resumes the confirmation")
    else:
        remember(study, table)
    return {f"{made.study_name}.csv": table.to_csv(index=False)}


def _pruner(params: Params) -> str:
    if space.can_prune(params.tune.objectives):
        return params.tune.pruner
    return "none, since Optuna prunes by a single objective that is measured during training"


def dry_run(params: Params, workers: int, trials: int) -> None:
    """Print the search space and the estimated duration of the trials on this machine. Nothing is written."""
    tune = params.tune
    print(f"study {tune.study!r}: {', '.join(tune.objectives)}, sampler {tune.sampler}, pruner {_pruner(params)}")
    print(formatted(space_table(params)))
    threads = share_threads(workers)
    device = resolve(params.train, threads).device
    data = prepared.load(paths.PREPARED, params.data)
    check_inputs(params, data.content_hash, generator=False)
    real_images = RealImages(load_classifier(paths.CLASSIFIER, device), data, paths.FEATURES)
    if real_images.folder and not real_images.folder.is_dir():
        real_images.folder = None  # cached features are read, but none are written
    judge = ValidationJudge(real_images, params.train.score_samples, params.evaluate.nearest_k)
    training = TrainingData(data.train.images, data.train.labels, len(data.class_names), judge, judge.diversity)
    images_per_second, score_seconds = probe(trial_params(params, {}), training)
    scores = max(1, round(tune.kimg / tune.score_every_kimg))
    seconds = 1000 * tune.kimg / images_per_second + scores * score_seconds
    print(f"a trial: {1000 * tune.kimg:,.0f} images, {images_per_second:,.0f} images/s, about {seconds:.0f} s")
    by = f"{workers} workers with {threads} threads each" if workers > 1 else "1 worker"
    print(f"{trials} trials with {by}: at most about {trials * seconds / workers / 60:.1f} min, less with pruning")


class _Enough(Exception):
    """The speed has been measured."""


class _Stopwatch(Recorder):
    """Measures the steps after the first logging interval, which includes the warm-up."""

    started: tuple[float, int] | None = None
    images_per_second = 0.0

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        now = time.perf_counter()
        if self.started is None:
            self.started = now, progress.images
        elif now - self.started[0] >= PROBE_SECONDS:
            self.images_per_second = (progress.images - self.started[1]) / (now - self.started[0])
            raise _Enough


def probe(params: Params, data: TrainingData) -> tuple[float, float]:
    """Train for two seconds and score twice; returns images per second and seconds per score."""
    seconds: list[float] = []

    def timed(generator: Generator) -> Mapping[str, float]:
        start = time.perf_counter()
        scores = data.judge(generator)
        seconds.append(time.perf_counter() - start)
        return scores

    steps = 10 * params.train.batch_size / 1000
    short = {"train.log_every_kimg": steps, "train.patience": 0}
    watch = _Stopwatch()
    with suppress(_Enough):
        fit(params.replace({**short, "train.kimg": 1e9, "train.score_every_kimg": 1e9}), data, watch)
    twice = params.replace({**short, "train.kimg": 2 * steps, "train.score_every_kimg": steps})
    fit(twice, replace(data, judge=timed), Recorder())
    return watch.images_per_second, min(seconds)
