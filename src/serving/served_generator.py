"""Labels and seeds to images: how MLflow serves a registered generator. It is stored in the ``code`` folder of the model.

It depends on PyTorch and the dependencies of MLflow only. ``mlflow.pyfunc.load_model`` imports it and calls
:func:`_load_pyfunc`.
"""

import base64
import io
import json
import reprlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from PIL import Image
from torch import Tensor

MAX_ROWS = 1000
MAX_SEED = 2**63 - 1
COLUMNS = ("label", "seed")
FORMATS = ("array", "png")
BATCH = 100
"""As in the project's ``generate``, so that the pixels are the same."""
SMALL_BATCH = 8

Program = Callable[[Tensor, Tensor], Tensor]
"""int64 (N, 2) of label and seed, and float32 (N,) of truncation, to float32 (N, C, H, W) in [-1, 1]"""


class RequestError(MlflowException):
    """An invalid request, in one sentence. The server responds with status 400."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, error_code=INVALID_PARAMETER_VALUE)
        self.sentence = sentence

    def serialize_as_json(self) -> str:
        """The response body. The server has prepended the whole input to the message by then."""
        self.message = self.sentence
        return str(super().serialize_as_json())  # type: ignore[no-untyped-call]


class Renderer:
    """Runs the program, one batch at a time, with the rows of all waiting threads.

    Batches are padded to one size, so that an image is bit-identical regardless of batch. A small batch is used if it
    suffices and gives the same bits as the large one, which depends on the processor and is tried once.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._waiting: deque[tuple[Tensor, Tensor, Future[Tensor]]] = deque()
        self._turn = threading.Lock()
        probe, whole = torch.zeros(BATCH, 2, dtype=torch.int64), torch.ones(BATCH)
        probe[:, 1] = torch.arange(BATCH)
        large = self._run(probe, whole, BATCH)
        small = self._run(probe[:SMALL_BATCH], whole[:SMALL_BATCH], SMALL_BATCH)
        self._small = SMALL_BATCH if torch.equal(small, large[:SMALL_BATCH]) else BATCH

    def images(self, rows: Tensor, truncation: float) -> Tensor:
        """Float32 (N, C, H, W) in [-1, 1] from int64 (N, 2) of label and seed."""
        truncations = torch.full((len(rows),), truncation)
        pieces = []
        for piece in zip(rows.split(BATCH), truncations.split(BATCH), strict=True):
            future: Future[Tensor] = Future()
            pieces.append(future)
            self._waiting.append((*piece, future))
        for future in pieces:
            # The thread that holds the lock works for all waiting ones, and may have done this piece already.
            with self._turn:
                while not future.done():
                    self._next_batch()
        return torch.cat([future.result() for future in pieces])

    def _next_batch(self) -> None:
        """Run the longest-waiting pieces, as many as fit in a batch."""
        batch = [self._waiting.popleft()]
        while self._waiting and sum(len(rows) for rows, *_ in [*batch, self._waiting[0]]) <= BATCH:
            batch.append(self._waiting.popleft())
        rows, truncations, futures = zip(*batch, strict=True)
        count = sum(map(len, rows))
        try:
            made = self._run(torch.cat(rows), torch.cat(truncations), self._small if count <= self._small else BATCH)
        except Exception as error:
            for future in futures:
                future.set_exception(error)
            return
        for future, images in zip(futures, made.split([len(some) for some in rows]), strict=True):
            future.set_result(images)

    @torch.inference_mode()
    def _run(self, rows: Tensor, truncations: Tensor, size: int) -> Tensor:
        missing = size - len(rows)
        filled = torch.cat([rows, rows.new_zeros(missing, 2)]), torch.cat([truncations, truncations.new_ones(missing)])
        return self._program(*filled)[: len(rows)]


