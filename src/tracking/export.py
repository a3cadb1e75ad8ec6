"""The forms in which a registered generator is stored, for programs that do not have this project."""

from importlib import metadata

import numpy as np
import torch

from src.networks.interface import Generator
from src.networks.sampling import SeededGenerator
from src.tracking.runs import Run


def log_exported(run: Run, generator: Generator, extra_files: list[str]) -> str:
    """Log the generator into the run as MLflow model with ``extra_files`` beside it, and return its URI."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    model = SeededGenerator(generator.cpu()).eval()
    example = np.array([[0, 0], [1, 1], [2, 2]], dtype=np.int64)  # more than one row, or the batch size becomes fixed
    with torch.inference_mode():
        output = model(torch.from_numpy(example))
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("int64"), (-1, 2))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, *output.shape[1:]))]),
    )
    requirements = [f"{package}=={metadata.version(package)}" for package in ("mlflow", "torch", "numpy")]
    with mlflow.start_run(run_id=run.run_id):
        info = mlflow.pytorch.log_model(
            model,
            name="generator",
            serialization_format="pt2",
            signature=signature,
            input_example=example,
            pip_requirements=requirements,
            extra_files=extra_files,
        )
    return str(info.model_uri)
