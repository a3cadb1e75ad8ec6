"""A made-up scorecard of three classes, one of them with a name that HTML and Markdown could take for their own."""

from typing import Any

import pandas as pd

from src.config.params import Params
from src.evaluation.scorecard import Scorecard
from src.reports.model_card import CardFacts

NAMES = ["cat", "<b>dog</b> | *x*", "cow"]
VALUES = {  # generated, real, floor
    "gan_test_accuracy": (0.7, 0.9, 0.5),
    "gan_train_accuracy": (0.612, 0.843, 0.4),
    "frechet_classifier_distance": (7.31, 0.25, 50.0),
    "frechet_joint_distance": (8.13, 0.35, 55.0),
    "recall": (0.31, 0.92, 0.01),
    "coverage": (0.89, 0.97, 0.05),
    "memorisation": (0.612, 0.5, 0.02),
    "copied_share": (0.034, 0.009, 0.0),
}
LABELLED = ("gan_test_accuracy", "gan_train_accuracy", "frechet_joint_distance")
SOURCES = ("generated", "real", "floor")
AGREEMENT = {"generated": (0.9, 0.5, 0.7), "real": (0.95, 0.9, 0.85), "floor": (0.5, 0.5, 0.5)}
DISTANCES = {"generated": (9.0, 11.0, 3.0), "real": (1.0, 8.0, 0.5), "floor": (60.0, 60.0, 60.0)}
SHARES = {"generated": (0.5, 0.3, 0.2), "real": (0.3, 0.31, 0.39), "floor": (0.3, 0.3, 0.4)}


def one(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.002, "high": value + 0.002}


def scorecard(*, conditional: bool = True) -> dict[str, Any]:
    labelled = {"gan_test_recall": AGREEMENT, "gan_test_f1": AGREEMENT, "frechet_classifier_distance": DISTANCES}
    by_class = {**(labelled if conditional else {}), "class_share": SHARES}
    overall = {
        source: {name: one(three[place]) for name, three in VALUES.items() if conditional or name not in LABELLED}
        for place, source in enumerate(SOURCES)
    }
    return {
        **overall,
        "by_class": {
            source: {name: [one(value) for value in classes[source]] for name, classes in by_class.items()}
            for source in SOURCES
        },
        "p_values": {"memorisation": 0.00123, "class_imbalance": 0.5},
        "samples": 1500,
        "resamples": 200,
        "nearest_k": 5,
        "seeds": {"latents": 1},
        "conditional": conditional,
        "class_names": NAMES,
        "classifier_accuracy": 0.873,
        "classifier_hash": "c" * 64,
        "data_hash": "d" * 64,
        "generator_hash": "e" * 64,
        "warnings": ["the pixels of <i>some</i> images were scaled"],
    }


def facts(*, conditional: bool = True, **changes: Any) -> CardFacts:
    """Ten images a class: of the second, three are seen as cow and two as cat; of the third, three as cat."""
    seen = [0] * 9 + [2] + [1] * 5 + [2] * 3 + [0] * 2 + [2] * 7 + [0] * 3
    rows = [(NAMES[place // 10], NAMES[label]) for place, label in enumerate(seen)]
    sizes = {"train": (1200, 300, 60), "validation": (20, 30, 6), "test": (21, 31, 7)}
    known: dict[str, Any] = {
        "name": "gan-animals",
        "version": "7",
        "run_id": "run0",
        "params": Params(),
        "dataset": {
            "title": "Animals",
            "licence": "CC0",
            "source": "A book.",
            "class_names": NAMES,
            "image_shape": [3, 32, 32],
            "images": {split: sum(counts) for split, counts in sizes.items()},
            "images_per_class": {split: dict(zip(NAMES, counts, strict=True)) for split, counts in sizes.items()},
            "official_test_split": True,
            "split_seed": 4,
            "content_hash": "d" * 64,
        },
        "scorecard": Scorecard.model_validate(scorecard(conditional=conditional)),
        "confusion": pd.DataFrame(rows, columns=["asked", "seen"]),
        "stopped": "reached train.kimg",
        "tags": {"git.commit": "abc", "git.dirty": "false", "device": "cpu, 2 threads", "version.torch": "2.14.1"},
        "verdict": "**passed** the gate",
    }
    return CardFacts(**{**known, **changes})
