"""Stage train: train the GAN that params.yaml describes. An interrupted run resumes from its last checkpoint.

``python -m src.train [--no-resume]``; with several GPUs ``torchrun --nproc-per-node GPUS -m src.train``
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .core import paths
from .core.arguments import Parser
from .core.errors import run_command

if TYPE_CHECKING:
    from .config.params import Params
    from .data.prepared import PreparedData
    from .training.step.distributed import DistributedContext


def train(params: "Params", data: "PreparedData", distributed: "DistributedContext", *, resume: bool) -> None:
    """Train in an MLflow run and write the outputs."""
    from .tracking.live import live_run, open_folder
    from .tracking.sync import forget
    from .training.loop import fit
    from .training.outputs import SampleStore, save_result
    from .training.recorder import Recorders
    from .training.setup import training_data

    material = training_data(params, data)
    folder = open_folder(params, data, distributed, resume=resume)
    with live_run(params, data, folder) as live:
        samples = SampleStore(folder.samples)
        result = fit(params, material, Recorders([samples, *live.recorders]), folder.checkpoints)
        files = save_result(result, samples, data, paths.GAN)
        live.finish(result, files)
    folder.remove()
    forget(live.run.run_id)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train. With several processes, only the first one writes outputs."""
    parser = Parser(prog="python -m src.train", description="Train the GAN of params.yaml.")
    parser.add_argument("--no-resume", action="store_true", help="start over even if there is a checkpoint")
    options = parser.parse_args(arguments)

    from .config.params import load_params
    from .core.device import resolve
    from .data import prepared
    from .training.checkpoint import Checkpoints
    from .training.health import TrainingDiverged
    from .training.loop import fit
    from .training.recorder import Recorder
    from .training.setup import training_data
    from .training.step.distributed import DistributedContext

    params = load_params()
    device = resolve(params.train).device
    data, distributed = prepared.load(paths.PREPARED, params.data), DistributedContext.join(device)
    try:
        if distributed.is_first:
            train(params, data, distributed, resume=not options.no_resume)
        else:
            fit(params, training_data(params, data), Recorder(), Checkpoints(Path()))
    except TrainingDiverged as error:
        hint = "try lower learning rates, a larger train.r1_weight, or train.precision float32"
        print(f"error: {error}; {hint}", file=sys.stderr)
        raise SystemExit(3) from None
    finally:
        distributed.leave()


if __name__ == "__main__":
    run_command(main)
