"""Every parameter of the project: its type, bounds, default and one line of help. The only reader of params.yaml."""

import difflib
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..core import paths
from ..core.errors import UserError


class Section(BaseModel):
    """A group of parameters: frozen, strictly typed, and closed to names that it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
FAMILIES = ("mlp", "dcgan", "resnet", "progressive")
"""The short names of ``model.family``; :mod:`src.networks.family` has the class of each."""


class Data(Section):
    """Which images, and how they are split."""

    dataset: Literal["fashion-mnist", "mnist", "kmnist", "cifar10", "digits", "folder"] = Field(
        "fashion-mnist", description="the images to learn; folder: your own"
    )
    folder: str = Field(
        "data/own", min_length=1, description="your own images; or a dataset's files, tried after the mirrors"
    )
    image_size: int = Field(32, ge=8, le=256, description="folder: images are cut to squares and resized to this")
    channels: Literal[1, 3] = Field(3, description="folder: 1 grey, 3 colour")
    clusters: int = Field(10, ge=2, le=1000, description="folder without class folders: classes that k-means makes")
    validation_fraction: float = Field(0.16667, gt=0, le=0.5, description="share of the training images held out")
    test_fraction: float = Field(
        0.2, gt=0, le=0.5, description="share for testing, where no official test split exists"
    )
    split_seed: int = Field(0, ge=0, lt=2**32, description="seed of the split")


class Classifier(Section):
    """The auxiliary classifier that scores the generated images."""

    width: int = Field(32, ge=4, le=512, description="channels of the first convolution")
    feature_size: int = Field(128, ge=8, le=2048, description="size of the feature vector before the last layer")
    dropout: Fraction = Field(0.3, description="dropout on the feature vector")
    epochs: int = Field(6, ge=1, le=1000, description="passes over the training images")
    batch_size: int = Field(256, ge=2, le=65536, description="images a step")
    lr: LearningRate = Field(4e-3, description="peak of the one-cycle learning rate")
    weight_decay: float = Field(1e-2, ge=0, le=1, description="AdamW's weight decay")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the weights and the batches")


class Model(Section):
    """The generator and the discriminator."""

    family: str = Field(
        "dcgan",
        pattern=rf"^({'|'.join(FAMILIES)}|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+)$",
        json_schema_extra={"words": f"{' | '.join(FAMILIES)} | the dotted path of a class"},
        description="fully connected, convolutions, residual blocks, growing from 4 x 4; or a class by its dotted path",
    )
    conditioning: Literal["none", "concat", "embedding", "projection", "auxiliary", "batch_norm"] = Field(
        "projection",
        description="how the label enters: not, one-hot, embedded, projected, AC-GAN, or by batch norm (dcgan, resnet)",
    )
    latent_size: int = Field(64, ge=1, le=4096, description="length of the latent vector z")
    hidden_sizes: Annotated[list[Annotated[int, Field(ge=1, le=65536)]], Field(min_length=1, max_length=16)] = Field(
        [256, 512, 1024], description="mlp: hidden layers of the generator; the discriminator has them reversed"
    )
    width: int = Field(48, ge=4, le=2048, description="channels at a quarter of the image size, all but mlp")
    dropout: Fraction = Field(0.0, description="dropout in the discriminator")
    spectral_norm: bool = Field(False, description="each weight of the discriminator divided by its spectral norm")


class Train(Section):
    """How the GAN is trained."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes the GPU where there is one")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the networks' matrix products; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    compile: Literal["auto", "none", "graph"] = Field(
        "auto", description="graph: the step is captured once and replayed on a GPU; auto: graph where there is a GPU"
    )
    deterministic: bool = Field(False, description="on a GPU: only kernels that give the same bits each time")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, batches and latents")
    kimg: float = Field(600, gt=0, le=1e9, description="length of the training in thousands of real images shown")
    batch_size: int = Field(64, ge=2, le=65536, description="real images a step")
    loss: Literal["bce", "least_squares", "hinge", "wasserstein", "relativistic"] = Field(
        "bce", description="adversarial loss, on logits"
    )
    critic_steps: int = Field(1, ge=1, le=100, description="steps of the discriminator for each one of the generator")
    auxiliary_weight: float = Field(
        1.0, gt=0, le=100, description="conditioning auxiliary: weight of its cross-entropy"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="bce and least_squares: real images are to be 1 - this"
    )
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = Field("adam", description="optimiser of both networks")
    lr_generator: LearningRate = Field(3e-3, description="learning rate of the generator")
    lr_discriminator: LearningRate = Field(3e-3, description="learning rate of the discriminator")
    beta1: Fraction = Field(0.0, description="adam: decay of the mean of gradients; sgd and rmsprop: momentum")
    beta2: Fraction = Field(0.99, description="adam and rmsprop: decay of the mean of squared gradients")
    mirror: float = Field(0.0, ge=0, le=0.5, description="share of the real images that are mirrored at random")
    augment: Annotated[list[Literal["translation", "cutout", "flip"]], Field(max_length=3)] = Field(
        [], description="differentiable augmentation of all images that the discriminator sees, real and fake"
    )
    augment_probability: float = Field(1.0, gt=0, le=1, description="chance of each augmentation for each image")
    augment_target: float = Field(
        0.0, ge=0, lt=1, description="adaptive augmentation: the overfitting to keep to, as 0.6; 0: a fixed chance"
    )
    augment_kimg: float = Field(
        50, gt=0, le=1e6, description="adaptive augmentation: thousand images from chance 0 to 1 at the fastest"
    )
    lr_schedule: Literal["linear", "cosine"] = Field("linear", description="how the rates fall to zero")
    lr_decay_from: float = Field(
        0.5, ge=0, le=1, description="share of the training after which rates fall to zero; 1: never"
    )
    lr_warmup: Fraction = Field(0.0, description="share of the training in which rates rise from zero")
    grow_until: float = Field(0.5, gt=0, le=1, description="progressive: share of the training until the full size")
    weight_decay: float = Field(0.0, ge=0, le=1, description="L2 penalty on the weights of both networks")
    l1: float = Field(0.0, ge=0, le=1, description="L1 penalty on the weights of both networks")
    gp_weight: float = Field(
        0.0, ge=0, le=1e4, description="gradient penalty of WGAN-GP, between real and fake images; 0: off"
    )
    r1_weight: float = Field(0.3, ge=0, le=1e4, description="R1 gradient penalty, on real images; 0: off")
    r2_weight: float = Field(0.0, ge=0, le=1e4, description="R2 gradient penalty, on fake images; 0: off")
    penalty_interval: int = Field(8, ge=1, le=1000, description="steps between two gradient penalties (lazily)")
    ema_decay: Fraction = Field(0.998, description="decay a step of the averaged generator; 0: no averaging")
    log_every_kimg: float = Field(10, gt=0, le=1e9, description="losses are recorded this often")
    score_every_kimg: float = Field(
        60,
        gt=0,
        le=1e9,
        description="the validation score and a sample grid are made this often, in whole logging intervals",
    )
    score_samples: int = Field(5000, ge=10, le=1_000_000, description="images of a validation score")
    checkpoint_minutes: float = Field(5, gt=0, le=1e6, description="the training saves itself this often")
    max_rollbacks: int = Field(
        3, ge=0, le=100, description="times a diverged training goes back to its last checkpoint with halved rates"
    )
    patience: int = Field(0, ge=0, le=10_000, description="scores without a better one before stopping early; 0: never")


