"""Which metric catches which way of cheating? ``python -m benchmarks.fooling [--samples N]``

Sets of images that a bad generator could give are scored like a generator's, beside real held-out images. A metric catches a
cheat where its 95 % interval lies wholly on the worse side of that of the real images. The table in docs/scorecard.md is made
by this, and a test holds it against the digits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from src.config.params import Evaluate, load_params
from src.core import paths
from src.core.arguments import Parser
from src.core.device import resolve
from src.core.errors import run_command
from src.data import prepared
from src.data.prepared import Split
from src.evaluation.bootstrap import Estimate
from src.evaluation.catalogue import CATALOGUE, METRICS, clearly_better
from src.evaluation.classifier import fit_by
from src.evaluation.evaluator import Evaluator
from src.evaluation.judge import ValidationJudge
from src.evaluation.metric import Context, Fit
from src.evaluation.real_images import RealImages
from src.evaluation.scorecard import overall
from src.evaluation.scored import Scored
from src.networks.description import load_classifier

SMOOTH = 10
"""images of a class that the over-smooth generator averages"""


@dataclass(frozen=True)
class Real:
    """What a cheat may look at."""

    train: Split
    held_out: Split
    """real images of another split"""
    best: Tensor
    """int64 (K,): the place in ``held_out`` of the image of each class that the classifier is surest of"""


Cheat = Callable[[Real, Tensor, torch.Generator], Tensor]
"""Real images, labels int64 (N,) and a source of chance, to images uint8 (N, C, H, W)."""


def collapsed(real: Real, labels: Tensor, chance: torch.Generator) -> Tensor:
    """One good image a class, over and over."""
    return real.held_out.images[real.best[labels]]


def ignores_label(real: Real, labels: Tensor, chance: torch.Generator) -> Tensor:
    """Real images, of any class."""
    return real.held_out.images[torch.randperm(len(real.held_out), generator=chance)[: len(labels)]]


def copies(real: Real, labels: Tensor, chance: torch.Generator) -> Tensor:
    """Training images of the class."""
    return real.train.images[_of_class(real.train, labels, chance)]


def over_smooth(real: Real, labels: Tensor, chance: torch.Generator) -> Tensor:
    """The mean of ten training images of the class."""
    mean = torch.zeros(len(labels), *real.train.images.shape[1:])
    for _ in range(SMOOTH):
        mean += real.train.images[_of_class(real.train, labels, chance)].float() / SMOOTH
    return mean.round().to(torch.uint8)


def noise(real: Real, labels: Tensor, chance: torch.Generator) -> Tensor:
    """Each pixel by chance, without any class."""
    return torch.randint(0, 256, (len(labels), *real.train.images.shape[1:]), dtype=torch.uint8, generator=chance)


CHEATS: dict[str, Cheat] = {
    "collapsed": collapsed,
    "ignores its label": ignores_label,
    "copies": copies,
    "over-smooth": over_smooth,
    "noise": noise,
}


def _of_class(split: Split, labels: Tensor, chance: torch.Generator) -> Tensor:
    chosen = torch.zeros(len(labels), dtype=torch.int64)
    for label in labels.unique().tolist():
        members, places = (split.labels == label).nonzero()[:, 0], (labels == label).nonzero()[:, 0]
        chosen[places] = members[torch.randint(len(members), (len(places),), generator=chance)]
    return chosen


def estimates(
    real_images: RealImages,
    fit: Fit,
    samples: int,
    nearest_k: int = 5,
    rows: int = 100,
) -> dict[str, dict[str, Estimate]]:
    """Every number of the scorecard by source of images: ``real`` for held-out real ones, then the cheats."""
    data = real_images.data
    count = min(samples, len(data.test), len(data.validation))
    evaluator = Evaluator(real_images, "test", count=count, resample_count=rows)
    held_out = real_images.scored("validation").head(count)
    sources = {"real": evaluator.complete(held_out)}
    for name, cheat in CHEATS.items():
        images = cheat(_shown(data.train, held_out), evaluator.labels, torch.Generator().manual_seed(0))
        sources[name] = evaluator.score(images)
    context = Context(Evaluate(nearest_k=nearest_k), fit=fit, device=evaluator.device)
    chosen, found = [metric for metric in METRICS if metric.when(context)], {}
    for name, one in sources.items():
        found[name] = overall(evaluator.measure(chosen, one, context))
        print(f"{name}: scored", flush=True)
    return found


def _shown(train: Split, held_out: Scored) -> Real:
    assert held_out.images is not None
    confidence = held_out.logits.softmax(dim=1)
    mine = F.one_hot(held_out.labels, held_out.class_count).bool()
    return Real(train, Split(held_out.images, held_out.labels), confidence.where(mine, 0).argmax(dim=0))


def caught(found: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, bool]]:
    """For each number, which cheats it catches."""
    return {
        name: {cheat: clearly_better(name, real, found[cheat][name]) for cheat in CHEATS}
        for name, real in found["real"].items()
    }


def objectives(judge: ValidationJudge) -> dict[str, float]:
    """The number that training, tuning and the registry minimise: of held-out real images (``real``), and of the cheats.

    The judge looks at the validation split, so the real images come from the test split.
    """
    data, labels = judge.real_images.data, judge.evaluator.labels
    unseen = torch.cat([(data.test.labels == label).nonzero()[:, 0] for label in range(judge.real.class_count)])
    by_class = {label: iter(unseen[data.test.labels[unseen] == label].tolist()) for label in labels.unique().tolist()}
    images = {"real": data.test.images[[next(by_class[label]) for label in labels.tolist()]]}
    shown = _shown(data.train, judge.real_images.scored("test"))
    for name, cheat in CHEATS.items():
        images[name] = cheat(shown, labels, torch.Generator().manual_seed(0))
    return {name: judge.judge_images(some)["score"] for name, some in images.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables for the prepared dataset."""
    parser = Parser(prog="python -m benchmarks.fooling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=10_000, help="images of each kind (default 10,000)")
    options = parser.parse_args(arguments)
    params, data = load_params(), prepared.load(paths.PREPARED)
    device = resolve(params.train).device
    real_images = RealImages(load_classifier(paths.CLASSIFIER, device), data, paths.FEATURES)

    fit = fit_by(params.classifier, len(data.class_names), device, "classifier")
    found = estimates(real_images, fit, options.samples, params.evaluate.nearest_k)
    table = caught(found)
    print(f"| | real images | {' | '.join(CHEATS)} |\n|---|{'---:|' * (1 + len(CHEATS))}")
    for name, cheats in table.items():
        cells = [f"{'**' * hit}{found[cheat][name].value:.3g}{'**' * hit}" for cheat, hit in cheats.items()]
        print(f"| {CATALOGUE[name].title} | {found['real'][name].value:.3g} | {' | '.join(cells)} |")
    scores = objectives(ValidationJudge(real_images, params.train.score_samples, params.evaluate.nearest_k))
    print(f"| objective, on the validation split | {' | '.join(f'{score:.3g}' for score in scores.values())} |")


if __name__ == "__main__":
    run_command(main)
