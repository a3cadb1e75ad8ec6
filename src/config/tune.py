"""The parameters of hyperparameter search."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from .fields import Section, parameter
from .sections import Model, Train

Plain = bool | int | float | str
Conditions = Annotated[dict[str, Plain | list[Plain]], Field(min_length=1)]
"""Names of other parameters, each with its required value or a list of allowed values."""


class Conditional(Section):
    """An entry of the search space, which may have a condition."""

    when: Conditions | None = None
    """the parameter is searched only in trials that satisfy all of this"""


class FloatRange(Conditional):
    """A float between two ends, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(None, gt=0)


class IntRange(Conditional):
    """An integer between two ends, both included."""

    low: int
    high: int
    log: bool = False
    step: int = Field(1, ge=1)


class Choices(Conditional):
    """One of a list."""

    choices: Annotated[list[Plain | list[int]], Field(min_length=1)]


class Limit(Section):
    """A constraint on the best trial."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a constraint has either at_least or at_most")
        return self


SpaceEntry = IntRange | FloatRange | Choices
ENTRIES = {
    ("tune", "space"): (
        "{low, high[, log, step]} with numbers, or {choices} with a list, either of them with when: {NAME: VALUE}"
    ),
    ("tune", "constraints"): "{at_least: NUMBER} or {at_most: NUMBER}",
}
"""The allowed entries of mappings."""
DEFAULT_SPACE: dict[str, SpaceEntry] = {
    "train.lr_generator": FloatRange(low=1e-3, high=1e-2, log=True),
    "train.lr_discriminator": FloatRange(low=5e-4, high=5e-3, log=True),
    "model.latent_size": IntRange(low=16, high=128, log=True),
    "model.dropout": FloatRange(low=0.0, high=0.4),
}


class Tune(Section):
    """Hyperparameter search."""

    study: str = parameter("default", "name of the study", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")
    objectives: Annotated[list[str], Field(min_length=1, max_length=3)] = parameter(
        ["score"], "validation scores, seconds_per_kimg, peak_memory_mib, generator_parameters"
    )
    constraints: dict[str, Limit] = parameter(
        {},
        "limits of the best trial, as {coverage: {at_least: 0.6}}",
        words=f"names, each with {ENTRIES['tune', 'constraints']}",
    )
    sampler: Literal["tpe", "gp", "cmaes", "random", "qmc"] = parameter("tpe", "sampler of Optuna")
    pruner: Literal["median", "hyperband", "none"] = parameter("median", "pruner of Optuna")
    kimg: float = parameter(40, "length of a trial, in place of train.kimg", gt=0, le=1e9)
    score_every_kimg: float = parameter(10, "interval of a trial's scores, at which it may be pruned", gt=0, le=1e9)
    seed: int = parameter(0, "seed of the sampler", ge=0, lt=2**31)
    space: dict[str, SpaceEntry] = parameter(
        DEFAULT_SPACE,
        "parameters of model and train: {low, high[, log, step]} or {choices}[, when]",
        words=f"names, each with {ENTRIES['tune', 'space']}",
    )

    @field_validator("space")
    @classmethod
    def _whole_ends_of_floats(cls, space: dict[str, SpaceEntry]) -> dict[str, SpaceEntry]:
        """Turn ``{low: 0, high: 1}``, which parses as a range of integers, into one of floats for a float parameter."""
        fields = {**Model.model_fields, **Train.model_fields}
        floats = {name for name, field in fields.items() if field.annotation is float}
        return {
            name: FloatRange(**entry.model_dump(exclude_unset=True))
            if isinstance(entry, IntRange) and name.partition(".")[2] in floats
            else entry
            for name, entry in space.items()
        }


def alternatives(wanted: Plain | list[Plain]) -> list[Plain]:
    """The values that a condition allows."""
    return wanted if isinstance(wanted, list) else [wanted]


def values_of(entry: SpaceEntry) -> list[Any]:
    """Values that the parameter itself must allow: the choices, or both ends."""
    return list(entry.choices) if isinstance(entry, Choices) else [entry.low, entry.high]
