"""Which training a checkpoint belongs to, and what its run says of where it comes from."""

from collections.abc import Mapping

from ..config import stages
from ..config.params import Params
from ..core import paths
from ..core.device import resolve
from ..data.prepared import PreparedData
from ..networks.description import load_classifier
from ..networks.family import family_code
from ..networks.weights import content_hash
from .step.distributed import DistributedContext


def source_tags(params: Params, data: PreparedData) -> dict[str, str]:
    """What a run is made from, as MLflow tags."""
    return {
        "seed": str(params.train.seed),
        "device": str(resolve(params.train)),
        "data.hash": data.content_hash,
        "classifier.hash": content_hash(load_classifier(paths.CLASSIFIER)),
    }


def identity(params: Params, tags: Mapping[str, str], distributed: DistributedContext) -> dict[str, str]:
    """All that can change a bit of the training's outputs, by name: a run resumes from a checkpoint only if all of it agrees.

    It is what the stage ``train`` depends on (:mod:`src.config.stages`), with the device that ``train.device`` stands for here.
    """
    values = params.flat()
    names = [name for name in stages.parameters("train", values) if name != "train.device"]
    return {
        **{name: str(values[name]) for name in names},
        "data.hash": tags["data.hash"][:12],
        "classifier.hash": tags["classifier.hash"][:12],
        "device": resolve(params.train).device.type,
        "processes": str(distributed.size),
        **stages.package_versions("train"),
        **stages.code_hashes("train", family_code(params.model.family)),
    }
