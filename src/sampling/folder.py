"""A folder of PNG files with a subfolder for each class, which can be resumed."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import UserError
from ..core.files import replacing, write_json
from ..networks.interface import Generator
from ..networks.weights import content_hash
from .plan import Plan

FACTS = "samples.json"


def save_folder(
    plan: Plan, generator: Generator, class_names: Sequence[str], folder: Path, batches: Iterable[Tensor]
) -> None:
    """Write the images of a plan, whose ``batches`` of numbers are given, as ``9_Ankle_boot/seed0_000042.png``.

    torchvision's ``ImageFolder`` reads them; the class number keeps the subfolders, which it sorts, in the order of the
    classes. ``samples.json`` describes the images: a folder of the same generator and plan is resumed, and existing images
    are not drawn again. Raises UserError, and changes nothing, if ``folder`` holds anything else.
    """
    facts = {
        "generator": content_hash(generator),
        **asdict(plan),
        "classes": [class_names[label] for label in plan.classes],
    }
    _need_new_or_same(folder, facts)
    write_json(facts, folder / FACTS)
    digits = len(str(len(class_names) - 1))
    places = [folder / f"{label:0{digits}}_{safe_name(name)}" for label, name in enumerate(class_names)]
    for numbers in batches:
        paths = [
            places[label] / f"seed{plan.seed}_{number:06}.png"
            for label, number in zip(plan.labels(numbers).tolist(), numbers.tolist(), strict=True)
        ]
        missing = [index for index, path in enumerate(paths) if not _is_whole(path)]
        if missing:
            for index, image in zip(missing, plan.draw(generator, numbers[missing]), strict=True):
                _save(image, paths[index])


def safe_name(name: str) -> str:
    """A portable file name: letters, digits, ``-``, ``.`` and ``_``, at most 60 characters."""
    return re.sub(r"[^\w.-]+", "_", name)[:60].strip("._")


def _need_new_or_same(folder: Path, facts: Mapping[str, Any]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give the folder of images another name")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{folder} holds other files; give the images a folder of their own")
    differing = ", ".join(key for key, value in facts.items() if found.get(key) != value)
    if differing:
        raise UserError(f"{folder} holds images drawn with another {differing}; remove it, or give a new folder")


def _is_whole(path: Path) -> bool:
    """Whether the image exists: a power cut may leave an empty file, but no partial one."""
    return path.is_file() and path.stat().st_size > 0


def _save(image: Tensor, path: Path) -> None:
    """Write an image, uint8 (1 or 3, H, W)."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0).contiguous()
    with replacing(path) as part:
        Image.fromarray(pixels.numpy()).save(part, format="PNG")
