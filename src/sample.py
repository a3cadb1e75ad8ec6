"""Draw images from a registered or saved generator.

``python -m src.sample --model gan-fashion-mnist@champion --label 9 --count 16 --seed 0 --out boots.png``
``python -m src.sample --model gan-fashion-mnist@champion --label sneaker --to-label "ankle boot" --out walk.gif``
``python -m src.sample --model gan-fashion-mnist@champion --per-class 1000 --out samples.npz``
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from src import interrupts
from src.errors import UserError, run_command

if TYPE_CHECKING:
    from torch import Tensor

    from src.networks.interface import Generator
    from src.networks.plan import Plan
    from src.tracking.registry import StoredGenerator

MAX_IMAGES = 1_000_000
MAX_SHOWN = 1_600
"""Pictures are for the eye, and are made in memory."""
STEPS = 16
UNLABELLED = ("unlabelled",)
"""the class of all images of a generator that ignores labels"""


def parse_label(text: str, class_names: tuple[str, ...], option: str = "--label") -> int:
    """A class by number or by name, case ignored. Raises UserError with the classes that there are."""
    lowered = [name.lower() for name in class_names]
    if text.isdecimal() and int(text) < len(class_names):
        return int(text)
    if text.lower() in lowered:
        return lowered.index(text.lower())
    known = ", ".join(f"{number} {name}" for number, name in enumerate(class_names))
    raise UserError(f"{option} {text!r} is not a class of this model; it has {known}")


def parse_labels(texts: Sequence[str], class_names: tuple[str, ...]) -> tuple[int, ...]:
    """Classes, each once, from texts that hold one or several with commas between; all classes for no text."""
    lowered = [name.lower() for name in class_names]
    # A name may have a comma of its own.
    parts = [part for text in texts for part in ([text] if text.lower() in lowered else text.split(","))]
    return tuple(dict.fromkeys(parse_label(part.strip(), class_names) for part in parts)) or (*range(len(class_names)),)


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds, for argparse."""

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
    """A parser of numbers above 0 and up to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0 and up to 1")
    return value


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, as far as they can be judged without the model. Raises UserError for what does not go together."""
    parser = argparse.ArgumentParser(
        prog="python -m src.sample",
        description=(__doc__ or "").replace("``", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    images, seeds = whole_number(1, MAX_IMAGES), whole_number(0, 2**31 - 1)
    parser.add_argument("--model", required=True, help="NAME@ALIAS, NAME/VERSION, or a folder such as models/gan")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        help="class, by number or name; several: --label 7,9 or --label 7 --label 9. They take turns (default: all classes)",
    )
    counts = parser.add_mutually_exclusive_group()
    counts.add_argument("--count", type=images, default=16, help="images in all (default 16)")
    counts.add_argument("--per-class", type=images, help="images of every class, or of every --label, class by class")
    parser.add_argument("--seed", type=seeds, default=0, help="the same seed gives the same bytes (default 0)")
    parser.add_argument(
        "--truncation",
        type=share,
        default=1.0,
        help="latents are multiplied by it: below 1 images are more typical and less varied (default 1)",
    )
    walks = parser.add_argument_group("from one image to another (.png: a row for each image; .gif: there and back)")
    walks.add_argument("--to-seed", type=seeds, help="each image turns into that of this seed, along the great circle")
    walks.add_argument("--to-label", help="each image turns into that of this class, the latent being the same")
    walks.add_argument("--steps", type=whole_number(2, MAX_SHOWN), help=f"images on the way (default {STEPS})")
    parser.add_argument(
        "--out",
        required=True,
        help=".png: a grid; .gif: one image after the other; .npz: images uint8 (N, H, W) or (N, C, H, W), labels and "
        "seeds of the latents, both int64 (N,); a name that ends in / or has no ending: a folder of PNG files, a "
        "subfolder a class, which goes on where it was interrupted",
    )
    options = parser.parse_args(arguments)
    options.kind = "/" if options.out.endswith("/") else Path(options.out).suffix.lower() or "/"
    options.out = Path(options.out)
    options.walk = options.to_seed is not None or options.to_label is not None
    if options.kind not in (".png", ".gif", ".npz", "/"):
        raise UserError(
            f"--out {options.out}: the name must end in .png, .gif or .npz, or in / (or have no ending) for a folder"
        )
    if options.kind != "/" and options.out.is_dir():
        raise UserError(f"--out {options.out} is a folder; end the name in / to write one")
    if options.walk and options.kind not in (".png", ".gif"):
        raise UserError("--to-seed and --to-label make images between two classes or seeds: --out must be .png or .gif")
    if options.steps is not None and not options.walk:
        raise UserError("--steps counts the images from one to another: it needs --to-seed or --to-label")
    return options


def load(reference: str) -> "StoredGenerator":
    """The generator that a folder or the registry has. Raises UserError where there is none."""
    from src.tracking import registry, store

    folder = Path(reference)
    if folder.is_dir():
        return registry.load_folder(folder, reference)
    client = store.connect()
    return registry.load_version(client, registry.find_version(client, reference))


def need_labels(stored: "StoredGenerator", option: str, instead: str) -> None:
    """Raises UserError for an option that asks for classes of a generator that ignores them."""
    if not stored.network.conditional:
        raise UserError(f"{option}: {stored.name} ignores labels (model.conditioning is none); {instead} is possible")


def make_plan(options: argparse.Namespace, stored: "StoredGenerator") -> "Plan":
    """What the options ask for. Raises UserError for an unknown class, or too many images."""
    from src.networks.plan import Plan

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
    """The images that those of ``plan`` turn into. Raises UserError for an unknown class, or where nothing would change."""
    if options.to_label is not None:
        need_labels(stored, "--to-label", "--to-seed")
    end = plan
    if options.to_seed is not None:
        end = replace(end, seed=options.to_seed)
    if options.to_label is not None:
        end = replace(end, classes=(parse_label(options.to_label, stored.class_names, "--to-label"),), per_class=None)
    if (end.classes, end.seed) == (plan.classes, plan.seed):
        raise UserError("--to-seed and --to-label name what --seed and --label name already; one of them must differ")
    return end


def watched(plan: "Plan") -> "Iterator[Tensor]":
    """The numbers of the images in batches, with progress on the screen."""
    from src.training.progress import ProgressLine

    with ProgressLine("sampling", plan.count / 1000, "thousand images") as line:
        for numbers in plan.batches():
            interrupts.check()
            yield numbers
            line.update((int(numbers[-1]) + 1) / 1000, "")


def write_npz(plan: "Plan", generator: "Generator", out: Path) -> None:
    """Images, labels and seeds, a batch at a time."""
    from src.datasets.npz import save_npz

    images = (plan.draw(generator, numbers) for numbers in watched(plan))
    arrays = {
        "images": (some.squeeze(1) if some.shape[1] == 1 else some for some in images),
        "labels": (plan.labels(numbers) for numbers in plan.batches()),
        "seeds": (plan.seeds(numbers) for numbers in plan.batches()),
    }
    save_npz(out, plan.count, {name: (part.numpy() for part in parts) for name, parts in arrays.items()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw and write."""
    options = parse_arguments(arguments)
    stored = load(options.model)
    plan = make_plan(options, stored)
    from src.pictures.folder import save_folder
    from src.pictures.samples import draw_samples, draw_walks

    class_names = stored.class_names if stored.network.conditional else UNLABELLED
    if options.walk:
        end = make_end(plan, options, stored)
        draw_walks(plan, end, options.steps or STEPS, stored.network, class_names, options.out)
    elif options.kind == ".npz":
        write_npz(plan, stored.network, options.out)
    elif options.kind == "/":
        save_folder(plan, stored.network, class_names, options.out, watched(plan))
    else:
        draw_samples(plan, stored.network, class_names, options.out)
    print(f"{plan.count:,} images of {stored.name} in {options.out}")


if __name__ == "__main__":
    run_command(main)
