"""A folder of PNG files, one subfolder a class, that grows and can be continued."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from src.errors import UserError
from src.files import replacing, write_json

FACTS = "samples.json"


class ImageFolder:
    """Images by class as ``torchvision.datasets.ImageFolder`` reads them: ``9_Ankle_boot/NAME.png``.

    The number in front keeps the folders, which torchvision sorts, in the order of the classes. ``samples.json`` beside
    them says what the images are.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Begin a folder, or go on with one that has the same ``facts`` (JSON).

        Raises UserError, and touches nothing, where ``folder`` holds anything else.
        """
        self.folder = folder
        digits = len(str(len(class_names) - 1))
        self.names = [f"{number:0{digits}}_{safe_name(name)}" for number, name in enumerate(class_names)]
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file; a folder of images needs another name")
        if folder.is_dir() and any(folder.iterdir()):
            _need_same(folder, facts)
        write_json(facts, folder / FACTS)

    def path(self, label: int, name: str) -> Path:
        """The file of an image of a class."""
        return self.folder / self.names[label] / f"{name}.png"

    @staticmethod
    def holds(path: Path) -> bool:
        """Whether the image is there. A power cut may leave an empty file; any other is whole."""
        return path.is_file() and path.stat().st_size > 0

    @staticmethod
    def write(image: Tensor, path: Path) -> None:
        """Write an image, uint8 (1 or 3, H, W)."""
        from PIL import Image

        pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0).contiguous()
        with replacing(path) as part:
            Image.fromarray(pixels.numpy()).save(part, format="PNG")


def safe_name(name: str) -> str:
    """A name for a file on any system: letters, digits, ``-``, ``.`` and ``_``, at most 60 of them."""
    return re.sub(r"[^\w.-]+", "_", name)[:60].strip("._")


def _need_same(folder: Path, facts: Mapping[str, Any]) -> None:
    try:
        found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{folder} holds other files; give a new folder")
    wanted = json.loads(json.dumps(facts))
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        raise UserError(f"{folder} holds images with another {', '.join(differing)}; give a new folder, or remove it")
