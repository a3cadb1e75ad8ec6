"""Everything that is known of a parameter is said in its field, and read from there by whatever shows or checks it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML


class Section(BaseModel):
    """A group of parameters: frozen, strictly typed, and closed to names that it does not declare."""

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
        default: the value of the default run.
        text: one line of help.
        group: its table in the model card; empty for none. A table has ten rows at most.
        fixed: why a search must not vary it, where that is so.
        when: it has an effect if one of these holds: ``NAME`` (not 0, empty or false), or ``NAME=VALUE|VALUE``.
        decides: whether it can change a bit of a stage's outputs.
        words: what is allowed, where the type does not say it well.
        **limits: bounds, as :func:`pydantic.Field` takes them.
    """
    facts: dict[str, Any] = {"group": group, "fixed": fixed, "when": tuple(when), "decides": decides, "words": words}
    return Field(default, description=text, json_schema_extra=facts, **limits)


@dataclass(frozen=True)
class Parameter:
    """What a field says, by the parameter's dotted name."""

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
    """what a comment lists; empty where there is nothing to choose from"""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether it has an effect beside these values by dotted name."""
        return not self.when or any(_holds(condition, values) for condition in self.when)

    @property
    def condition(self) -> str:
        """``when`` in words, without the name of its own section: ``with loss bce or least_squares``."""
        section = self.name.partition(".")[0]
        phrases = [one.removeprefix(f"{section}.").replace("=", " ").replace("|", " or ") for one in self.when]
        return f"with {', '.join(phrases[:-1])}{' or ' if phrases[1:] else ''}{phrases[-1]}" if phrases else ""

    @property
    def help(self) -> str:
        """What it is, and when it has an effect."""
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
            group=facts["group"],
            fixed=facts["fixed"],
            when=facts["when"],
            decides=facts["decides"],
            searchable=section.searchable and not facts["fixed"],
            choices=_choices(schema),
        )


def _facts(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict), "a parameter is declared by config.fields.parameter"
    return field.json_schema_extra


def as_yaml(value: Any) -> str:
    """On one line: JSON is YAML, and a plain word needs no quotes."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) and YAML(typ="safe").load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _choices(schema: Mapping[str, Any]) -> str:
    if "enum" in schema or (schema.get("words") and schema["type"] == "string"):
        return allowed(schema)
    return _choices(schema["items"]) if schema.get("type") == "array" else ""


def allowed(schema: Mapping[str, Any]) -> str:
    """The JSON schema of a parameter in words."""
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
