"""The files of each stage, relative to the project folder, as in dvc.yaml."""

from pathlib import Path

PARAMS = Path("params.yaml")
PARAMETERS = Path("docs/parameters.md")
"""generated from the fields of the parameters"""
RECIPES = Path("recipes")
RAW = Path("data/raw")
PREPARED = Path("data/prepared")
CLASSIFIER = Path("models/classifier")
GAN = Path("models/gan")
CHECKPOINTS = Path("models/checkpoints")
"""state of unfinished runs; not an output of DVC, which would delete it before each run"""
RUN_FILE = "run.json"
"""in a folder of checkpoints: the MLflow run they belong to"""
FEATURES = Path("models/features")
"""cached features of real images; not an output of DVC because several stages share it"""
EVALUATION = Path("models/evaluation")
EXHIBITS = "images.safetensors"
"""in the folder of the evaluation: the images of its figures"""
LOCK = Path("dvc.lock")
MADE_BY = {RAW: "download", PREPARED: "prepare", CLASSIFIER: "train_classifier", GAN: "train", EVALUATION: "evaluate"}
"""the stage that creates the files of each folder"""
