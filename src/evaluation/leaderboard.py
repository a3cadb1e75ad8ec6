"""Several generators by the same numbers, each with its interval, on the test split; and the real images beside them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch

from ..config.params import Evaluate
from ..data.prepared import Split
from ..networks.interface import Classifier, Generator
from .bootstrap import Estimate
from .catalogue import CATALOGUE
from .document import overall
from .evaluator import HeldOutImages
from .metrics.gan_train import gan_train
from .real_images import RealImages
from .scorecard import Metric, quick_metrics, scorecard
from .scored import Scored

SHOWN = (
    "gan_test_accuracy",
    "gan_train_accuracy",
    "frechet_classifier_distance",
    "frechet_joint_distance",
    "precision",
    "recall",
    "coverage",
    "copied_share",
)
"""the numbers of the leaderboard"""


class Leaderboard:
    """Scores generators, and the real images of the validation split, as :func:`src.evaluation.evaluator.evaluate` does."""

    def __init__(
        self,
        settings: Evaluate,
        real_images: RealImages,
        fit: Callable[[Split, Split], Classifier],
        device: torch.device,
    ) -> None:
        """``fit(train, held_out)`` trains a classifier for GAN-train."""
        self.held_out = HeldOutImages(settings, real_images, device)
        self.quick: list[Metric] = [*quick_metrics(settings.nearest_k)]
        self.labelled: list[Metric] = [partial(gan_train, fit=fit)] if settings.gan_train else []

    def generator(self, generator: Generator) -> dict[str, Estimate]:
        """The numbers SHOWN of a generator; those about labels only if it takes them."""
        drawn, _ = self.held_out.draw(generator.to(self.held_out.device))
        return self._numbers(drawn, conditional=generator.conditional)

    def ceiling(self) -> dict[str, Estimate]:
        """The same numbers of real images that nobody has trained on."""
        return self._numbers(self.held_out.ceiling, conditional=True)

    def _numbers(self, one: Scored, *, conditional: bool) -> dict[str, Estimate]:
        metrics = [*self.quick, *(self.labelled if conditional else [])]
        rows = scorecard(metrics, self.held_out.beside_training(one)[0], self.held_out.real, conditional=conditional)
        return {name: estimate for name, estimate in overall(rows).items() if name in SHOWN}


def with_interval(one: Mapping[str, float], digits: int = 3) -> str:
    """``0.906 [0.901, 0.911]``"""
    low, high, value = (format(one[name], f".{digits}f") for name in ("low", "high", "value"))
    return f"{value} [{low}, {high}]"


def as_table(results: Sequence[Mapping[str, Any]], ceiling: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A row a recipe, the best validation score first; below them the ``ceiling``, real images.

    A result has ``recipe``, ``score``, ``numbers`` (those SHOWN, each as the dictionary of an Estimate), ``images_per_second``,
    ``minutes``, ``parameters`` of generator and discriminator, and ``drawing_flops`` and ``training_flops`` an image.
    """
    titles = {name: CATALOGUE[name].title for name in SHOWN}
    rows = [
        {
            "recipe": one["recipe"],
            "validation score": f"{one['score']:.3f}",
            **{titles[name]: with_interval(one["numbers"][name]) for name in SHOWN if name in one["numbers"]},
            "images/s": f"{one['images_per_second']:,.0f}",
            "minutes": f"{one['minutes']:.1f}",
            "parameters of both": " / ".join(f"{count:,}" for count in one["parameters"].values()),
            "MFLOP to draw": f"{one['drawing_flops'] / 1e6:,.2f}",
            "MFLOP to train": f"{one['training_flops'] / 1e6:,.1f}",
        }
        for one in sorted(results, key=lambda some: float(some["score"]))
    ]
    rows.append({"recipe": "real images", **{titles[name]: with_interval(one) for name, one in ceiling.items()}})
    # The order of columns is that of the first row that has all of them.
    columns = max(rows, key=len)
    return pd.DataFrame(rows, columns=list(columns)).fillna("")


def as_markdown(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines) + "\n"
