"""Grids and animations of requested images, by the suffix of the path: ``.png`` or ``.gif``."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ..networks.interface import Generator
from .animation import save_pictures, save_there_and_back
from .draw import interpolate
from .grids import grid_image, save_grid
from .plan import Plan

MAX_COLUMNS = 40
WALK_PIXELS, ALONE_PIXELS = 84, 168
"""The size of an image in an animation: in a grid, and alone."""
SECONDS = 0.4


def draw_samples(plan: Plan, generator: Generator, class_names: Sequence[str], path: Path) -> None:
    """The images of a plan as a grid, or as an animation."""
    numbers = torch.arange(plan.count)
    images = plan.draw(generator, numbers)
    if path.suffix.lower() == ".gif":
        frames = [grid_image(image[None], 1, cell_pixels=ALONE_PIXELS) for image in images]
        save_pictures(frames, path, SECONDS, SECONDS)
    else:
        save_grid(images, path, *_layout(plan, [class_names[label] for label in plan.labels(numbers)]))


def draw_walks(
    start: Plan, end: Plan, steps: int, generator: Generator, class_names: Sequence[str], path: Path
) -> None:
    """Interpolations from each image of one plan to that of another: a row each, or an animation of all, there and back."""
    numbers = torch.arange(start.count)
    labels, end_labels = start.labels(numbers), end.labels(numbers)
    captions = None
    if generator.conditional:
        captions = [
            class_names[one] if one == other else f"{class_names[one]} to {class_names[other]}"
            for one, other in zip(labels.tolist(), end_labels.tolist(), strict=True)
        ]
    images = interpolate(
        generator,
        labels,
        start.seeds(numbers),
        end.seeds(numbers),
        steps,
        end_labels=end_labels,
        truncation=start.truncation,
    )
    if path.suffix.lower() == ".gif":
        layout = _layout(start, captions)
        frames = images.unflatten(0, (start.count, steps)).unbind(1)
        save_there_and_back([grid_image(frame, *layout, cell_pixels=WALK_PIXELS) for frame in frames], path)
    else:
        save_grid(images, path, steps, captions)


def _layout(plan: Plan, captions: Sequence[str] | None) -> tuple[int, Sequence[str] | None]:
    """Columns and row labels: a row for each class if its images fit, otherwise roughly a square."""
    if captions and plan.per_class and plan.per_class <= MAX_COLUMNS:
        return plan.per_class, captions[:: plan.per_class]
    return max(1, min(MAX_COLUMNS, round(plan.count**0.5))), None
