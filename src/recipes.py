"""List the recipes, print the arguments that train one, or write one to params.yaml: ``python -m src.recipes [NAME]``."""

from collections.abc import Sequence

from .config.edit import write_params
from .config.fields import as_yaml
from .config.params import load_params
from .config.recipes import dvc_arguments, load_recipe, recipe_names
from .core import paths
from .core.arguments import Parser
from .core.errors import UserError, run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """List the recipes, print the arguments that train one, or write one to params.yaml."""
    parser = Parser(prog="python -m src.recipes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", help="print the arguments for `dvc exp run` that train it")
    parser.add_argument("--apply", action="store_true", help="write its values into params.yaml instead")
    options = parser.parse_args(arguments)
    if options.name is None:
        if options.apply:
            raise UserError(f"--apply needs the name of a recipe; there are {', '.join(recipe_names())}")
        for name in recipe_names():
            print(f"{name:18} {load_recipe(name).about}")
        return
    recipe = load_recipe(options.name)
    recipe.applied(load_params())
    if options.apply:
        write_params(recipe.changes)
        print(f"{paths.PARAMS} has {', '.join(f'{name}: {as_yaml(value)}' for name, value in recipe.changes.items())}")
    else:
        print(dvc_arguments(recipe))


if __name__ == "__main__":
    run_command(main)
