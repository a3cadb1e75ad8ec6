"""The project's training loop against a textbook one, in one run and in alternation, and what else a training costs.

Run it with nothing else on the machine: ``python -m benchmarks.train_speed``. Its images are random, it downloads nothing.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from benchmarks import report
from benchmarks.machine import describe_machine, gpu_busy, matmul_rate, synchronize
from benchmarks.memory import peak_memory
from benchmarks.settings import FAMILIES, for_family, random_images
from benchmarks.textbook import TextbookTraining
from benchmarks.tracked import no_judge, tracking_cost
from src.config.params import Params, load_params
from src.core.arguments import Parser
from src.core.device import resolve
from src.core.errors import run_command
from src.training.flops import training_flops
from src.training.loop import TrainingData, fit
from src.training.recorder import Progress, Recorder

PARTS = ("speed", "tracking", "memory")
TEXTBOOK_BATCH = 64
TEXTBOOK_WARM_UP = 20
"""Steps."""
NOTE = (
    "images/s, medians; ratio: project over textbook, median of the pairs and their range. The textbook loop has neither\n"
    "averaged generator nor R1 penalty, the project's has both; 'plain' is the project's without R1. Both have the\n"
    "same networks and batch. Share: of the matmul rate, measured right before the project's turn in each pair."
)


@dataclass
class Row:
    """A family at a batch size; the lists have an entry a pair."""

    family: str
    batch_size: int
    is_default: bool
    """whether the batch is the one that the project uses for this family"""
    flops: float
    """a real image of the project's loop"""
    textbook: list[float] = field(default_factory=list)
    """images/s, as the next two"""
    project: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    matmul: list[float] = field(default_factory=list)
    """operations a second"""
    busy: float | None = None
    """percent, on a GPU"""

    @property
    def ratios(self) -> list[float]:
        """Project over textbook."""
        return [ours / theirs for ours, theirs in zip(self.project, self.textbook, strict=True)]

    @property
    def plain_ratios(self) -> list[float]:
        """The same without R1."""
        return [ours / theirs for ours, theirs in zip(self.plain, self.textbook, strict=True)]

    @property
    def shares(self) -> list[float]:
        """Percent of the matmul rate that the project's loop reaches."""
        return [100 * rate * self.flops / matmul for rate, matmul in zip(self.project, self.matmul, strict=True)]

    def figures(self) -> dict[str, float]:
        """What there are targets for, by their names."""
        found = {}
        if self.batch_size == TEXTBOOK_BATCH:
            found[f"{self.family}, batch {TEXTBOOK_BATCH}: {report.RATIO}"] = statistics.median(self.ratios)
        if self.is_default:
            found[f"{self.family}, default batch: {report.SHARE}"] = statistics.median(self.shares)
            if self.busy is not None:
                found[f"{self.family}, default batch: {report.BUSY}"] = self.busy
        return found

    def cells(self) -> dict[str, str]:
        """The row of the table."""
        cells = {
            "family": self.family,
            "batch": str(self.batch_size),
            "textbook": report.median(self.textbook),
            "project": report.median(self.project),
            "ratio": report.median(self.ratios, 2),
            "range": report.spread(self.ratios),
            "plain": report.median(self.plain),
            "plain ratio": report.median(self.plain_ratios, 2),
            "MFLOP/image": f"{self.flops / 1e6:,.1f}",
            "matmul GFLOP/s": report.median([rate / 1e9 for rate in self.matmul]),
            "share %": report.median(self.shares, 1),
        }
        return cells if self.busy is None else {**cells, "GPU busy %": f"{self.busy:.1f}"}


class IntervalClock(Recorder):
    """Notes images and seconds of each logging interval."""

    def __init__(self) -> None:
        self.intervals: list[tuple[int, float]] = []
        self._images = 0

    def losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Note the interval."""
        images, self._images = progress.images - self._images, progress.images
        self.intervals.append((images, images / values["images_per_second"]))


def project_rate(params: Params, images: Tensor, labels: Tensor, kimg: float) -> float:
    """Images/s of ``fit``, scoring left out; the first logging interval warms up and does not count."""
    log_every = min(params.train.log_every_kimg, kimg)
    length = {"train.log_every_kimg": log_every, "train.kimg": log_every + kimg}
    once = {"train.score_every_kimg": log_every + kimg, "train.patience": 0}
    clock = IntervalClock()
    fit(params.replace({**length, **once}), TrainingData(images, labels, 10, no_judge), clock)
    counted = clock.intervals[1:]
    return sum(count for count, _ in counted) / sum(seconds for _, seconds in counted)


def textbook_rate(params: Params, images: Tensor, labels: Tensor, kimg: float, workers: int = 0) -> float:
    """Images/s of the textbook loop, after some steps that do not count."""
    training = TextbookTraining(params, images, labels, 10, workers)
    steps, count = training.steps(), max(1, round(1000 * kimg / params.train.batch_size))
    for _ in islice(steps, TEXTBOOK_WARM_UP):
        pass
    synchronize(training.device)
    began = time.perf_counter()
    for _ in islice(steps, count):
        pass
    synchronize(training.device)
    return count * params.train.batch_size / (time.perf_counter() - began)


def measure(params: Params, images: Tensor, labels: Tensor, row: Row, options: argparse.Namespace) -> None:
    """Fill the row, a pair after the other."""
    context = resolve(params.train)
    device, dtype = context.device, torch.bfloat16 if context.bfloat16 else torch.float32
    # On a GPU, so few images would be over too soon to time.
    kimg = options.project_kimg or options.kimg * (10 if device.type == "cuda" else 1)
    for _ in range(options.runs):
        row.textbook.append(textbook_rate(params, images, labels, options.kimg, options.workers))
        with context.training_step():
            row.matmul.append(matmul_rate(device, dtype))
        row.project.append(project_rate(params, images, labels, kimg))
        row.plain.append(project_rate(params.replace({"train.r1_weight": 0.0}), images, labels, kimg))
    if device.type == "cuda":
        row.busy = 100 * gpu_busy(params, images, labels)


def batch_sizes(params: Params, asked: int | None) -> list[int]:
    """The one that was asked for; otherwise what textbook scripts use, and the project's own."""
    return [asked] if asked else list(dict.fromkeys((TEXTBOOK_BATCH, params.train.batch_size)))


