"""Grids of images as PNG files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from src.files import replacing

if TYPE_CHECKING:
    from PIL import Image

CELL_PIXELS = 56
GAP = 4
MARGIN = 12
LABEL_SIZE = 15
TITLE_SIZE = 18
TEXT_COLOUR = (32, 32, 32)


def save_grid(
    images: Tensor,
    path: Path,
    columns: int,
    row_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Write ``grid_image`` of the same arguments as a PNG; the same input gives the same bytes."""
    image = grid_image(images, columns, row_labels, title)
    with replacing(path) as part:
        image.save(part, format="PNG", optimize=True)


def grid_image(
    images: Tensor, columns: int, row_labels: Sequence[str] | None = None, title: str | None = None
) -> "Image.Image":
    """Draw images row by row on white, enlarged by a whole factor so that every pixel stays crisp.

    ``images`` is uint8 (N, C, H, W) with 1 or 3 channels; ``columns`` images a row, the last row may be short.
    ``row_labels`` has one text a row, written to the left. Raises ValueError for other images, for fewer than one
    column, or another number of labels.
    """
    from PIL import Image, ImageDraw, ImageFont

    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images must be uint8 (N, 1 or 3, H, W), not {images.dtype} {tuple(images.shape)}")
    if columns < 1:
        raise ValueError(f"columns is {columns}; it must be 1 or more")
    rows = math.ceil(len(images) / columns)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"{len(row_labels)} row labels for {rows} rows")

    scale = max(1, round(CELL_PIXELS / max(images.shape[2:])))
    height, width = (size * scale for size in images.shape[2:])
    label_font = ImageFont.load_default(LABEL_SIZE)
    title_font = ImageFont.load_default(TITLE_SIZE)
    left = MARGIN + (math.ceil(max(map(label_font.getlength, row_labels))) + MARGIN if row_labels else 0)
    top = MARGIN + (TITLE_SIZE + MARGIN if title else 0)
    grid_width = min(columns, len(images)) * (width + GAP) - GAP
    # A long title widens the picture rather than run off it.
    right = max(left + grid_width, MARGIN + math.ceil(title_font.getlength(title)) if title else 0)
    canvas = Image.new("RGB", (right + MARGIN, top + rows * (height + GAP) - GAP + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)

    if title:
        draw.text((MARGIN, MARGIN), title, TEXT_COLOUR, title_font, anchor="lt")
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        place = (left + column * (width + GAP), top + row * (height + GAP))
        canvas.paste(_enlarged(image, scale), place)
    for row, label in enumerate(row_labels or ()):
        middle = top + row * (height + GAP) + height // 2
        draw.text((left - MARGIN, middle), label, TEXT_COLOUR, label_font, anchor="rm")
    return canvas


def _enlarged(image: Tensor, scale: int) -> "Image.Image":
    from PIL import Image

    pixels = image.expand(3, -1, -1).permute(1, 2, 0).cpu()
    pixels = pixels.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    return Image.fromarray(pixels.contiguous().numpy())
