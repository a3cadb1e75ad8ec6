"""Run by a test in a process of its own: loads a registered model where nothing but mlflow and torch may be imported.

``python -I alone.py TRACKING_URI MODEL_URI`` prints JSON: the uint8 pixels of ten images, one of each class.
"""

import importlib
import json
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def closure(*names: str) -> set[str]:
    """The distributions that these need, with themselves, in normal form."""
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        seen.add(name)
        waiting += [
            re.split(r"[ ;\[<>=!~(]", one, maxsplit=1)[0] for one in required if not re.search(r";.*\bextra *==", one)
        ]
    return seen


ALLOWED = closure("mlflow", "torch")
OWNERS = {
    module: {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
    for module, owners in metadata.packages_distributions().items()
}


class TheirsOnly(PathFinder):
    """Finds no installed module of other packages, as if they were not there."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Nothing for a module of which no owner is allowed."""
        owners = OWNERS.get(fullname.partition(".")[0])
        return None if owners and not owners & ALLOWED else super().find_spec(fullname, path, target)


def refused(name: str) -> bool:
    """Whether a module cannot be imported here."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return True
    return False


def main() -> None:
    """Load both flavours and draw."""
    sys.meta_path[:] = [TheirsOnly if finder is PathFinder else finder for finder in sys.meta_path]
    import mlflow
    import torch

    tracking_uri, model_uri = sys.argv[1:]
    mlflow.set_tracking_uri(tracking_uri)
    rows = torch.stack([torch.arange(10), torch.arange(10) * 2**59], dim=1)
    by_pyfunc = torch.from_numpy(mlflow.pyfunc.load_model(model_uri).predict(rows.numpy()))
    by_pytorch = mlflow.pytorch.load_model(model_uri)(rows, torch.ones(10)).detach()
    answer: dict[str, list[int] | list[str]] = {
        name: images.add(1).mul(255 / 2).round().clamp(0, 255).to(torch.uint8).flatten().tolist()
        for name, images in (("pyfunc", by_pyfunc), ("pytorch", by_pytorch))
    }
    answer["refused"] = [name for name in ("optuna", "safetensors", "src", "torchvision", "pandas") if refused(name)]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
