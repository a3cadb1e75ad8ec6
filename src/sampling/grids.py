"""Grids of images as PNG files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..core.files import replacing

if TYPE_CHECKING:
    from PIL import Image, ImageFont

CELL_PIXELS = 56
GAP = 4
MARGIN = 12
CAPTION_SIZE = 13
LABEL_SIZE = 15
TITLE_SIZE = 18
HALF_GAP = 28
TEXT_COLOUR = (32, 32, 32)


def save_grid(
    images: Tensor,
    path: Path,
    columns: int,
    row_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Write ``grid_image`` of the same arguments as a PNG; the same input gives the same bytes."""
    _save(grid_image(images, columns, row_labels, title), path)


def grid_image(
    images: Tensor,
    columns: int,
    row_labels: Sequence[str] | None = None,
    title: str | None = None,
    cell_pixels: int = CELL_PIXELS,
) -> "Image.Image":
    """Draw images row by row on white, enlarged by a whole factor to about ``cell_pixels``.

    ``images`` is uint8 (N, C, H, W) with 1 or 3 channels; ``columns`` images per row; the last row may be short.
    ``row_labels`` has one text per row, written to the left. Raises ValueError for other images, for fewer than one
    column, or another number of labels.
    """
    _need_images(images)
    _need_columns(columns)
    rows = math.ceil(len(images) / columns)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"{len(row_labels)} row labels for {rows} rows")

    scale, height, width = _cell(images, cell_pixels)
    down, across = height + GAP, width + GAP
    sheet = _Sheet(min(columns, len(images)) * across - GAP, rows * down - GAP, row_labels, title)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet.paste(image, scale, column * across, row * down)
    for row, label in enumerate(row_labels or ()):
        sheet.label(label, row * down + height // 2)
    return sheet.canvas


def save_pairs(
    generated: Tensor, training: Tensor, captions: Sequence[str], path: Path, title: str, columns: int = 12
) -> None:
    """Draw each generated image above a training image, with a caption below the two; the same input, the same bytes.

    ``generated`` and ``training`` are uint8 (N, C, H, W) with 1 or 3 channels; ``columns`` pairs stand side by side,
    further ones below. A caption wider than an image moves the columns apart. Raises ValueError for other images,
    different shapes, another number of captions or fewer than one column.
    """
    _need_alike(generated, training)
    _need_columns(columns)
    if len(captions) != len(generated):
        raise ValueError(f"{len(captions)} captions for {len(generated)} pairs")

    scale, height, width = _cell(generated)
    font = _font(CAPTION_SIZE)
    pair_width = max(width, *(math.ceil(font.getlength(caption)) + 2 * GAP for caption in captions))
    pair_height = 2 * height + GAP + CAPTION_SIZE + GAP
    across, down = pair_width + GAP, pair_height + MARGIN
    rows = math.ceil(len(generated) / columns)
    labels = ("generated", "training")
    sheet = _Sheet(min(columns, len(generated)) * across - GAP, rows * down - MARGIN, labels, title)
    for index, (pair, caption) in enumerate(zip(zip(generated, training, strict=True), captions, strict=True)):
        row, column = divmod(index, columns)
        x = column * across
        for below, image in enumerate(pair):
            sheet.paste(image, scale, x + (pair_width - width) // 2, row * down + below * (height + GAP))
        sheet.text(caption, x + pair_width // 2, row * down + pair_height, CAPTION_SIZE, anchor="ms")
    for row in range(rows):
        for below, label in enumerate(labels):
            sheet.label(label, row * down + below * (height + GAP) + height // 2)
    _save(sheet.canvas, path)


def save_best_and_worst(best: Tensor, worst: Tensor, path: Path, class_names: Sequence[str], title: str) -> None:
    """Draw a row for each class: its best images, a gap, its worst; the same input gives the same bytes.

    ``best`` and ``worst`` are uint8 (K * n, C, H, W) with 1 or 3 channels: n images per class, class by class, for the K
    ``class_names``. Raises ValueError for other images, different shapes, or a count that K does not divide.
    """
    _need_alike(best, worst)
    rows = len(class_names)
    if not rows or len(best) % rows:
        raise ValueError(f"{len(best)} images cannot be as many for each of {rows} classes")

    scale, height, width = _cell(best)
    down, across = height + GAP, width + GAP
    columns = len(best) // rows
    halves = {"most certain": best, "least certain": worst}
    # A heading may be wider than a few small images.
    half_width = max(columns * across - GAP, *(math.ceil(_font(LABEL_SIZE).getlength(text)) for text in halves))
    top = LABEL_SIZE + 2 * GAP
    sheet = _Sheet(2 * half_width + HALF_GAP, top + rows * down - GAP, class_names, title)
    for half, (heading, images) in enumerate(halves.items()):
        x = half * (half_width + HALF_GAP)
        sheet.text(heading, x, LABEL_SIZE, LABEL_SIZE, anchor="ls")
        for index, image in enumerate(images):
            row, column = divmod(index, columns)
            sheet.paste(image, scale, x + column * across, top + row * down)
    for row, name in enumerate(class_names):
        sheet.label(name, top + row * down + height // 2)
    _save(sheet.canvas, path)


class _Sheet:
    """A white canvas with a title, space for row labels on the left, and an area that starts at (0, 0)."""

    def __init__(self, width: int, height: int, row_labels: Sequence[str] | None, title: str | None) -> None:
        from PIL import Image, ImageDraw

        widest = math.ceil(max(map(_font(LABEL_SIZE).getlength, row_labels))) if row_labels else 0
        self.left = MARGIN + (widest + MARGIN if row_labels else 0)
        self.top = MARGIN + (TITLE_SIZE + MARGIN if title else 0)
        # A long title widens the picture.
        title_end = MARGIN + math.ceil(_font(TITLE_SIZE).getlength(title)) if title else 0
        size = (max(self.left + width, title_end) + MARGIN, self.top + height + MARGIN)
        self.canvas = Image.new("RGB", size, "white")
        self.draw = ImageDraw.Draw(self.canvas)
        if title:
            self.draw.text((MARGIN, MARGIN), title, TEXT_COLOUR, _font(TITLE_SIZE), anchor="lt")

    def paste(self, image: Tensor, scale: int, x: int, y: int) -> None:
        """Draw an image, uint8 (C, H, W), enlarged ``scale`` times."""
        self.canvas.paste(_enlarged(image, scale), (self.left + x, self.top + y))

    def text(self, text: str, x: int, y: int, size: int, anchor: str) -> None:
        """Write a text; ``anchor`` is Pillow's."""
        self.draw.text((self.left + x, self.top + y), text, TEXT_COLOUR, _font(size), anchor=anchor)

    def label(self, label: str, middle: int) -> None:
        """Write a row's label to the left of the area, centred on ``middle``."""
        self.text(label, -MARGIN, middle, LABEL_SIZE, anchor="rm")


def _save(image: "Image.Image", path: Path) -> None:
    with replacing(path) as part:
        image.save(part, format="PNG", optimize=True)


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _need_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images must be uint8 (N, 1 or 3, H, W), not {images.dtype} {tuple(images.shape)}")


def _need_alike(images: Tensor, others: Tensor) -> None:
    _need_images(images)
    _need_images(others)
    if images.shape != others.shape:
        raise ValueError(f"images {tuple(images.shape)} and {tuple(others.shape)} are not of one shape")


def _need_columns(columns: int) -> None:
    if columns < 1:
        raise ValueError(f"columns is {columns}; it must be 1 or more")


def _cell(images: Tensor, cell_pixels: int = CELL_PIXELS) -> tuple[int, int, int]:
    """The factor to enlarge images by, and their height and width then."""
    height, width = images.shape[2:]
    scale = max(1, round(cell_pixels / max(height, width)))
    return scale, height * scale, width * scale


def _enlarged(image: Tensor, scale: int) -> "Image.Image":
    from PIL import Image

    pixels = image.expand(3, -1, -1).permute(1, 2, 0).cpu()
    pixels = pixels.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    return Image.fromarray(pixels.contiguous().numpy())
