"""FID, KID and Inception Score: the usual scores, in the feature space of the Inception network that papers use."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core import interrupts
from ...core.errors import UserError
from ...core.lazy import lazy
from ..metric import INCEPTION, Context, Metric, Number, need
from .kernel import kernel_classifier_distance
from .quick.classifier_score import classifier_score
from .quick.frechet import frechet_rows

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ..scored import Scored
else:
    torch = lazy("torch")
    F = lazy("torch.nn.functional")

WEIGHTS_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""What torch-fidelity publishes, 96 MB; pytorch-fid has it as ``pt_inception-2015-12-05-6726825d.pth``."""
LEFT_OUT = (
    "FID, KID and Inception Score: left out, since evaluate.inception_weights is null "
    f"(a path to torch-fidelity's {WEIGHTS_FILE} turns them on)"
)
FEATURES, LOGITS = "2048", "logits_unbiased"
"""torch-fidelity's names of the layers: FID and KID look at the first, the Inception Score at the second."""
CPU_BATCH, GPU_BATCH = 8, 64
FRECHET_RESAMPLES = 20
"""Resamples of the FID at most: with 2,048 features each takes seconds."""


class Inception:
    """The Inception network of 2015 in torch-fidelity's port: 2,048 features and 1,008 logits of an image."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        """Raises UserError where the file is missing, could run code, or is not of this network; or without the package."""
        self.device, self.batch = device, GPU_BATCH if device.type == "cuda" else CPU_BATCH
        self.network = _load(weights).to(device, memory_format=torch.channels_last)

    def scored(self, images: Tensor, labels: Tensor) -> Scored:
        """Run uint8 images (N, C, H, W) of any size, grey or in colour, through the network; the result is on the CPU.

        The network itself resizes to 299 x 299, as TensorFlow 1 did. About 5 images a second on a CPU core, whatever their
        size. All batches have one size, the last one padded.
        """
        from ..scored import Scored

        what = f"inception, batches of {self.batch}"
        features, logits = in_batches(self.network, images, self.batch, self.device, what)
        return Scored(features, logits, labels.cpu())


def in_batches(
    run: Callable[[Tensor], Sequence[Tensor]], images: Tensor, batch: int, device: torch.device, what: str
) -> list[Tensor]:
    """The results of ``run`` for uint8 images (N, C, H, W), grey or in colour: float32 (N, ...) on the CPU.

    It gets uint8 (batch, 3, H, W) on the device. All batches have one size, the last one padded.
    """
    from ...core.progress import counted

    found: list[list[Tensor]] = []
    batches = images.split(batch)
    for some in counted(batches, len(batches), what):
        interrupts.check()
        coloured = some.to(device).expand(-1, 3, -1, -1)
        filled = F.pad(coloured, (0, 0, 0, 0, 0, 0, 0, batch - len(some)))
        with torch.inference_mode():
            found.append([result[: len(some)].float().cpu() for result in run(filled)])
    return [torch.cat(results) for results in zip(*found, strict=True)]


def inception_scores(generated: Scored, real: Scored) -> dict[str, Tensor]:
    """Rows of FID, KID and Inception Score from what :class:`Inception` saw in two sets of images, in float64.

    ``frechet_inception_distance``: as :func:`~src.evaluation.metrics.quick.frechet.frechet_distances` without labels,
    from 0 up, lower is better (Heusel et al. 2017). It shrinks with more samples: papers take 50,000. Each resample takes
    some 10 s for 10,000 images on a CPU core, so that there are rows of the first 20 only. ``kernel_inception_distance``:
    about 0 and up, lower is better (Binkowski et al. 2018), over all images and not in subsets. ``inception_score``: from 1 to
    1008, higher is better (Salimans et al. 2016), over all images and not in ten parts; it does not look at the real ones.

    Raises UserError below 2 images.
    """
    need(min(len(generated), len(real)), 2, "FID, KID and Inception Score")
    return {
        "frechet_inception_distance": first_frechet_rows(generated, real, "FID and its resamples"),
        "kernel_inception_distance": kernel_classifier_distance(generated, real)["kernel_classifier_distance"],
        "inception_score": classifier_score(generated, real)["classifier_score"],
    }


def first_frechet_rows(generated: Scored, real: Scored, what: str) -> Tensor:
    """The Frechet distance in features of many dimensions, with the first 20 resamples at most."""
    from ...core.progress import counted

    kept = [one.weights[: 1 + FRECHET_RESAMPLES] for one in (generated, real)]
    distances = []
    for row in counted(frechet_rows(generated.features, real.features, *kept), len(kept[0]), what):
        interrupts.check()
        distances.append(row)
    return torch.stack(distances)


def _load(path: Path) -> Any:
    """The network with the file's weights."""
    copy = io.BytesIO()
    torch.save(_tensors(path), copy)
    copy.seek(0)
    with warnings.catch_warnings():
        # torchvision and others warn on import.
        warnings.simplefilter("ignore")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise UserError(
                f"evaluate.inception_weights: the package torch-fidelity cannot be imported ({error}); "
                "install it, or set evaluate.inception_weights to null"
            ) from None
    try:
        # torch-fidelity loads with weights_only=False, which runs code that a file may hold. So it gets no file, but a copy
        # of the tensors that were found in it.
        return FeatureExtractorInceptionV3("inception", [FEATURES, LOGITS], copy)
    except (RuntimeError, TypeError, AttributeError):
        raise _refused(path, "does not hold the weights of torch-fidelity's Inception network") from None


def _tensors(path: Path) -> Any:
    """What a file of tensors holds; no code in it is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror or error})") from None
    except Exception:  # PyTorch has errors of many kinds for code, for a web page and for half a file
        raise _refused(path, "is damaged, or holds more than tensors and could run code: it was not opened") from None


def _refused(path: Path, why: str) -> UserError:
    return UserError(
        f"evaluate.inception_weights: {path} {why}; it must be null or the path to {WEIGHTS_FILE}, "
        "which torch-fidelity publishes"
    )


def _compute(generated: Scored, real: Scored, context: Context) -> dict[str, Tensor]:
    assert context.settings.inception_weights is not None
    assert context.device is not None
    load = partial(Inception, Path(context.settings.inception_weights), context.device)
    network: Inception = context.keep("inception", load)

    def seen(one: Scored) -> Scored:
        assert one.images is not None
        assert one.resamples is not None
        return network.scored(one.images, one.labels).resampled(one.resamples.cpu())

    return inception_scores(seen(generated), real.keep("inception", partial(seen, real)))


METRIC = Metric(
    {
        "frechet_inception_distance": Number("FID", "lower", INCEPTION, highest=inf, fewer_resamples=True),
        "kernel_inception_distance": Number("KID", "lower", INCEPTION, lowest=-inf, highest=inf),
        "inception_score": Number("Inception Score", "higher", INCEPTION, lowest=1, highest=inf),
    },
    _compute,
    source="Heusel et al. 2017; Binkowski et al. 2018; Salimans et al. 2016; torch-fidelity's network",
    when=lambda context: context.settings.inception_weights is not None,
    left_out=LEFT_OUT,
)
