"""Draw images from a registered or saved generator.

``python -m src.sample --model gan-fashion-mnist@champion --label 9 --count 16 --seed 0 --out boots.png``
``python -m src.sample --model gan-fashion-mnist@champion --label sneaker --to-label "ankle boot" --out walk.gif``
``python -m src.sample --model gan-fashion-mnist@champion --per-class 1000 --out samples.npz``
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .core.arguments import Parser
from .core.errors import UserError, run_command
from .sampling.request import (
    MAX_IMAGES,
    MAX_SHOWN,
    STEPS,
    UNLABELLED,
    make_end,
    make_plan,
    share,
    watched,
    whole_number,
    write_npz,
)

if TYPE_CHECKING:
    from .registry.versions import StoredGenerator


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options, and check them as far as possible without the model. Raises UserError for invalid combinations."""
    parser = Parser(
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
        help="class, by number or name; several, which alternate: --label 7,9 or --label 7 --label 9 (default: all classes)",
    )
    counts = parser.add_mutually_exclusive_group()
    counts.add_argument("--count", type=images, default=16, help="images in all (default 16)")
    counts.add_argument("--per-class", type=images, help="images of each class, or of each --label, class by class")
    parser.add_argument("--seed", type=seeds, default=0, help="the same seed gives the same bytes (default 0)")
    parser.add_argument(
        "--truncation",
        type=share,
        default=1.0,
        help="factor of the latents: below 1, images are more typical and less varied (default 1)",
    )
    walks = parser.add_argument_group("interpolation (.png: a row for each image; .gif: back and forth)")
    walks.add_argument(
        "--to-seed", type=seeds, help="interpolate each image to that of this seed, along the great circle"
    )
    walks.add_argument("--to-label", help="interpolate each image to that of this class, with the same latent")
    walks.add_argument("--steps", type=whole_number(2, MAX_SHOWN), help=f"images of an interpolation (default {STEPS})")
    parser.add_argument(
        "--out",
        required=True,
        help=".png: a grid; .gif: an animation; .npz: images uint8 (N, H, W) or (N, C, H, W), labels and "
        "seeds of the latents, both int64 (N,); a name that ends in / or has no ending: a folder of PNG files, a "
        "subfolder a class, which is resumed if interrupted",
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
        raise UserError("--to-seed and --to-label interpolate: --out must be .png or .gif")
    if options.steps is not None and not options.walk:
        raise UserError("--steps is the length of an interpolation, and needs --to-seed or --to-label")
    return options


def load(reference: str) -> "StoredGenerator":
    """Load the generator of a folder or from the registry. Raises UserError if there is none."""
    from .registry import versions
    from .tracking import store

    folder = Path(reference)
    if folder.is_dir():
        return versions.load_folder(folder, reference)
    client = store.connect()
    return versions.load_version(client, versions.find_version(client, reference))


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw and write."""
    options = parse_arguments(arguments)
    stored = load(options.model)
    plan = make_plan(options, stored)
    from .core.device import resolve
    from .sampling.folder import save_folder
    from .sampling.pictures import draw_samples, draw_walks

    resolve()
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
