"""The command line of ``src.sample``: which images, how many, and in which form."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import interrupts
from ..core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ..networks.interface import Generator
    from ..registry.versions import StoredGenerator
    from .plan import Plan

MAX_IMAGES = 1_000_000
MAX_SHOWN = 1_600
"""Pictures are made in memory."""
STEPS = 16
UNLABELLED = ("unlabelled",)
"""the class of all images of an unconditional generator"""


def parse_label(text: str, class_names: tuple[str, ...], option: str = "--label") -> int:
    """A class by number or by name, ignoring case. Raises UserError that lists the classes."""
    lowered = [name.lower() for name in class_names]
    if text.isdecimal() and int(text) < len(class_names):
        return int(text)
    if text.lower() in lowered:
        return lowered.index(text.lower())
    known = ", ".join(f"{number} {name}" for number, name in enumerate(class_names))
    raise UserError(f"{option} {text!r} is not a class of this model; it has {known}")


def parse_labels(texts: Sequence[str], class_names: tuple[str, ...]) -> tuple[int, ...]:
    """Unique classes from comma-separated texts; all classes for no text."""
    lowered = [name.lower() for name in class_names]
    # A name may contain a comma.
    parts = [part for text in texts for part in ([text] if text.lower() in lowered else text.split(","))]
    return tuple(dict.fromkeys(parse_label(part.strip(), class_names) for part in parts)) or (*range(len(class_names)),)


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """An argparse type: a whole number within bounds."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from {minimum} to {maximum}")
        return value

    return parse


def share(text: str) -> float:
    """An argparse type: a number above 0 and up to 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0 and up to 1")
    return value


def need_labels(stored: "StoredGenerator", option: str, instead: str) -> None:
    """Raise UserError for an option about classes if the generator is unconditional."""
    if not stored.network.conditional:
        raise UserError(f"{option}: {stored.name} ignores labels (model.conditioning is none); use {instead}")


def make_plan(options: argparse.Namespace, stored: "StoredGenerator") -> "Plan":
    """The plan of the options. Raises UserError for an unknown class, or too many images."""
    from .plan import Plan

    if options.label or options.per_class:
        need_labels(stored, "--label" if options.label else "--per-class", "--count")
    classes = parse_labels(options.label, stored.class_names) if stored.network.conditional else (0,)
    count = options.per_class * len(classes) if options.per_class else options.count
    if count > MAX_IMAGES:
        raise UserError(f"{count:,} images are too many at once; at most {MAX_IMAGES:,} are allowed")
    shown = count * (options.steps or STEPS) if options.walk else count
    if options.kind in (".png", ".gif") and shown > MAX_SHOWN:
        instead = "fewer, or fewer --steps" if options.walk else "an .npz or a folder as --out takes more"
        raise UserError(f"{shown:,} images are too many for one picture; at most {MAX_SHOWN:,} are allowed; {instead}")
    return Plan(classes, count, options.per_class, options.seed, options.truncation)


def make_end(plan: "Plan", options: argparse.Namespace, stored: "StoredGenerator") -> "Plan":
    """The end points of the interpolation. Raises UserError for an unknown class, or if they equal those of ``plan``."""
    if options.to_label is not None:
        need_labels(stored, "--to-label", "--to-seed")
    end = plan
    if options.to_seed is not None:
        end = replace(end, seed=options.to_seed)
    if options.to_label is not None:
        end = replace(end, classes=(parse_label(options.to_label, stored.class_names, "--to-label"),), per_class=None)
    if (end.classes, end.seed) == (plan.classes, plan.seed):
        raise UserError("--to-seed and --to-label equal --seed and --label; at least one must differ")
    return end


def watched(plan: "Plan") -> "Iterator[Tensor]":
    """The numbers of the images in batches, with a progress bar."""
    from ..core.progress import ProgressLine

    with ProgressLine("sampling", plan.count / 1000, "thousand images") as line:
        for numbers in plan.batches():
            interrupts.check()
            yield numbers
            line.update((int(numbers[-1]) + 1) / 1000, "")


def write_npz(plan: "Plan", generator: "Generator", out: Path) -> None:
    """Images, labels and seeds, a batch at a time."""
    from ..data.npz import save_npz

    images = (plan.draw(generator, numbers) for numbers in watched(plan))
    arrays = {
        "images": (some.squeeze(1) if some.shape[1] == 1 else some for some in images),
        "labels": (plan.labels(numbers) for numbers in plan.batches()),
        "seeds": (plan.seeds(numbers) for numbers in plan.batches()),
    }
    save_npz(out, plan.count, {name: (part.numpy() for part in parts) for name, parts in arrays.items()})
