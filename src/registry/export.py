"""Registers a generator in formats that can be used without this project.

PyTorch's exported program and ONNX include everything from label and seed to image. The first is served by
``served_generator.py``, which is stored with it. Neither is a pickle.
"""

import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import onnxruntime
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec
from torch import Tensor

from ..core.errors import UserError
from ..core.files import replacing, write_json
from ..networks.interface import Generator
from ..networks.weights import content_hash, save_network
from ..sampling.draw import SeededGenerator
from ..tracking.runs import Run, run_exists
from . import facts, versions

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

SERVED = Path(__file__).parents[1] / "serving" / "served_generator.py"
INPUTS = ("label_and_seed", "truncation")


def add_version(
    run: Run, generator: Generator, model_name: str, class_names: tuple[str, ...], tags: dict[str, str]
) -> tuple["ModelVersion", bool]:
    """Log the generator in the run and register it as candidate; returns the version, and whether it was added.

    A generator is not registered twice: its existing version becomes candidate again. It is stored as JSON and safetensors
    with a card, which this project loads, and in formats for use without this project.
    """
    digest = content_hash(generator)
    version = versions.find_generator(run.client, model_name, digest)
    if version is not None:
        run.client.set_registered_model_alias(model_name, versions.CANDIDATE, version.version)
        if not run_exists(run.client, facts.run_of(version) or ""):
            facts.record(run.client, version, {facts.RUN_TAG: run.run_id})
        return version, False
    with TemporaryDirectory() as folder:
        save_network(generator, Path(folder), versions.GENERATOR)
        card = {"class_names": class_names, "generator_hash": digest, "dataset": tags["dataset"]}
        write_json(card, Path(folder) / versions.CARD)
        model_uri = log_exported(run, generator, sorted(str(path) for path in Path(folder).iterdir()))
    with TemporaryDirectory() as folder:
        files = versions.files_hash(Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=folder)))
    return _register(run, model_name, model_uri, {**tags, "generator.hash": digest, versions.FILES_TAG: files}), True


def _register(run: Run, model_name: str, model_uri: str, tags: dict[str, str]) -> "ModelVersion":
    try:
        run.client.create_registered_model(model_name, {"dataset": tags["dataset"]})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    searched = {name: value for name, value in tags.items() if name in facts.SEARCHED}
    version = run.client.create_model_version(
        model_name, model_uri, run.run_id, searched, model_id=model_uri.removeprefix("models:/")
    )
    facts.record(run.client, version, tags)
    facts.link(run.client, version)
    run.client.set_registered_model_alias(model_name, versions.CANDIDATE, version.version)
    return version


class GeneratorFlavor:
    """Writes the model's folder for Model.log: the exported program and the code that serves it."""

    @staticmethod
    def save_model(path: str, mlflow_model: Model, program: SeededGenerator, extra_files: list[str]) -> None:
        """Fill the folder ``path``.

        The signature has parameters and no input schema: MLflow's schema enforcement would silently drop unknown columns
        and the fraction of a seed, and refuse arrays. The served code validates its input.
        """
        rows, truncation = example(program.generator.class_count)
        types = (TensorSpec(np.dtype("int64"), (-1, 2), INPUTS[0]), TensorSpec(np.dtype("float32"), (-1,), INPUTS[1]))
        mlflow.pytorch.save_model(
            program,
            path,
            mlflow_model=mlflow_model,
            code_paths=[str(SERVED)],
            signature=ModelSignature(inputs=Schema(list(types))),
            input_example=(rows, truncation),
            serialization_format="pt2",
            extra_files=extra_files,
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in ("mlflow", "torch", "numpy")],
        )
        mlflow.pyfunc.add_to_model(
            mlflow_model,
            loader_module=SERVED.stem,
            code="code",
            conda_env="conda.yaml",
            python_env="python_env.yaml",
        )
        options = [ParamSpec("truncation", "double", 1.0), ParamSpec("format", "string", "array")]
        mlflow_model.signature = ModelSignature(params=ParamSchema(options))
        mlflow_model.save(str(Path(path) / "MLmodel"))