class Evaluate(Section):
    """The scorecard on the test split."""

    samples: int = Field(10_000, ge=10, le=1_000_000, description="generated images, and at most as many real ones")
    nearest_k: int = Field(5, ge=1, le=100, description="neighbours for precision, recall, density and coverage")
    seed: int = Field(1, ge=0, lt=2**31, description="seed of the latents, and of the resamples")
    resamples: int = Field(200, ge=20, le=10_000, description="bootstrap resamples behind each 95 % interval")
    gan_train: bool = Field(True, description="GAN-train accuracy (CAS): three classifiers are trained for it")
    reconstructions: int = Field(100, ge=0, le=100_000, description="test images to search in the latents; 0: off")
    inception_weights: str | None = Field(
        None, description="path of torch-fidelity's weights-inception-2015-12-05-6726825d.pth: FID, KID, IS; null: off"
    )


class Register(Section):
    """The model registry."""

    model_name: str = Field(
        "gan-fashion-mnist", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="registered name"
    )
    max_class_drop: float = Field(
        0.05, ge=0, le=1, description="most label agreement that a class may lose against the champion"
    )
    allow_dirty: bool = Field(False, description="whether a generator of uncommitted code may become champion")


Plain = bool | int | float | str
Conditions = Annotated[dict[str, Plain | list[Plain]], Field(min_length=1)]
"""Names of other parameters, each with the value, or a list of the values, that it must have."""


