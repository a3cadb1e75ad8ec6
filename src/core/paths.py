"""Where each stage leaves its files, relative to the project folder. dvc.yaml names the same places."""

from pathlib import Path

PARAMS = Path("params.yaml")
PARAMETERS = Path("docs/parameters.md")
"""the table of all parameters, written from their fields"""
RECIPES = Path("recipes")
RAW = Path("data/raw")
PREPARED = Path("data/prepared")
CLASSIFIER = Path("models/classifier")
GAN = Path("models/gan")
CHECKPOINTS = Path("models/checkpoints")
"""What unfinished trainings need to go on; no output of DVC, which would delete it before each run."""
FEATURES = Path("models/features")
"""What the classifier sees in the real images, kept to be looked up; no output of DVC, since all stages share it."""
EVALUATION = Path("models/evaluation")
EXHIBITS = "images.safetensors"
"""in the folder of the evaluation: the images that its pictures show"""
LOCK = Path("dvc.lock")
