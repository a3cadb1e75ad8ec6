"""Train several recipes on as many images each, or each for its own length, and write a leaderboard.

Finished runs are not repeated. ``python -m src.compare_recipes --kimg 240``,
``python -m src.compare_recipes dcgan r3gan --own-length --seeds 3``
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict

from .config.params import load_params
from .config.recipes import DEFAULT, LARGE, budgeted, comparable
from .core import paths
from .core.arguments import Parser
from .core.errors import UserError, run_command


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Raises UserError for an invalid budget or seed."""
    parser = Parser(prog="python -m src.compare_recipes", description=(__doc__ or "").splitlines()[0])
    what = f"recipes, or {DEFAULT} for params.yaml itself; without any: all but {' and '.join(LARGE)}"
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=what)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--kimg", type=float, default=240.0, help="thousand real images for each (240)")
    length.add_argument(
        "--own-length", action="store_true", help="each for the train.kimg of its file, or of params.yaml"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of each run (0)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each, with this many seeds from --seed on (1)")
    options = parser.parse_args(arguments)
    if not (options.kimg > 0 and math.isfinite(options.kimg)):
        raise UserError(f"--kimg {options.kimg:g} must be above 0")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed} must be from 0 to {2**32 - 1}")
    if not 1 <= options.seeds <= 2**32 - options.seed:
        raise UserError(f"--seeds {options.seeds} must be from 1 to {2**32 - options.seed}")
    options.recipes = list(dict.fromkeys(options.recipes)) or [DEFAULT, *comparable()]
    options.kimg = None if options.own_length else options.kimg
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score, and write the leaderboards: one a seed, and one over all seeds."""
    options, params = parse_arguments(arguments), load_params()
    seeds = range(options.seed, options.seed + options.seeds)
    # All of them first: an error of the last one must not be found after hours.
    plans = {seed: {name: budgeted(params, name, options.kimg, seed) for name in options.recipes} for seed in seeds}
    from .core.device import resolve
    from .data import prepared
    from .evaluation.classifier import fit_by
    from .evaluation.evaluation import Leaderboard
    from .evaluation.real_images import RealImages
    from .networks.description import load_classifier
    from .reports.leaderboard import write_leaderboard, write_over_seeds
    from .tuning.recipes import FOLDER, Comparison, parent_run, record_leaderboard

    device = resolve(params.train).device
    data = prepared.load(paths.PREPARED, params.data)

    real_images = RealImages(load_classifier(paths.CLASSIFIER, device), data, paths.FEATURES)
    fit = fit_by(params.classifier, len(data.class_names), device)
    leaderboard = Leaderboard(params.evaluate, real_images, fit)
    length = f"{options.kimg:g}kimg" if options.kimg else "own-length"
    ceiling = {name: asdict(one) for name, one in leaderboard.ceiling().items()}
    failed: dict[str, str] = {}
    results, text = [], ""
    for seed, plan in plans.items():
        folder = FOLDER / f"{data.name}-{length}-seed{seed}"
        with parent_run(folder, data, f"recipes, {length}, seed {seed}") as parent:
            found, diverged = Comparison(data, leaderboard, folder, parent.run_id).results(plan)
            if found:
                text = write_leaderboard(found, diverged, ceiling, folder)
                record_leaderboard(parent, text, folder)
        results.append(found)
        failed |= {f"{name}, seed {seed}" if options.seeds > 1 else name: why for name, why in diverged.items()}
    if not any(results):
        raise UserError(f"every run diverged: {'; '.join(f'{name}: {why}' for name, why in failed.items())}")
    if options.seeds > 1:
        folder = FOLDER / f"{data.name}-{length}-seeds{seeds[0]}-{seeds[-1]}"
        with parent_run(folder, data, f"recipes, {length}, seeds {seeds[0]} to {seeds[-1]}") as parent:
            text = write_over_seeds(results, failed, ceiling, folder)
            record_leaderboard(parent, text, folder)
    print(f"\n{text}\n{folder}/leaderboard.md; images and networks of each recipe are in {FOLDER}/*-seed*/RECIPE")


if __name__ == "__main__":
    run_command(main)