class Conditional(Section):
    """What every entry of the search space may have besides its values."""

    when: Conditions | None = None
    """the parameter is searched only in trials in which all of this holds"""


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


SpaceEntry = IntRange | FloatRange | Choices
SPACE_ENTRY = "{low, high[, log, step]} with numbers, or {choices} with a list, either of them with when: {NAME: VALUE}"
DEFAULT_SPACE: dict[str, SpaceEntry] = {
    "train.lr_generator": FloatRange(low=3e-4, high=6e-3, log=True),
    "train.lr_discriminator": FloatRange(low=3e-4, high=6e-3, log=True),
    "model.latent_size": IntRange(low=16, high=128, log=True),
    "model.dropout": FloatRange(low=0.0, high=0.4),
}


class Limit(Section):
    """What a trial must keep to be allowed as the best one."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a constraint has either at_least or at_most")
        return self


MISSING_SHOWN = 5
"""missing parameters that are named"""
LIMIT = "{at_least: NUMBER} or {at_most: NUMBER}"
ENTRIES = {("tune", "space"): SPACE_ENTRY, ("tune", "constraints"): LIMIT}
"""What the entries of mappings must be."""


class Tune(Section):
    """The search for better parameters."""

    study: str = Field("default", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$", description="name of the study")
    objectives: Annotated[list[str], Field(min_length=1, max_length=3)] = Field(
        ["score"],
        description="validation numbers, seconds_per_kimg, peak_memory_mib or generator_parameters; several: Pareto front",
    )
    constraints: dict[str, Limit] = Field(
        {},
        description="limits of the same numbers, {at_least: c} or {at_most: c}: a trial beyond one is never the best",
    )
    sampler: Literal["tpe", "gp", "cmaes", "random", "qmc"] = Field("tpe", description="Optuna's sampler")
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median", description="Optuna's pruner; none: all run to the end"
    )
    kimg: float = Field(40, gt=0, le=1e9, description="length of a trial, in place of train.kimg")
    score_every_kimg: float = Field(
        10, gt=0, le=1e9, description="a trial's scores and chances to be pruned, this often"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the sampler")
    space: dict[str, SpaceEntry] = Field(
        DEFAULT_SPACE, description="what is searched: model.* and train.* by dotted name"
    )

    @field_validator("space")
    @classmethod
    def _whole_ends_of_floats(cls, space: dict[str, SpaceEntry]) -> dict[str, SpaceEntry]:
        """``{low: 0, high: 1}`` reads as a range of integers; where the parameter is a float, it is one of floats."""
        fields = {**Model.model_fields, **Train.model_fields}
        floats = {name for name, field in fields.items() if field.annotation is float}
        return {
            name: FloatRange(**entry.model_dump(exclude_unset=True))
            if isinstance(entry, IntRange) and name.partition(".")[2] in floats
            else entry
            for name, entry in space.items()
        }


class Params(Section):
    """All of params.yaml."""

    data: Data = Data()
    classifier: Classifier = Classifier()
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    register_: Register = Field(Register(), alias="register")
    tune: Tune = Tune()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.train.patience and self.train.score_every_kimg > self.train.kimg:
            raise ValueError("train.patience: early stopping needs train.score_every_kimg below train.kimg")
        train = self.train
        if train.loss == "wasserstein" and not (train.gp_weight or self.model.spectral_norm):
            raise ValueError(
                "train.loss: wasserstein needs train.gp_weight above 0 (as 10) or model.spectral_norm: the critic's slope must "
                "be limited, or its loss has no end"
            )
        if train.label_smoothing and train.loss not in ("bce", "least_squares"):
            raise ValueError(
                f"train.label_smoothing: {train.loss} has no labels to smooth; it must be 0, or train.loss bce or "
                "least_squares"
            )
        if train.augment_target and not train.augment:
            raise ValueError("train.augment_target: there is nothing to adapt, since train.augment is empty")
        return self

    def flat(self) -> dict[str, Any]:
        """All values by dotted name, ``tune.space`` left as one mapping."""
        values = self.model_dump(by_alias=True)
        return {f"{section}.{name}": value for section, entries in values.items() for name, value in entries.items()}

    def replace(self, changes: Mapping[str, Any]) -> "Params":
        """A copy with values changed by dotted name, for example ``{"train.lr_generator": 1e-4}``.

        Raises UserError for a name that does not exist or a value that is not allowed.
        """
        values = self.model_dump(by_alias=True)
        for dotted, value in changes.items():
            _check_name(dotted)
            section, _, name = dotted.partition(".")
            values[section][name] = value
        return parse_params(values, "parameters")


def parse_params(values: Any, where: str) -> Params:
    """Validate plain values. UserError: a line per wrong parameter, each with ``where``, field, value and what is allowed."""
    values = {} if values is None else values
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = dict.fromkeys(_explain(problem, values, where) for problem in error.errors())
        raise UserError("\nerror: ".join(problems)) from None


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read and validate a params file, the search space included.

    Raises UserError when the file is missing, is not YAML, holds an unknown or wrong parameter, or lacks one.
    """
    params = parse_text(read_text(path), str(path))
    _check_complete(params, str(path))
    return params


