"""All parameters as one typed, frozen object; the only reader of params.yaml."""

import difflib
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..core import paths
from ..core.errors import UserError
from .fields import Parameter, Section, allowed, section_parameters
from .sections import FAMILIES, Classifier, Data, Evaluate, Model, Register, Train
from .tune import ENTRIES, Choices, FloatRange, IntRange, SpaceEntry, Tune, alternatives, values_of

__all__ = ["FAMILIES", "Choices", "Classifier", "Data", "Evaluate", "FloatRange", "IntRange", "Model", "Params"]
__all__ += ["Register", "Section", "SpaceEntry", "Train", "Tune", "alternatives", "check_space", "load_params"]
__all__ += ["parameters", "parse_params", "parse_text", "read_text"]
MISSING_SHOWN = 5
"""number of missing parameters that an error names"""


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
        train = self.train
        if train.patience and train.score_every_kimg > train.kimg:
            raise ValueError("train.patience: early stopping needs train.score_every_kimg below train.kimg")
        if train.loss == "wasserstein" and not (train.gp_weight or self.model.spectral_norm):
            raise ValueError(
                "train.loss: wasserstein needs train.gp_weight above 0 (such as 10) or model.spectral_norm: without a "
                "Lipschitz constraint the critic's loss is unbounded"
            )
        if train.label_smoothing and train.loss not in ("bce", "least_squares"):
            raise ValueError(
                f"train.label_smoothing: {train.loss} has no labels to smooth; it must be 0, or train.loss bce or "
                "least_squares"
            )
        if train.augment_target and not train.augment:
            raise ValueError("train.augment_target: there is nothing to adapt because train.augment is empty")
        return self

    def flat(self) -> dict[str, Any]:
        """All values by dotted name; ``tune.space`` is one mapping."""
        values = self.model_dump(by_alias=True)
        return {f"{section}.{name}": value for section, entries in values.items() for name, value in entries.items()}

    def replace(self, changes: Mapping[str, Any]) -> "Params":
        """A copy with values changed by dotted name, for example ``{"train.lr_generator": 1e-4}``.

        Raises UserError for an unknown name or a value that is not allowed.
        """
        values = self.model_dump(by_alias=True)
        for dotted, value in changes.items():
            section, _, name = dotted.partition(".")
            if name not in values.get(section, ()):
                raise UserError(f"{dotted}: unknown parameter{_closest(dotted, list(self.flat()))}")
            values[section][name] = value
        return parse_params(values, "parameters")


def sections() -> dict[str, type[Section]]:
    """The sections by name."""
    return {field.alias or name: field.annotation for name, field in Params.model_fields.items()}  # type: ignore[misc]


def parameters() -> list[Parameter]:
    """Every parameter, in the order of params.yaml."""
    return [one for name, section in sections().items() for one in section_parameters(name, section)]


def parse_params(values: Any, where: str) -> Params:
    """Validate plain values. Raises UserError with a line per invalid parameter: ``where``, name, value and what is allowed."""
    values = {} if values is None else values
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = dict.fromkeys(_explain(problem, values, where) for problem in error.errors())
        raise UserError("\nerror: ".join(problems)) from None


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read and validate a params file, the search space included.

    Raises UserError if the file is missing, is not YAML, or has unknown, invalid or missing parameters.
    """
    params = parse_text(read_text(path), str(path))
    _check_complete(params, str(path))
    return params


def read_text(path: Path) -> str:
    """The text of a params file. Raises UserError if it cannot be read."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.absolute()} cannot be read ({error}); run this in the project's folder") from None


def parse_text(text: str, where: str) -> Params:
    """Validate the text of a params file or a part of one, including the search space; ``where`` names it in errors."""
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
    """Refuse a file without some parameter, so that the file always states what was used."""
    missing = []
    for field, model in Params.model_fields.items():
        section = getattr(params, field)
        given = section.model_fields_set if field in params.model_fields_set else set()
        missing += [f"{model.alias or field}.{name}" for name in type(section).model_fields if name not in given]
    if missing:
        shown = ", ".join(missing[:MISSING_SHOWN]) + (", ..." if len(missing) > MISSING_SHOWN else "")
        count = f"{len(missing)} parameters are" if len(missing) > 1 else "a parameter is"
        raise UserError(f"{where}: {count} missing: {shown}; `python -m src.params --write` adds the defaults")


def check_space(params: Params, where: str) -> None:
    """Refuse a search space with a parameter that cannot be tuned or a value that it does not allow."""
    searchable = [name for name, section in sections().items() if section.searchable]
    before: list[str] = []
    for name, entry in params.tune.space.items():
        field = f"{where}: tune.space.{name}"
        if name.partition(".")[0] not in searchable:
            raise UserError(f"{field}: only parameters of the {' and '.join(searchable)} sections can be tuned")
        if not isinstance(entry, Choices):
            if entry.low > entry.high:
                raise UserError(f"{field}: low {entry.low} is above high {entry.high}")
            if entry.log and (entry.low <= 0 or entry.step != type(entry).model_fields["step"].default):
                raise UserError(f"{field}: a logarithmic range needs low above 0 and no step")
        conditions = {other: alternatives(wanted) for other, wanted in (entry.when or {}).items()}
        for other, values in conditions.items():
            if other in params.tune.space and other not in before:
                raise UserError(f"{field}: when names {other}, which must precede it in tune.space")
            for condition in values:
                _check_value(params, {other: condition}, f"{field}: when: ")
        holding = {other: values[0] for other, values in conditions.items()}
        for value in values_of(entry):
            _check_value(params, {**holding, name: value}, f"{field}: ", name)
        before.append(name)


def _check_value(params: Params, changes: Mapping[str, Any], field: str, name: str = "") -> None:
    try:
        params.replace(changes)
    except UserError as error:
        reason = str(error).removeprefix("parameters: ").removeprefix(f"{name}: ")
        raise UserError(f"{field}{reason}") from None


def _closest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; allowed are {', '.join(names)}"


def _explain(problem: Any, values: Any, where: str) -> str:
    """The line for an error of pydantic; errors about the same parameter give the same line."""
    location = problem["loc"][: 3 if problem["loc"][:2] in ENTRIES else 2]
    at = ": ".join(filter(None, (where, ".".join(map(str, location)))))
    if problem["type"] == "value_error":
        return f"{at}: {problem['ctx']['error']}"
    if problem["type"] in ("extra_forbidden", "invalid_key") and len(location) < 3:
        model = sections()[location[0]] if len(location) > 1 else Params
        names = [field.alias or name for name, field in model.model_fields.items()]
        return f"{at}: unknown parameter{_closest(str(location[-1]), names)}"
    match location:
        case (section, name):
            must = allowed(sections()[section].model_json_schema()["properties"][name])
        case (section, name, _):
            must = ENTRIES[section, name]
        case _:
            must = "a mapping of names to values" if location else "a mapping of sections to parameters"
    return f"{at}: {reduce(getitem, location, values)!r:.200} is not allowed: it must be {must}"
