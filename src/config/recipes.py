"""Recipes: named sets of changes to params.yaml, in recipes/.

``python -m src.recipes`` lists them. ``dvc exp run $(python -m src.recipes wgan-gp)`` trains one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..core import paths
from ..core.errors import UserError
from .fields import as_yaml
from .params import Params, read_text

DEFAULT = "default"
"""name of params.yaml itself in a comparison of recipes"""
LARGE = ("best-cpu", "gpu")
"""recipes for more time or a GPU, which compare_recipes trains only if they are named: a short budget is unfair to them"""
SCORES = 8
"""validation scores in a run of a comparison, the best of which counts"""


@dataclass(frozen=True)
class Recipe:
    """A named set of changes."""

    name: str
    about: str
    """the first comment of its file"""
    changes: Mapping[str, Any]
    """values by dotted name"""

    def applied(self, params: Params) -> Params:
        """The parameters with these changes. Raises UserError, naming the file, for a change that is not allowed."""
        try:
            return params.replace(self.changes)
        except UserError as error:
            raise UserError(f"{path_of(self.name)}: {str(error).removeprefix('parameters: ')}") from None


def path_of(name: str) -> Path:
    """The file of a recipe."""
    return paths.RECIPES / f"{name}.yaml"


def recipe_names() -> list[str]:
    """The names of all recipes, in order."""
    return sorted(path.stem for path in paths.RECIPES.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe. Raises UserError for an unknown name, and for a file that is not a mapping of sections to parameters."""
    if name not in recipe_names():
        raise UserError(f"{name}: unknown recipe; allowed are {', '.join(recipe_names())} in {paths.RECIPES}")
    path = path_of(name)
    text = read_text(path)
    try:
        sections = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(sections, dict) or not all(isinstance(values, dict) for values in sections.values()):
        raise UserError(f"{path}: a recipe is a mapping of sections to parameters, as params.yaml is")
    changes = {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}
    first = text.partition("\n")[0]
    return Recipe(name, first.removeprefix("#").strip() if first.startswith("#") else "", changes)


def dvc_arguments(recipe: Recipe) -> str:
    """Arguments of ``dvc exp run``: the name of the experiment, and ``-S`` for each change, without spaces in any value."""
    settings = [f"-S {name}={as_yaml(value).replace(' ', '')}" for name, value in recipe.changes.items()]
    return " ".join([f"-n {recipe.name}", *settings])


def comparable() -> list[str]:
    """All recipes but the :data:`LARGE` ones."""
    return [name for name in recipe_names() if name not in LARGE]


def budgeted(params: Params, name: str, kimg: float | None, seed: int) -> Params:
    """The parameters of a recipe's run in a comparison; without ``kimg``, of the recipe's own length."""
    chosen = params if name == DEFAULT else load_recipe(name).applied(params)
    kimg = kimg or chosen.train.kimg
    budget = {"train.kimg": kimg, "train.seed": seed, "train.score_every_kimg": kimg / SCORES}
    logged = {"train.log_every_kimg": min(chosen.train.log_every_kimg, kimg / SCORES)}
    return chosen.replace({**budget, **logged})