def read_text(path: Path) -> str:
    """A params file's text. Raises UserError when it cannot be read."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.absolute()} cannot be read ({error}); run this in the project's folder") from None


def parse_text(text: str, where: str) -> Params:
    """Validate the text of a params file or a part of one, the search space included; ``where`` names it in a UserError."""
    try:
        values = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{where}{line}: not valid YAML: {problem or ' '.join(str(error).split())}") from None
    params = parse_params(values, where)
    check_space(params, where)
    return params


def _check_complete(params: Params, where: str) -> None:
    """Refuse a file without some parameter: it always says what was used, and a default is never taken in silence."""
    missing = []
    for field, model in Params.model_fields.items():
        section = getattr(params, field)
        given = section.model_fields_set if field in params.model_fields_set else set()
        missing += [f"{model.alias or field}.{name}" for name in type(section).model_fields if name not in given]
    if missing:
        shown = ", ".join(missing[:MISSING_SHOWN]) + (", ..." if len(missing) > MISSING_SHOWN else "")
        count = f"{len(missing)} parameters are" if len(missing) > 1 else "a parameter is"
        raise UserError(f"{where}: {count} missing: {shown}; `python -m src.params` prints the usual values")


def check_space(params: Params, where: str) -> None:
    """Refuse a search space with a name that cannot be tuned, or a value that the parameter itself does not allow."""
    before: list[str] = []
    for name, entry in params.tune.space.items():
        field = f"{where}: tune.space.{name}"
        if name.partition(".")[0] not in ("model", "train"):
            raise UserError(f"{field}: only parameters of the model and train sections can be tuned")
        if not isinstance(entry, Choices):
            if entry.low > entry.high:
                raise UserError(f"{field}: low {entry.low} is above high {entry.high}")
            if entry.log and (entry.low <= 0 or entry.step != type(entry).model_fields["step"].default):
                raise UserError(f"{field}: a logarithmic range needs low above 0 and no step")
        conditions = {other: alternatives(wanted) for other, wanted in (entry.when or {}).items()}
        for other, values in conditions.items():
            if other in params.tune.space and other not in before:
                raise UserError(f"{field}: when names {other}, which must stand before it in tune.space")
            for condition in values:
                _check_value(params, {other: condition}, f"{field}: when: ")
        holding = {other: values[0] for other, values in conditions.items()}
        for value in entry.choices if isinstance(entry, Choices) else (entry.low, entry.high):
            _check_value(params, {**holding, name: value}, f"{field}: ", name)
        before.append(name)


def alternatives(wanted: Plain | list[Plain]) -> list[Plain]:
    """The values that a condition allows."""
    return wanted if isinstance(wanted, list) else [wanted]


def _check_value(params: Params, changes: Mapping[str, Any], field: str, name: str = "") -> None:
    try:
        params.replace(changes)
    except UserError as error:
        reason = str(error).removeprefix("parameters: ").removeprefix(f"{name}: ")
        raise UserError(f"{field}{reason}") from None


def _sections() -> dict[str, type[Section]]:
    return {field.alias or name: field.annotation for name, field in Params.model_fields.items()}  # type: ignore[misc]


def _check_name(dotted: str) -> None:
    names = [f"{section}.{name}" for section, model in _sections().items() for name in model.model_fields]
    if dotted not in names:
        raise UserError(f"{dotted}: unknown parameter{_closest(dotted, names)}")


def _closest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; allowed are {', '.join(names)}"


def _explain(problem: Any, values: Any, where: str) -> str:
    """One line for one of pydantic's errors; several about one parameter give the same line."""
    location = problem["loc"][: 3 if problem["loc"][:2] in ENTRIES else 2]
    at = ": ".join(filter(None, (where, ".".join(map(str, location)))))
    if problem["type"] == "value_error":
        return f"{at}: {problem['ctx']['error']}"
    if problem["type"] in ("extra_forbidden", "invalid_key") and len(location) < 3:
        model = _sections()[location[0]] if len(location) > 1 else Params
        names = [field.alias or name for name, field in model.model_fields.items()]
        return f"{at}: unknown parameter{_closest(str(location[-1]), names)}"
    match location:
        case (section, name):
            allowed = _allowed(_sections()[section].model_json_schema()["properties"][name])
        case (section, name, _):
            allowed = ENTRIES[section, name]
        case _:
            allowed = "a mapping of names to values" if location else "a mapping of sections to parameters"
    return f"{at}: {reduce(getitem, location, values)!r:.200} is not allowed: it must be {allowed}"


def _allowed(schema: Mapping[str, Any]) -> str:
    """The JSON schema of a parameter in words."""
    if "words" in schema:
        return str(schema["words"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_allowed(one) for one in schema["anyOf"])
    if schema["type"] == "array":
        return f"list of {schema.get('minItems', 0)} to {schema['maxItems']}, each {_allowed(schema['items'])}"
    if schema["type"] == "object":
        limits = schema["additionalProperties"].get("$ref", "").endswith("Limit")
        return f"names, each with {LIMIT if limits else SPACE_ENTRY}"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    limits = [f"{sign} {schema[key]:.12g}" for key, sign in signs.items() if key in schema]
    limits += [f"matching {schema['pattern']}"] if "pattern" in schema else []
    kind = {"integer": "int", "number": "float", "string": "text"}.get(schema["type"], schema["type"])
    return f"{kind} {' and '.join(limits)}".rstrip()


def describe() -> Iterator[tuple[str, str, Any, str]]:
    """Dotted name, type with bounds, default and help of every parameter, in the order of params.yaml."""
    for section, model in _sections().items():
        schemas = model.model_json_schema()["properties"]
        for name, field in model.model_fields.items():
            yield f"{section}.{name}", _allowed(schemas[name]), field.default, field.description or ""
