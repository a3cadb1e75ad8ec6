"""The scorecard: the one typed document that the evaluation writes and everything else reads."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..core.errors import require_file
from ..core.files import corrupt, read_json, replacing, write_json
from .bootstrap import Estimate, estimate
from .catalogue import CATALOGUE, about, clearly_better
from .metric import BY_CLASS, Rows

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

FILE, RESAMPLES, HEADLINE = "scorecard.json", "bootstrap.csv", "metrics.json"
SOURCES = ("generated", "real", "floor")
Estimates = dict[str, Estimate]


class Scorecard(BaseModel):
    """Every number of a generator beside those of held-out real images (the ceiling) and trivial images (the floor)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    generated: Estimates
    real: Estimates
    floor: Estimates = {}
    by_class: dict[str, dict[str, list[Estimate]]] = {}
    """for each source, by name without its suffix: the estimates of the classes"""
    p_values: dict[str, float] = {}
    samples: int
    """images of each source"""
    nearest_k: int
    resamples: int
    seeds: dict[str, int]
    conditional: bool = True
    class_names: list[str] = []
    classifier_accuracy: float
    """on the test images"""
    classifier_hash: str
    data_hash: str
    generator_hash: str
    warnings: list[str] = []

    @classmethod
    def read(cls, path: Path, shown: str | None = None) -> Self:
        """Read a JSON file. Raises UserError, which calls it ``shown``, if it is missing or corrupt."""
        shown = shown or str(path)
        content = read_json(path, "evaluate", shown=shown)
        try:
            card = cls.model_validate(content)
            card._check()
        except ValidationError as error:
            wrong = error.errors()[0]
            what = f"{'.'.join(map(str, wrong['loc'])) or 'all of it'}: {wrong['msg']}"
            raise corrupt(shown, "evaluate", what) from None
        except ValueError as error:
            raise corrupt(shown, "evaluate", error) from None
        return card

    def _check(self) -> None:
        """Raise ValueError for unknown numbers, and for values that are not finite."""
        for source, numbers in self.sources().items():
            for name, one in numbers.items():
                if name not in CATALOGUE:
                    raise ValueError(f"{source}.{name} is not a number that this project knows")
                # Without resamples there is no interval, and so no comparison; but the file is sound.
                if not isfinite(one.value) or (self.resamples and not (isfinite(one.low) and isfinite(one.high))):
                    raise ValueError(f"{source}.{name} is not finite")

    def write(self, folder: Path) -> None:
        """Write ``scorecard.json``, and the values alone as ``metrics.json`` for DVC."""
        write_json(self.model_dump(), folder / FILE)
        values = {source: {name: one.value for name, one in self.sources()[source].items()} for source in SOURCES[:2]}
        write_json({**values, "classifier": self.classifier_hash[:12]}, folder / HEADLINE)

    def sources(self) -> dict[str, Estimates]:
        """The overall estimates of generated, real and trivial images."""
        return {"generated": self.generated, "real": self.real, "floor": self.floor}

    def classes(self, source: str, name: str) -> list[Estimate]:
        """The estimates of a number for each class; empty where there are none."""
        return self.by_class.get(source, {}).get(name, [])

    def class_table(self) -> "pd.DataFrame":
        """A row for each class, a column for each number and source."""
        import pandas as pd

        table = pd.DataFrame({"class": self.class_names})
        for source, numbers in self.by_class.items():
            for name, classes in numbers.items():
                table[f"{source}_{name}"] = [one.value for one in classes]
        return table


def overall(rows: Rows) -> Estimates:
    """The estimate of each number that is not about a single class."""
    return {name: _estimate(name, some) for name, some in rows.items() if some.ndim == 1}


def by_class(rows: Rows) -> dict[str, list[Estimate]]:
    """The estimates of the classes for each number that exists by class, by its name without the suffix."""
    return {
        name.removesuffix(BY_CLASS): [_estimate(name, column) for column in columns.T]
        for name, columns in rows.items()
        if columns.ndim == 2
    }


def _estimate(name: str, rows: "Tensor") -> Estimate:
    bounds = about(name)
    return estimate(rows, bounds.lowest, bounds.highest)


def too_good(generated: Estimates, real: Estimates) -> list[str]:
    """A warning that names the numbers in which generated images clearly beat real ones without that being progress."""
    names = [
        name
        for name, one in generated.items()
        if about(name).beyond_real == "suspect" and clearly_better(name, one, real[name])
    ]
    if not names:
        return []
    return [
        f"better than real images in {', '.join(about(name).title for name in names)}: this is not progress: the generator "
        "exploits the classifier or repeats a few good images; check recall, coverage and GAN-train"
    ]


def write_resamples(rows: Rows, path: Path) -> None:
    """Write a CSV with a row for each bootstrap resample and a column for each number, for comparing two scorecards."""
    import pandas as pd

    table = pd.DataFrame(
        {name: some[1:].tolist() for name, some in rows.items() if some.ndim == 1 and not about(name).fewer_resamples}
    )
    with replacing(path) as part:
        table.to_csv(part, index=False)


def read_resamples(path: Path, card: Scorecard, shown: str | None = None) -> "Mapping[str, Tensor]":
    """The rows of each number, float64 (R,). Raises UserError if the file is missing, corrupt or of another scorecard."""
    import torch

    try:
        table = _read_table(require_file(path, "evaluate"), card)
    except (OSError, ValueError) as error:
        raise corrupt(shown or path, "evaluate", error) from None
    return {str(column): torch.tensor(table[column].to_numpy(), dtype=torch.float64) for column in table.columns}


def _read_table(path: Path, card: Scorecard) -> "pd.DataFrame":
    import pandas as pd

    table = pd.read_csv(path, dtype=float)
    expected = {name for name in card.generated if not about(name).fewer_resamples}
    odd = sorted(set(table.columns) ^ expected)
    if odd or not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"its columns are not the numbers of {FILE}: {', '.join(odd) or 'a column without a name'}")
    if len(table) != card.resamples:
        raise ValueError(f"it has {len(table)} rows, but {FILE} says {card.resamples} resamples")
    if bad := [name for name in table.columns if not all(map(isfinite, table[name]))]:
        raise ValueError(f"it has gaps, NaN or infinity in {', '.join(bad)}")
    return table


def read_confusion(path: Path, rows: int) -> "pd.DataFrame":
    """Requested and predicted class (``asked`` and ``seen``, as text) of each generated image, by row.

    Raises UserError if the file is missing or corrupt.
    """
    import pandas as pd

    try:
        table = pd.read_csv(require_file(path), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise corrupt(path, None, error) from None
    if list(table.columns) != ["asked", "seen"] or len(table) != rows:
        raise corrupt(path, None, f"it must have the columns asked and seen, and {rows} rows")
    return table
