"""What a training needs besides its parameters: the images, and the judge that scores it on the validation split."""

from src import paths
from src.datasets.store import PreparedData
from src.device import pick_device
from src.metrics.judge import ValidationJudge
from src.metrics.real_images import RealImages
from src.networks.description import load_classifier
from src.params import Params
from src.training.loop import TrainingData


def real_images(params: Params, data: PreparedData) -> RealImages:
    """The images of each split in the feature space of the present classifier."""
    return RealImages(load_classifier(paths.CLASSIFIER, pick_device(params.train.device)), data, paths.FEATURES)


def validation_judge(params: Params, data: PreparedData) -> ValidationJudge:
    """The classifier as judge on the validation split."""
    return ValidationJudge(real_images(params, data), params.train.score_samples, params.evaluate.nearest_k)


def training_data(params: Params, data: PreparedData) -> TrainingData:
    """The training images, and their judge."""
    judge = validation_judge(params, data)
    return TrainingData(data.train.images, data.train.labels, len(data.class_names), judge, judge.diversity)
