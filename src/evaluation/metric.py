"""What a metric is: the numbers that it adds to the scorecard, and how they are computed.

A metric is one file in :mod:`src.evaluation.metrics` that defines ``METRIC``. This module imports no slow library, and neither
does a metric's file before it computes, so that titles and directions can be looked up at once.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..core.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..config.params import Evaluate
    from ..data.prepared import Split
    from ..networks.interface import Classifier, Generator
    from .scored import Scored

LABELS, LIKENESS, OTHER = "Labels", "Quality and variety", "Copies, balance, reconstruction"
INCEPTION = "In the Inception network"
GROUPS = (LABELS, LIKENESS, OTHER, INCEPTION)
"""of numbers that are read together, in the order of the scorecard; others follow"""
BY_CLASS = "_by_class"
"""the end of the name of a number that exists for each class"""

Rows: TypeAlias = "dict[str, Tensor]"
"""Numbers by name: each (1 + R,), the value and then that of each resample; or (1 + R, K), by class."""
Fit: TypeAlias = "Callable[[Split, Split], Classifier]"
"""``fit(train, held_out)`` trains a classifier, for GAN-train."""


@dataclass(frozen=True)
class Number:
    """A number of the scorecard."""

    title: str
    better: Literal["higher", "lower"] | None
    group: str
    lowest: float = 0
    highest: float = 1
    labelled: bool = False
    """is about the requested label; left out for an unconditional generator"""
    beyond_real: Literal["suspect", "no gain", "gain"] = "suspect"
    """what it means that generated images have a better value than held-out real ones"""
    fewer_resamples: bool = False
    """has fewer resamples than the other numbers, since each takes seconds"""


@dataclass
class Context:
    """What a metric may need besides the images."""

    settings: "Evaluate"
    conditional: bool = True
    """whether the images were made for their labels"""
    by_class: bool = True
    """whether numbers by class are wanted, where they take longer than those over all classes"""
    generator: "Generator | None" = None
    """the generator of the images; None for real or trivial images"""
    fit: "Fit | None" = None
    device: "torch.device | None" = None
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def keep(self, name: str, compute: Callable[[], Any]) -> Any:
        """The result of ``compute``, computed once for all sets of images, a network that is loaded for instance."""
        if name not in self._kept:
            self._kept[name] = compute()
        return self._kept[name]


@dataclass(frozen=True)
class PValue:
    """A statistical test on generated and real images."""

    hypothesis: str
    """under which a p-value is the probability of a result at least as extreme"""
    compute: "Callable[[Scored, Scored], float]"


@dataclass(frozen=True)
class Metric:
    """One or several numbers that are computed together."""

    numbers: Mapping[str, Number]
    """by name; one that ends with ``BY_CLASS`` is listed only where it differs from the number over all classes"""
    compute: "Callable[[Scored, Scored, Context], dict[str, Tensor]]"
    """generated and real images to the rows of every number"""
    source: str
    """the paper or library that it follows"""
    place: int = 50
    """lower ones come first within a group"""
    when: Callable[[Context], bool] = lambda _: True
    """whether the settings ask for it"""
    left_out: str = ""
    """a message for the log when they do not"""
    p_values: Mapping[str, PValue] = field(default_factory=dict)


@cache
def discover(package: str) -> tuple[Metric, ...]:
    """The metrics of all files in a package beside this module and below, such as ``.metrics``, in order."""
    root = importlib.import_module(package, __package__)
    names = sorted(module.name for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}."))
    found = (getattr(importlib.import_module(name), "METRIC", None) for name in names)
    return tuple(sorted((one for one in found if one is not None), key=_place))


def _place(metric: Metric) -> tuple[int, str]:
    return metric.place, next(iter(metric.numbers))


def ordered(metrics: Iterable[Metric]) -> dict[str, Number]:
    """All numbers by name, in the scorecard's order: by group, then by the metric's place; those by class last."""
    named = {name: number for metric in sorted(metrics, key=_place) for name, number in metric.numbers.items()}
    groups = [*GROUPS, *(number.group for number in named.values())]
    return dict(sorted(named.items(), key=lambda item: (item[0].endswith(BY_CLASS), groups.index(item[1].group))))


def number_of(name: str, numbers: Mapping[str, Number]) -> Number:
    """The entry of a number; a number by class without an entry of its own has that of the number over all classes."""
    return numbers.get(name) or numbers[name.removesuffix(BY_CLASS)]


def rows(metrics: Iterable[Metric], generated: "Scored", real: "Scored", context: Context) -> Rows:
    """The rows of every number, on the CPU, in the scorecard's order; those about labels only for a ``conditional`` generator.

    Raises ValueError for sets of images with different numbers of resamples.
    """
    from ..core.device import on_cpu

    if len(generated.weights) != len(real.weights):
        ours, theirs = (len(one.weights) - 1 for one in (generated, real))
        raise ValueError(f"{ours} resamples of the generated images, {theirs} of the real ones")
    computed: list[Metric] = []
    found: Rows = {}
    for metric in metrics:
        computed.append(metric)
        found |= metric.compute(generated, real, context)
    numbers = ordered(computed)
    order = list(numbers)
    wanted = (name for name in found if context.conditional or not number_of(name, numbers).labelled)
    names = sorted(wanted, key=lambda name: order.index(name if name in numbers else name.removesuffix(BY_CLASS)))
    return dict(zip(names, on_cpu(found[name] for name in names), strict=True))


def values(found: Mapping[str, "Tensor"]) -> dict[str, float]:
    """The overall values alone."""
    return {name: float(some[0]) for name, some in found.items() if some.ndim == 1}


def need(count: int, at_least: int, what: str) -> None:
    """Raise a UserError where there are too few images for a metric."""
    if count < at_least:
        raise UserError(f"{what}: needs at least {at_least} images, there are {count}; raise evaluate.samples")