def log_exported(run: Run, generator: Generator, extra_files: Sequence[str]) -> str:
    """Log the generator into the run as MLflow model with ``extra_files`` beside it, and return its URI.

    ``card.json`` among them has the ``class_names`` by which labels are served. The folder also holds
    ``extra_files/generator.onnx``, and the model's metadata the SHA-256 of the code that serves it (``served_code.sha256``)
    and the largest difference between ONNX and PyTorch (``onnx.max_difference``). Raises UserError as :func:`write_onnx`
    does.
    """
    program = SeededGenerator(generator.cpu()).eval()
    chosen = int(run.client.get_run(run.run_id).data.metrics.get("best.step", 0))  # MLflow copies this step's metrics
    with TemporaryDirectory() as folder:
        onnx = Path(folder) / "generator.onnx"
        difference = write_onnx(program, onnx)
        with mlflow.start_run(run_id=run.run_id):
            info = Model.log(
                artifact_path=None,
                name="generator",
                step=chosen,
                flavor=GeneratorFlavor,
                flavor_name="pytorch",
                metadata={"served_code.sha256": code_hash(), "onnx.max_difference": difference},
                program=program,
                extra_files=[*extra_files, str(onnx)],
            )
    return str(info.model_uri)


def code_hash() -> str:
    """SHA-256 of the code that is stored with each model, in hexadecimal."""
    return hashlib.sha256(SERVED.read_bytes()).hexdigest()


def example(class_count: int, count: int = 3) -> tuple[Tensor, Tensor]:
    """All classes in turn with seeds of all magnitudes, int64 (N, 2), and truncation, float32 (N,) from 1 down to 0.5.

    More than one row: a batch of one would be exported as a fixed size.
    """
    places = torch.arange(count)
    rows = torch.stack([places % class_count, places * ((2**63 - 1) // count)], dim=1)
    return rows, torch.linspace(1, 0.5, count)


def write_onnx(program: SeededGenerator, path: Path, count: int = 100) -> float:
    """Write the program as one ONNX file with a batch of any size, and return its largest difference to PyTorch.

    Inputs ``label_and_seed``, int64 (N, 2), and ``truncation``, float32 (N,); output ``images``, float32 (N, C, H, W) in
    [-1, 1]. The difference is measured with onnxruntime over ``count`` images of all classes, in one batch and one by
    one. Raises UserError, and writes nothing, if it exceeds the generator's ``rounding`` or is NaN.
    """
    rows, truncation = example(program.generator.class_count, count)
    allowed = program.generator.rounding
    with replacing(path) as part:
        _export_onnx(program, part)
        difference = _onnx_difference(program, part, rows, truncation)
        if not difference <= allowed:
            raise UserError(
                f"the ONNX form of this generator differs from PyTorch by {difference:.2g} in a pixel, where at most "
                f"{allowed:g} is allowed; nothing was registered"
            )
    return difference


def _export_onnx(program: SeededGenerator, path: Path) -> None:
    torch.onnx.export(
        program,
        example(program.generator.class_count),
        path,
        dynamo=True,
        external_data=False,
        input_names=INPUTS,
        output_names=["images"],
        dynamic_shapes=({0: "batch"}, {0: torch.export.Dim.AUTO}),
        verbose=False,
    )


@torch.inference_mode()
def _onnx_difference(program: SeededGenerator, path: Path, rows: Tensor, truncation: Tensor) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for size in (len(rows), 1):
        for inputs in zip(rows.split(size), truncation.split(size), strict=True):
            feed = {name: some.numpy() for name, some in zip(INPUTS, inputs, strict=True)}
            made = torch.from_numpy(session.run(None, feed)[0])
            largest = max(largest, float((made - program(*inputs)).abs().max()))
    return largest
