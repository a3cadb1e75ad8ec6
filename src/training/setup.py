"""The inputs of a run besides its parameters: training images, and the judge that scores it on the validation split."""

from ..config.params import Params
from ..core import paths
from ..core.device import resolve
from ..data.prepared import PreparedData
from ..evaluation.judge import ValidationJudge
from ..evaluation.real_images import RealImages
from ..networks.description import load_classifier
from ..networks.saved import check_inputs
from .loop import TrainingData


def real_images(params: Params, data: PreparedData) -> RealImages:
    """The images of each split in the feature space of the current judge."""
    return RealImages(load_classifier(paths.CLASSIFIER, resolve(params.train).device), data, paths.FEATURES)


def validation_judge(params: Params, data: PreparedData) -> ValidationJudge:
    """The judge on the validation split."""
    return ValidationJudge(real_images(params, data), params.train.score_samples, params.evaluate.nearest_k)


def training_data(params: Params, data: PreparedData) -> TrainingData:
    """The training images and the judge. Raises UserError if the judge was trained otherwise."""
    check_inputs(params, data.content_hash, generator=False)
    judge = validation_judge(params, data)
    return TrainingData(data.train.images, data.train.labels, len(data.class_names), judge, judge.diversity)
