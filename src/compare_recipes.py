"""Train several recipes with one budget of images, and write a leaderboard. Finished ones are not trained again.

``python -m src.compare_recipes --kimg 240``, ``python -m src.compare_recipes dcgan r3gan --kimg 480 --seed 1``
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict

from .config.params import load_params
from .config.recipes import DEFAULT, budgeted, comparable
from .core import paths
from .core.arguments import Parser
from .core.errors import UserError, run_command


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Raises UserError for an invalid budget or seed."""
    parser = Parser(prog="python -m src.compare_recipes", description=(__doc__ or "").splitlines()[0])
    what = f"recipes, or {DEFAULT} for params.yaml itself; without any: all that have no length of their own"
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=what)
    parser.add_argument("--kimg", type=float, default=240.0, help="thousand real images for each (240)")
    parser.add_argument("--seed", type=int, default=0, help="seed of each run (0)")
    options = parser.parse_args(arguments)
    if not (options.kimg > 0 and math.isfinite(options.kimg)):
        raise UserError(f"--kimg {options.kimg:g} must be above 0")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed} must be from 0 to {2**32 - 1}")
    options.recipes = list(dict.fromkeys(options.recipes)) or [DEFAULT, *comparable()]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score, and write the leaderboard."""
    options, params = parse_arguments(arguments), load_params()
    # All of them first: an error of the last one must not be found after hours.
    plans = {name: budgeted(params, name, options.kimg, options.seed) for name in options.recipes}
    from .core.device import resolve
    from .data import prepared
    from .evaluation.classifier import fit_by
    from .evaluation.evaluation import Leaderboard
    from .evaluation.real_images import RealImages
    from .networks.description import load_classifier
    from .reports.leaderboard import write_leaderboard
    from .training.health import TrainingDiverged
    from .tuning.recipes import FOLDER, Comparison, parent_run

    device = resolve(params.train).device
    data = prepared.load(paths.PREPARED, params.data)

    real_images = RealImages(load_classifier(paths.CLASSIFIER, device), data, paths.FEATURES)
    fit = fit_by(params.classifier, len(data.class_names), device)
    leaderboard = Leaderboard(params.evaluate, real_images, fit)
    folder = FOLDER / f"{data.name}-{options.kimg:g}kimg-seed{options.seed}"
    results, failed = [], {}
    with parent_run(folder, data, f"recipes, {options.kimg:g} kimg, seed {options.seed}") as parent:
        comparison = Comparison(data, leaderboard, folder, parent.run_id)
        for name, plan in plans.items():
            try:
                results.append(comparison.result(name, plan))
            except TrainingDiverged as error:
                failed[name] = str(error)
                print(f"{name}: {error}")
        if not results:
            raise UserError(f"every run diverged: {'; '.join(f'{name}: {why}' for name, why in failed.items())}")
        ceiling = {name: asdict(one) for name, one in leaderboard.ceiling().items()}
        text = write_leaderboard(results, failed, ceiling, folder)
        for file in ("leaderboard.csv", "leaderboard.md", "leaderboard.png"):
            parent.artifact(folder / file)
        parent.tags({"mlflow.note.content": text})
    print(f"\n{text}\n{folder}/leaderboard.md and .png; each recipe's images and networks are in {folder}")


if __name__ == "__main__":
    run_command(main)
