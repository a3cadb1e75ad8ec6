"""Changing values in params.yaml without touching anything else in it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ..core import paths
from ..core.errors import UserError
from ..core.files import replacing
from .params import parse_text, read_text


def write_params(changes: Mapping[str, Any], path: Path = paths.PARAMS) -> None:
    """Change values by dotted name in a params file; every byte outside these values stays.

    Raises UserError, and leaves the file as it is, when a value is not allowed or has no place of its own in the file.
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


def _place(text: str, dotted: str, path: Path) -> tuple[int, int]:
    """Where the value of a parameter starts and ends in the text of a params file."""
    key, node = None, YAML().compose(text)
    for name in dotted.split(".", 1):
        key, node = next((pair for pair in getattr(node, "value", ()) if pair[0].value == name), (None, None))
    if key is None or node is None or (isinstance(node.value, list) and not node.flow_style):
        raise UserError(f"{path}: {dotted} has no value on one line that could be changed; change it by hand")
    if node.start_mark.index == node.end_mark.index:  # `name:` alone, whose value would be placed at the next token
        return key.end_mark.index + 1, key.end_mark.index + 1
    return node.start_mark.index, node.end_mark.index


def as_yaml(value: Any) -> str:
    """On one line: JSON is YAML, and a plain word needs no quotes."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) and YAML(typ="safe").load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
