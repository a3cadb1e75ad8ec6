"""Draw images from a registered or saved generator.

``python -m src.sample --model gan-fashion-mnist@champion --label 9 --count 16 --seed 0 --out boots.png``
``python -m src.sample --model gan-fashion-mnist@champion --per-class 1000 --out samples.npz``
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.errors import UserError, run_command
from src.files import replacing
from src.networks.sampling import generate
from src.pictures.grids import save_grid
from src.tracking import registry, store

MAX_IMAGES = 1_000_000


def parse_label(text: str, class_names: tuple[str, ...]) -> int:
    """A class by number or by name, case ignored. Raises UserError with the classes that there are."""
    lowered = [name.lower() for name in class_names]
    if text.isdecimal() and int(text) < len(class_names):
        return int(text)
    if text.lower() in lowered:
        return lowered.index(text.lower())
    known = ", ".join(f"{number} {name}" for number, name in enumerate(class_names))
    raise UserError(f"--label {text!r} is not a class of this model; it has {known}")


def choose_labels(options: argparse.Namespace, class_names: tuple[str, ...]) -> Tensor:
    """The labels int64 (N,) that the options ask for: one class, or all in turn."""
    if options.per_class is not None:
        return torch.arange(len(class_names)).repeat_interleave(options.per_class)
    if options.label is not None:
        return torch.full((options.count,), parse_label(options.label, class_names))
    return torch.arange(options.count) % len(class_names)


def write(images: Tensor, labels: Tensor, class_names: tuple[str, ...], out: Path) -> None:
    """Write uint8 images (N, C, H, W) as a PNG grid, or with their labels as npz; the ending decides."""
    if out.suffix == ".npz":
        pixels = images.squeeze(1) if images.shape[1] == 1 else images
        with replacing(out) as part, part.open("wb") as file:
            np.savez_compressed(file, images=pixels.numpy(), labels=labels.numpy().astype(np.int64))
        return
    by_class = bool(torch.equal(labels, labels.sort().values)) and len(labels.unique()) == len(class_names)
    columns = len(labels) // len(class_names) if by_class and len(labels) <= 40 * len(class_names) else 0
    row_labels = class_names if columns and columns * len(class_names) == len(labels) else None
    save_grid(images, out, columns if row_labels else max(1, min(40, round(len(labels) ** 0.5))), row_labels)


def whole_number(minimum: int, maximum: int) -> "type[int]":
    """A parser of whole numbers within bounds, for argparse."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {minimum} to {maximum}")
        return value

    return parse  # type: ignore[return-value]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(prog="python -m src.sample", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="NAME@ALIAS, NAME/VERSION, or a folder such as models/gan")
    parser.add_argument("--label", help="class, by number or name; without it the classes take turns")
    counts = parser.add_mutually_exclusive_group()
    counts.add_argument("--count", type=whole_number(1, MAX_IMAGES), default=16, help="images (default 16)")
    counts.add_argument("--per-class", type=whole_number(1, MAX_IMAGES), help="images of every class")
    parser.add_argument(
        "--seed", type=whole_number(0, 2**31 - 1), default=0, help="the same seed gives the same bytes (default 0)"
    )
    parser.add_argument("--out", type=Path, required=True, help="a .png grid, or .npz with images and labels")
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".png", ".npz"):
        raise UserError(f"--out {options.out}: the name must end in .png or .npz")
    if options.per_class is not None and options.label is not None:
        raise UserError("--label and --per-class exclude each other: --per-class draws every class")
    folder = Path(options.model)
    if folder.is_dir():
        stored = registry.load_folder(folder, options.model)
    else:
        client = store.connect()
        stored = registry.load_version(client, registry.find_version(client, options.model))
    labels = choose_labels(options, stored.class_names)
    if len(labels) > MAX_IMAGES:
        raise UserError(f"{len(labels):,} images are too many for one file; at most {MAX_IMAGES:,} are allowed")
    images = generate(stored.network, labels, options.seed * 2**32 + torch.arange(len(labels)))
    write(images, labels, stored.class_names, options.out)
    print(f"{len(images):,} images of {stored.name} in {options.out}")


if __name__ == "__main__":
    run_command(main)
