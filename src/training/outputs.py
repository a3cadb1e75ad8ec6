"""The outputs of a run: networks, numbers and sample images. They do not depend on the clock, the host or MLflow."""

from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save
from torch import Tensor

from ..core.files import replacing, write_json
from ..data.prepared import PreparedData
from ..networks.weights import save_network
from .history import History
from .loop import FitResult
from .recorder import Progress, Recorder

HISTORY, SAMPLES = "history.json", "samples.safetensors"
CLOCK = ("seconds", "images_per_second")
"""columns of the history that depend on the clock: recorded in MLflow, but not written to outputs"""
HEADLINE = ("score", "precision", "recall", "coverage", "step")


class SampleStore(Recorder):
    """Stores the sample images of each validation score in a folder that a resumed run continues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def samples(self, progress: Progress, images: Tensor) -> None:
        """Write the images to a file named after the step."""
        with replacing(self._file(progress.step)) as part:
            part.write_bytes(save({"images": images.contiguous()}))

    def collected(self, history: History) -> dict[str, Tensor]:
        """The images of the first step and of each score in the history, uint8 (N, C, H, W), by ``step_0000000``."""
        steps = sorted({0, *(int(row["step"]) for row in history.scores)})
        files = [self._file(step) for step in steps]
        return {file.stem: load_file(file)["images"] for file in files if file.is_file()}

    def _file(self, step: int) -> Path:
        return self.folder / f"step_{step:07d}.safetensors"


def without_clock(row: dict[str, float]) -> dict[str, float]:
    """A row of the history without the columns that depend on the clock."""
    return {name: value for name, value in row.items() if name not in CLOCK}


def save_result(result: FitResult, samples: SampleStore, data: PreparedData, folder: Path) -> list[Path]:
    """Write networks, history, validation scores and sample images. Returns the files."""
    save_network(result.generator, folder, "generator")
    save_network(result.discriminator, folder, "discriminator")
    write_json({"class_names": data.class_names, "data_hash": data.content_hash}, folder / "card.json")
    losses, scores = ([without_clock(row) for row in rows] for rows in (result.history.losses, result.history.scores))
    for name, rows in (("history.csv", losses), ("scores.csv", scores)):
        with replacing(folder / name) as part:
            pd.DataFrame(rows).to_csv(part, index=False)
    events = {"events": result.history.events, "stopped": result.stopped}
    write_json({"losses": losses, "scores": scores, **events}, folder / HISTORY)
    write_json({"validation": {name: result.best[name] for name in HEADLINE}}, folder / "metrics.json")
    with replacing(folder / SAMPLES) as part:
        part.write_bytes(save(samples.collected(result.history)))
    networks = [f"{name}.{kind}" for name in ("generator", "discriminator") for kind in ("json", "safetensors")]
    return [folder / name for name in (*networks, "card.json", "history.csv", "scores.csv", HISTORY, "metrics.json")]