class ServedGenerator:
    """The model that ``mlflow.pyfunc.load_model`` returns.

    Class names are numbered from 0, as the labels of the program.
    """

    def __init__(self, program: Program, class_names: Sequence[str]) -> None:
        self._renderer = Renderer(program)
        self._known = ", ".join(f"{number} {name}" for number, name in enumerate(class_names))
        self._labels = {name.lower(): number for number, name in enumerate(class_names)}
        self._labels |= {str(number): number for number in range(len(class_names))}

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> np.ndarray | list[str]:
        """Images for rows of label and seed.

        ``data``: a DataFrame, a dict of lists or a list of dicts with the columns ``label`` (the name of a class, or its
        number) and ``seed`` (a whole number from 0 to 2**63 - 1), or an array or list (N, 2) of them; at most 1,000 rows.
        ``params``: ``truncation`` (above 0, up to 1) scales the latents: below 1, images are less diverse and more typical
        (the truncation trick of StyleGAN, Karras et al. 2019, whose mean latent is 0 here).
        ``format``: ``array`` for float32 (N, C, H, W) in [-1, 1], or ``png`` for N pictures as base64 text. Raises
        RequestError for anything else.
        """
        options = {"truncation": 1.0, "format": "array", **(params or {})}
        truncation, form = options["truncation"], options["format"]
        if isinstance(truncation, bool) or not isinstance(truncation, int | float) or not 0 < truncation <= 1:
            raise RequestError(f"truncation is {reprlib.repr(truncation)}; it must be above 0 and at most 1")
        if form not in FORMATS:
            raise RequestError(f"format is {reprlib.repr(form)}; it must be one of {', '.join(FORMATS)}")
        images = self._renderer.images(self._rows(data), truncation)
        return images.numpy() if form == "array" else [_png(pixels) for pixels in _to_uint8(images).numpy()]

    def _rows(self, data: Any) -> Tensor:
        """Int64 (N, 2) of label and seed."""
        labels, seeds = _columns(data)
        return torch.tensor(
            [
                (self._label(label, row), _seed(seed, row))
                for row, (label, seed) in enumerate(zip(labels, seeds, strict=True))
            ]
        )

    def _label(self, value: Any, row: int) -> int:
        found = self._labels.get(str(_plain(value)).strip().lower())
        if found is None:
            raise RequestError(
                f"row {row}: label {reprlib.repr(_plain(value))} is not a class of this model; it has {self._known}"
            )
        return found


def _columns(data: Any) -> tuple[list[Any], list[Any]]:
    """The labels and the seeds as given."""
    scalar = isinstance(data, np.ndarray) and not data.ndim
    if scalar or not isinstance(data, pd.DataFrame | Mapping | list | tuple | np.ndarray):
        raise RequestError(f"the input is {reprlib.repr(_plain(data))}; it must be rows of label and seed")
    try:
        if isinstance(data, Mapping):
            data = pd.DataFrame({name: np.atleast_1d(np.asarray(some, dtype=object)) for name, some in data.items()})
        elif not isinstance(data, pd.DataFrame):
            dicts = len(data) > 0 and all(isinstance(row, Mapping) for row in data)
            data = pd.DataFrame(data, dtype=object) if dicts else np.asarray(data, dtype=object)
    except (TypeError, ValueError) as error:
        raise RequestError(f"the input is not a table of label and seed: {reprlib.repr(str(error))}") from None
    count = len(data)
    if not 1 <= count <= MAX_ROWS:
        raise RequestError(f"the input has {count:,} rows; it must have 1 to {MAX_ROWS:,}")
    if isinstance(data, np.ndarray):
        if data.shape != (count, 2):
            raise RequestError(f"the input has the shape {data.shape}; it must be (N, 2), label and seed in each row")
        return data[:, 0].tolist(), data[:, 1].tolist()
    if sorted(map(str, data.columns)) != sorted(COLUMNS):
        names = reprlib.repr([str(name) for name in data.columns])
        raise RequestError(f"the input has the columns {names}; it must have label and seed, and no other")
    return data["label"].tolist(), data["seed"].tolist()


def _plain(value: Any) -> Any:
    """A NumPy scalar as a Python value, and an integral float as an integer."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _seed(value: Any, row: int) -> int:
    number = _plain(value)
    if isinstance(number, str) and len(number) < 20 and number.strip().isdecimal():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_SEED:
        raise RequestError(f"row {row}: seed {reprlib.repr(number)} is not a whole number from 0 to {MAX_SEED}")
    return number


def _to_uint8(images: Tensor) -> Tensor:
    """Float in [-1, 1] to uint8 0..255, rounded."""
    return images.add(1).mul_(255 / 2).round_().clamp_(0, 255).to(torch.uint8)


def _png(pixels: np.ndarray) -> str:
    """A PNG as base64 text, from uint8 (C, H, W): grey for one channel, RGB for three."""
    image, buffer = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)), io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _load_pyfunc(path: str) -> ServedGenerator:
    """MLflow's entry point, called with the model's folder. The program stays on the CPU: its constants cannot be moved."""
    card = json.loads((Path(path) / "extra_files" / "card.json").read_text(encoding="utf-8"))
    return ServedGenerator(mlflow.pytorch.load_model(path), card["class_names"])