def speed_rows(base: Params, families: Sequence[str], options: argparse.Namespace) -> list[Row]:
    """Measure each family at its batch sizes."""
    images, labels = random_images(10_000, options.image_size, channels=options.channels)
    rows = []
    for family in families:
        own = for_family(base, family)
        for batch_size in batch_sizes(own, options.batch_size):
            params = own.replace({"train.batch_size": batch_size})
            is_default = batch_size == own.train.batch_size
            row = Row(family, batch_size, is_default, training_flops(params, images, labels, 10))
            measure(params, images, labels, row, options)
            rows.append(row)
    return rows


def tracking_figures(params: Params, options: argparse.Namespace) -> tuple[dict[str, str], dict[str, float]]:
    """The cost of tracking: the row of the table, and the figure that has a target."""
    params = params.replace({"train.kimg": options.tracking_kimg or params.train.kimg, "train.patience": 0})
    costs = tracking_cost(params, TrainingData(*random_images(10_000), 10, no_judge), options.tracking_runs)
    what = f"tracking, {params.model.family}, {params.train.kimg:g} kimg"
    cells = {"what": what, "median": f"{report.median(costs, 2)} %", "range": f"{report.spread(costs)} %"}
    return cells, {report.TRACKING: statistics.median(costs)}


def memory_figures(params: Params, options: argparse.Namespace) -> tuple[list[dict[str, str]], dict[str, float]]:
    """The peak memory of a training: rows of the table, and the figure that has a target."""
    peak, family = peak_memory(params, options.memory_kimg), params.model.family
    cells = [{"what": f"peak resident memory, {family}", "median": f"{peak.resident:,.0f} MiB", "range": ""}]
    if peak.gpu:
        cells.append({"what": f"peak allocated on the GPU, {family}", "median": f"{peak.gpu:,.0f} MiB", "range": ""})
    return cells, {f"{family}: {report.MEMORY}": peak.resident}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m benchmarks.train_speed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", choices=(*FAMILIES, "both"), default="both")
    parser.add_argument("--batch-size", type=int, help=f"instead of {TEXTBOOK_BATCH} and the project's own")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), help="instead of params.yaml's")
    parser.add_argument("--image-size", type=int, default=28, help="pixels, of the part speed (28)")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1, help="of the part speed (1)")
    parser.add_argument("--runs", type=int, default=5, help="pairs of textbook and project")
    parser.add_argument("--kimg", type=float, default=20, help="thousands of images per measurement")
    parser.add_argument("--project-kimg", type=float, help="the same for the project's loop; on a GPU ten times --kimg")
    parser.add_argument("--workers", type=int, default=0, help="processes of the textbook loop's DataLoader")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--tracking-kimg", type=float, help="length of a tracked training, instead of train.kimg")
    parser.add_argument("--tracking-runs", type=int, default=3, help="pairs of trainings with and without tracking")
    parser.add_argument("--memory-kimg", type=float, default=4, help="length of the training whose memory is measured")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and say which targets are reached."""
    options = parse_arguments(arguments)
    base = load_params()
    if options.precision:
        base = base.replace({"train.precision": options.precision})
    device = resolve(base.train).device
    families = FAMILIES if options.family == "both" else (options.family,)
    print(f"training speed on {describe_machine(device)}", flush=True)
    figures: dict[str, float] = {}
    if "speed" in options.parts:
        rows = speed_rows(base, families, options)
        print(f"\n{report.table([row.cells() for row in rows], markdown=options.markdown)}\n\n{NOTE}", flush=True)
        for row in rows:
            figures |= row.figures()
    costs: list[dict[str, str]] = []
    if "tracking" in options.parts:
        cells, found = tracking_figures(for_family(base, families[0]), options)
        costs.append(cells)
        figures |= found
    if "memory" in options.parts:
        for family in families:
            more, found = memory_figures(for_family(base, family), options)
            costs += more
            figures |= found
    if costs:
        print(f"\n{report.table(costs, markdown=options.markdown)}")
    print("", *report.target_lines(figures, gpu=device.type == "cuda"), sep="\n")


if __name__ == "__main__":
    run_command(main)
