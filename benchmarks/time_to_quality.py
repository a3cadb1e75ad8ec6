"""Seconds until the generator is good: the project's loop, a textbook loop with its networks, and the guide's first cGAN.

It needs ``data/prepared`` and ``models/classifier`` (``dvc repro train_classifier``). The clock does not count the scoring.
Run it with nothing else on the machine: ``python -m benchmarks.time_to_quality --thresholds 3 1.5 1``.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from benchmarks import report
from benchmarks.machine import describe_machine
from benchmarks.settings import FAMILIES, for_family
from benchmarks.textbook import TextbookTraining
from src.config.params import Params, load_params
from src.core import paths
from src.core.arguments import Parser
from src.core.device import resolve
from src.core.errors import run_command
from src.data import prepared
from src.evaluation.judge import ValidationJudge
from src.networks.interface import Generator
from src.training.loop import TrainingData, fit
from src.training.recorder import Progress, Recorder
from src.training.setup import validation_judge

LOOPS = ("project", "textbook", "guide")
GUIDE = {
    "model.family": "mlp",
    "model.conditioning": "concat",
    "model.hidden_sizes": [256, 512, 1024],
    "train.loss": "bce",
    "train.batch_size": 64,
    "train.lr_generator": 2e-4,
    "train.lr_discriminator": 2e-4,
    "train.beta1": 0.5,
    "train.beta2": 0.999,
}
"""A beginner's guide's conditional GAN, trained by the textbook loop: fully connected, the label joined to both inputs."""
MEASURE = "frechet_classifier_distance"


@dataclass
class Race(Recorder):
    """One training on its way to the last threshold: its clock, its judge, and its recorder in the project's loop."""

    judge: ValidationJudge
    thresholds: Sequence[float]
    """in descending order"""
    limit: float
    """seconds"""
    began: float = field(default_factory=time.perf_counter)
    judging: float = 0.0
    """seconds"""
    seconds: float = 0.0
    """training time at the last score"""
    images: int = 0
    values: list[float] = field(default_factory=list)
    """of the MEASURE, a value a score"""
    reached: dict[float, float] = field(default_factory=dict)
    """training time of the first score below each threshold"""

    def score(self, generator: Generator) -> Mapping[str, float]:
        """Stop the clock, and judge."""
        before = time.perf_counter()
        scores = self.judge(generator)
        self.seconds = before - self.began - self.judging
        self.values.append(scores[MEASURE])
        for threshold in self.thresholds:
            if scores[MEASURE] < threshold:
                self.reached.setdefault(threshold, self.seconds)
        self.judging += time.perf_counter() - before
        return scores

    def scores(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Note how many images it took."""
        self.images = progress.images

    def stop_reason(self) -> str | None:
        """At the last threshold, and at the limit."""
        if len(self.reached) == len(self.thresholds):
            return "the last threshold is reached"
        return "the time is up" if self.seconds >= self.limit else None

    def cells(self, loop: str, first: "Race") -> dict[str, str]:
        """The row of the table, with ratios to the times of ``first``; without a time, to that at which this one gave up."""
        cells = {"loop": loop}
        for threshold in self.thresholds:
            found, base = self.reached.get(threshold), first.reached.get(threshold)
            cells[f"< {threshold:g}"] = f"not within {self.seconds:.0f} s" if found is None else f"{found:.1f} s"
            more = "" if found is not None else "over "
            cells[f"ratio, < {threshold:g}"] = f"{more}{(found or self.seconds) / base:.2f}" if base else ""
        rate = f"{self.images / self.seconds:,.0f}" if self.seconds else ""
        last = {"kimg": f"{self.images / 1000:.1f}", "last value": f"{self.values[-1]:.3f}"}
        return {**cells, **last, "best": f"{min(self.values):.3f}", "images/s": rate}


def race_project(params: Params, data: prepared.Split, class_count: int, race: Race) -> None:
    """Train with ``fit``; its averaged generator is judged."""
    device = resolve(params.train).device
    images, labels = data.images.to(device), data.labels.to(device)
    fit(params, TrainingData(images, labels, class_count, race.score), race)


def race_textbook(params: Params, data: prepared.Split, class_count: int, race: Race) -> None:
    """Train as textbooks do, for as many images at most; the generator itself is judged, in evaluation mode."""
    batch_size = params.train.batch_size
    training = TextbookTraining(params, data.images, data.labels, class_count)
    every, total = (
        max(1, round(1000 * kimg / batch_size)) for kimg in (params.train.score_every_kimg, params.train.kimg)
    )
    steps, done = training.steps(), 0
    while done < total and not race.stop_reason():
        count = min(every, total - done)
        for _ in islice(steps, count):
            pass
        done += count
        race.images = done * batch_size
        race.score(training.generator)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train each loop, and print how long it took."""
    parser = Parser(prog="python -m benchmarks.time_to_quality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--thresholds", type=float, nargs="+", default=[3.0, 1.5, 1.0], help=f"of the validation split's {MEASURE}"
    )
    parser.add_argument("--family", choices=FAMILIES, help="instead of params.yaml's")
    parser.add_argument("--limit", type=float, default=600, help="seconds of training after which a loop gives up")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS, help="ratios are to the first one")
    parser.add_argument("--every-kimg", type=float, default=10, help="thousands of images between two scores")
    parser.add_argument("--seed", type=int, help="instead of params.yaml's train.seed")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args(arguments)
    thresholds = sorted(set(options.thresholds), reverse=True)
    base = load_params()
    # The loop scores in whole logging intervals; so all loops are scored after the same number of images.
    every = {"train.log_every_kimg": options.every_kimg, "train.score_every_kimg": options.every_kimg}
    changes = {**every, "train.patience": 0}
    changes |= {} if options.seed is None else {"train.seed": options.seed}
    params = for_family(base, options.family or base.model.family).replace(changes)
    device = resolve(params.train).device
    data = prepared.load(paths.PREPARED)
    judge, classes = validation_judge(params, data), len(data.class_names)
    shown = ", ".join(f"{one:g}" for one in thresholds)
    print(f"seconds until {MEASURE} < {shown} on {data.name}, {params.model.family}, ", end="")
    print(f"batch {params.train.batch_size}, seed {params.train.seed}; {describe_machine(device)}", flush=True)
    races: list[Race] = []
    for loop in options.loops:
        races.append(Race(judge, thresholds, options.limit))
        plan = params.replace(GUIDE) if loop == "guide" else params
        (race_project if loop == "project" else race_textbook)(plan, data.train, classes, races[-1])
    rows = [race.cells(loop, races[0]) for loop, race in zip(options.loops, races, strict=True)]
    print(report.table(rows, markdown=options.markdown))


if __name__ == "__main__":
    run_command(main)
