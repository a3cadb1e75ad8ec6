"""Everything that is to be measured on a GPU, as Markdown to paste into docs/performance.md and docs/recipes.md.

It needs ``data/prepared`` and ``models/classifier`` (``dvc repro train_classifier``), and takes about two hours. Each part is a
command of its own, and one that fails does not end the others: ``python -m benchmarks.gpu``, ``... speed quality``.
"""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.machine import describe_machine
from src.config.params import load_params
from src.core.arguments import Parser
from src.core.device import resolve
from src.core.errors import UserError, run_command

KIMG, SEEDS = 2000, 3
"""of the leaderboard"""
PARTS: dict[str, tuple[str, list[str]]] = {
    "tests": (
        "Tests: replayed steps, streaming, a killed run that resumes to the bit, metrics on the device",
        ["pytest -q -rs tests/training tests/data/test_batches.py tests/evaluation tests/networks"],
    ),
    "speed": (
        "Training speed compared with a textbook loop",
        ["benchmarks.train_speed --markdown", "benchmarks.train_speed --precision float32 --parts speed --markdown"],
    ),
    "pictures": (
        "Colour pictures of 64 and 128 pixels",
        [
            f"benchmarks.train_speed --family compact --image-size {size} --channels 3 --parts speed --markdown"
            for size in (64, 128)
        ],
    ),
    "quality": ("Time to quality", ["benchmarks.time_to_quality --thresholds 3 1.5 1 --markdown"]),
    "leaderboard": (
        f"Recipes, {KIMG:,} thousand images, {SEEDS} seeds",
        [f"src.compare_recipes --kimg {KIMG} --seeds {SEEDS}"],
    ),
    "recipe": ("The recipe gpu", [f"src.compare_recipes gpu --own-length --seeds {SEEDS}"]),
}
"""Titles and commands by name, modules of ``python -m``."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts in turn. Exits with status 1 if one of them fails."""
    parser = Parser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; without any: all")
    parser.add_argument("--any-device", action="store_true", help="run on a CPU, too")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.parts if name not in PARTS]:
        raise UserError(f"unknown part {unknown[0]!r}; allowed are {', '.join(PARTS)}")
    device = resolve(load_params().train).device
    if device.type != "cuda" and not options.any_device:
        raise UserError("PyTorch sees no CUDA GPU here; these benchmarks are for one (--any-device runs them on a CPU)")
    print(f"Measured on {describe_machine(device)}.", flush=True)
    failed = [name for name in options.parts or PARTS if not run_part(*PARTS[name])]
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
        raise SystemExit(1)


def run_part(title: str, commands: Sequence[str]) -> bool:
    """Run the commands of a part, with their output; whether all of them succeeded."""
    print(f"\n## {title}", flush=True)
    statuses = []
    for command in commands:
        print(f"\n`python -m {command}`\n", flush=True)
        began = time.perf_counter()
        statuses.append(subprocess.run([sys.executable, "-m", *shlex.split(command)], check=False).returncode)
        print(f"\n({(time.perf_counter() - began) / 60:.1f} minutes, exit status {statuses[-1]})", flush=True)
    return not any(statuses)


if __name__ == "__main__":
    run_command(main)
