"""Edits of params.yaml in place, and the text of params.yaml and docs/parameters.md as generated from the fields."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ..core import paths
from ..core.errors import UserError
from ..core.files import replacing
from .fields import Parameter, as_yaml
from .params import parameters, parse_text, read_text, sections

COMMENT_COLUMN = 32


def write_params(changes: Mapping[str, Any], path: Path = paths.PARAMS) -> None:
    """Change values by dotted name in a params file; every byte outside these values is kept.

    Raises UserError, without changing the file, if a value is not allowed or cannot be located in the file.
    """
    text = read_text(path)
    wanted = parse_text(text, str(path)).replace(changes)
    for dotted, value in changes.items():
        start, end = _place(text, dotted, path)
        text = f"{text[:start]}{'' if text[start - 1].isspace() else ' '}{as_yaml(value)}{text[end:]}"
    try:
        found = parse_text(text, str(path))
    except UserError:
        found = None
    if found != wanted:
        raise UserError(f"{path}: {', '.join(changes)} cannot be changed automatically; change the file by hand")
    with replacing(path) as part:
        part.write_bytes(text.encode())


def _entries(text: str) -> dict[str, tuple[Any, Any]]:
    """The nodes of each parameter's name and value in the text of a params file, by dotted name."""
    top = getattr(YAML().compose(text), "value", ())
    return {f"{key.value}.{name.value}": (name, node) for key, values in top for name, node in values.value}


def _place(text: str, dotted: str, path: Path) -> tuple[int, int]:
    """The start and end of a value in the text of a params file."""
    key, node = _entries(text).get(dotted, (None, None))
    if key is None or node is None or (isinstance(node.value, list) and not node.flow_style):
        raise UserError(f"{path}: {dotted} has no value on a single line; change it by hand")
    if node.start_mark.index == node.end_mark.index:  # `name:` alone, whose node is at the next token
        return key.end_mark.index + 1, key.end_mark.index + 1
    return node.start_mark.index, node.end_mark.index


def commented(text: str, where: str = str(paths.PARAMS)) -> str:
    """The same params file with the comments of the fields, and defaults for missing parameters; values are kept verbatim.

    Raises UserError for an invalid params file, and for a YAML style that cannot be kept.
    """
    wanted = parse_text(text, where)
    entries = _entries(text)
    lines = ["# Every parameter of the project; `python -m src.params` prints types, bounds and help.", ""]
    for section, found in groupby(parameters(), lambda one: one.name.partition(".")[0]):
        lines.append(_line(f"{section}:", _as_comment(sections()[section].__doc__)))
        group = ""
        for one in found:
            if one.group != group:
                lines += ["", f"  # {one.group or 'Reports and checkpoints'}"]
                group = one.group
            key, node = entries.get(one.name, (None, None))
            value = _default(one) if key is None else _written(text, key, node)
            first, *rest = f"  {one.name.partition('.')[2]}:{value}".split("\n")
            lines += [_line(first, "; ".join(filter(None, (one.choices, one.help)))), *rest]
        lines.append("")
    result = "\n".join(lines).rstrip() + "\n"
    if parse_text(result, where) != wanted:
        raise UserError(f"{where}: the comments cannot be written automatically; write each value on a line of its own")
    return result


def _written(text: str, key: Any, node: Any) -> str:
    """A value verbatim, after the colon or on the following lines."""
    value = text[node.start_mark.index : node.end_mark.index].rstrip()
    block = isinstance(node.value, list) and not node.flow_style
    return f"\n{' ' * node.start_mark.column}{value}" if block else f" {value}"


def _default(one: Parameter) -> str:
    if isinstance(one.default, dict) and one.default:
        entries = (
            f"    {name}: {{{_fields(entry.model_dump(exclude_unset=True))}}}" for name, entry in one.default.items()
        )
        return "\n" + "\n".join(entries)
    return f" {as_yaml(one.default)}"


def _fields(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {as_yaml(value)}" for name, value in entry.items())


def _line(text: str, comment: str) -> str:
    return f"{text + '  ':{COMMENT_COLUMN}}# {comment}"


def _as_comment(docstring: str | None) -> str:
    text = (docstring or "").removesuffix(".")
    return text[:1].lower() + text[1:]


def table() -> str:
    """The content of docs/parameters.md: one table per section."""
    lines = ["# Parameters", "", "Written by `python -m src.params --write` from the fields in `src/config/`.", ""]
    for section, found in groupby(parameters(), lambda one: one.name.partition(".")[0]):
        lines += [f"## {section}", "", sections()[section].__doc__ or "", ""]
        lines += ["| parameter | default | allowed | what it is | searched by `tune` |", "|---|---|---|---|---|"]
        for one in found:
            searched = "yes" if one.searchable else f"no: {one.fixed}" if one.fixed else "no"
            cells = (f"`{one.name}`", f"`{one.shown_default}`", one.allowed.replace("|", r"\|"), one.help, searched)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)
