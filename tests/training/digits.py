"""The 8 x 8 digits of scikit-learn, a classifier that knows them, and a tiny GAN's parameters: shared by the tests of
training and metrics. What is cached here is for reading only.
"""

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits

from src.config.params import Classifier, Params
from src.data.prepared import PreparedData, Split
from src.evaluation.classifier import fit_classifier
from src.evaluation.judge import ValidationJudge
from src.evaluation.real_images import RealImages
from src.networks import interface
from src.training.loop import TrainingData

CPU = torch.device("cpu")
CLASSIFIER = Classifier(width=8, feature_size=32, epochs=8, batch_size=64, lr=4e-3)


@cache
def digits() -> PreparedData:
    """1,200 training, 240 validation and 357 test images."""
    raw = load_digits()
    images = (torch.from_numpy(raw.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(raw.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, validation, test = (Split(images[part], labels[part]) for part in order.split([1200, 240, 357]))
    return PreparedData(train, validation, test, "digits", tuple("0123456789"), "of no importance")


@cache
def classifier() -> interface.Classifier:
    return fit_classifier(CLASSIFIER, digits().train, 10, CPU)


@cache
def real_images() -> RealImages:
    return RealImages(classifier(), digits())


@cache
def judge() -> ValidationJudge:
    return ValidationJudge(real_images(), samples=240)


def training_data(judge_: Any) -> TrainingData:
    return TrainingData(digits().train.images, digits().train.labels, 10, judge_)


def tiny(**changes: Any) -> Params:
    """A multilayer perceptron, ten steps of 50 images, logged every second step and scored every fifth.

    Changes name a parameter with two underscores in place of the dot, for example ``train__kimg=1``.
    """
    return Params().replace(
        {
            "model.family": "mlp",
            "model.hidden_sizes": [24, 32],
            "model.latent_size": 6,
            "train.batch_size": 50,
            "train.kimg": 0.5,
            "train.log_every_kimg": 0.1,
            "train.score_every_kimg": 0.25,
            **{name.replace("__", "."): value for name, value in changes.items()},
        }
    )
