"""The identity of a run, which its checkpoints must match, and the tags that record its sources."""

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
    """The sources of a run as MLflow tags."""
    return {
        "seed": str(params.train.seed),
        "device": str(resolve(params.train)),
        "data.hash": data.content_hash,
        "classifier.hash": content_hash(load_classifier(paths.CLASSIFIER)),
    }


def identity(params: Params, tags: Mapping[str, str], distributed: DistributedContext) -> dict[str, str]:
    """Everything that can change a bit of a run's outputs, by name. Runs resume only from checkpoints with the same identity.

    It consists of the dependencies of the stage ``train`` (:mod:`src.config.stages`) and the resolved device.
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
