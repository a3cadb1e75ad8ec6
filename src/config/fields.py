"""The declaration of a parameter, from which help, comments, documentation and checks are generated."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML


class Section(BaseModel):
    """A group of parameters: frozen, strictly typed, without undeclared names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    searchable: ClassVar[bool] = False
    """whether ``tune.space`` may name its parameters"""


def parameter(
    default: Any,
    text: str,
    *,
    group: str = "",
    fixed: str = "",
    when: Iterable[str] = (),
    decides: bool = True,
    words: str = "",
    **limits: Any,
) -> Any:
    """The field of a parameter.

    Args:
        default: value of the default run.
        text: one line of help.
        group: table of the model card, at most ten rows; empty for none.
        fixed: why it cannot be searched; empty if it can.
        when: conditions, any of which makes it effective: ``NAME`` (neither 0, empty nor false) or ``NAME=VALUE|VALUE``.
        decides: whether it can change a bit of a stage's outputs.
        words: allowed values, if the type does not describe them well.
        **limits: bounds, as :func:`pydantic.Field` takes them.
    """
    facts: dict[str, Any] = {"group": group, "fixed": fixed, "when": tuple(when), "decides": decides, "words": words}
    return Field(default, description=text, json_schema_extra=facts, **limits)


@dataclass(frozen=True)
class Parameter:
    """The facts that a field declares."""

    name: str
    allowed: str
    """its type and bounds, or its choices"""
    default: Any
    text: str
    group: str
    fixed: str
    when: tuple[str, ...]
    decides: bool
    searchable: bool
    choices: str
    """alternatives that a comment lists, if any"""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether it has an effect, given all values by dotted name."""
        return not self.when or any(_holds(condition, values) for condition in self.when)

    @property
    def condition(self) -> str:
        """``when`` as text, such as ``with loss bce or least_squares``."""
        section = self.name.partition(".")[0]
        phrases = [one.removeprefix(f"{section}.").replace("=", " ").replace("|", " or ") for one in self.when]
        return f"with {', '.join(phrases[:-1])}{' or ' if phrases[1:] else ''}{phrases[-1]}" if phrases else ""

    @property
    def help(self) -> str:
        """The help, with the condition under which it has an effect."""
        return f"{self.text} ({self.condition})" if self.when else self.text

    @property
    def shown_default(self) -> str:
        """The default as params.yaml has it, on one line."""
        return "see params.yaml" if isinstance(self.default, dict) and self.default else as_yaml(self.default)


def _holds(condition: str, values: Mapping[str, Any]) -> bool:
    name, equals, wanted = condition.partition("=")
    return str(values[name]) in wanted.split("|") if equals else bool(values[name])


def section_parameters(prefix: str, section: type[Section]) -> Iterator[Parameter]:
    """The parameters of a section, in the order of params.yaml."""
    schemas = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        schema, facts = schemas[name], _facts(field)
        yield Parameter(
            name=f"{prefix}.{name}",
            allowed=allowed(schema),
            default=field.default,
            text=field.description or "",
            searchable=section.searchable and not facts["fixed"],
            choices=_choices(schema),
            **{fact: value for fact, value in facts.items() if fact != "words"},
        )


def _facts(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict), "a parameter is declared by config.fields.parameter"
    return field.json_schema_extra


def as_yaml(value: Any) -> str:
    """A value as YAML on one line: JSON, except for plain words."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) and YAML(typ="safe").load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _choices(schema: Mapping[str, Any]) -> str:
    if "enum" in schema or (schema.get("words") and schema["type"] == "string"):
        return allowed(schema)
    return _choices(schema["items"]) if schema.get("type") == "array" else ""


def allowed(schema: Mapping[str, Any]) -> str:
    """The JSON schema of a parameter as text."""
    if schema.get("words"):
        return str(schema["words"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(allowed(one) for one in schema["anyOf"])
    if schema["type"] == "array":
        return f"list of {schema.get('minItems', 0)} to {schema['maxItems']}, each {allowed(schema['items'])}"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    limits = [f"{sign} {schema[key]:.12g}" for key, sign in signs.items() if key in schema]
    limits += [f"matching {schema['pattern']}"] if "pattern" in schema else []
    kind = {"integer": "int", "number": "float", "string": "text"}.get(schema["type"], schema["type"])
    return f"{kind} {' and '.join(limits)}".rstrip()
