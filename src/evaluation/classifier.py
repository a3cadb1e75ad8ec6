"""Training of the judge, the pipeline's auxiliary classifier, and of the classifiers of GAN-train."""

import copy
from collections.abc import Callable

import torch
from torch.nn import functional as F

from ..config.params import Classifier
from ..core import interrupts
from ..core.pixels import to_float
from ..core.progress import ProgressLine
from ..data.batches import open_batches
from ..data.prepared import Split
from ..networks import interface
from ..networks.classifier import build_classifier


def fit_classifier(
    params: Classifier,
    train: Split,
    class_count: int,
    device: torch.device,
    held_out: Split | None = None,
    name: str = "classifier",
) -> interface.Classifier:
    """Train with AdamW and a one-cycle learning rate; returns the network on the CPU, in evaluation mode.

    Without ``held_out`` it returns the last weights: no other images are used for selection. With it, the weights of the
    epoch with the highest accuracy on those images.
    """
    torch.manual_seed(params.seed)
    _, channels, image_size, _ = train.images.shape
    shape = {"class_count": class_count, "channels": channels, "image_size": image_size}
    network = build_classifier(**params.model_dump(), **shape)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = open_batches(train.images, train.labels, device, params.seed)
    steps = max(2, params.epochs * len(batches) // params.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=params.lr, weight_decay=params.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.lr, total_steps=steps)
    best, most_right = None, -1
    network.train()
    log_every = max(1, steps // (10 * params.epochs))
    with ProgressLine(name, steps, "steps") as line:
        for step in range(1, steps + 1):
            interrupts.check()
            images, labels = batches.next_batch(params.batch_size)
            _, logits = network(to_float(images).contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % log_every == 0:
                line.update(step, f"loss {loss.item():.3f}")
            if held_out is not None and (step % max(1, steps // params.epochs) == 0 or step == steps):
                right = _count_right(network, held_out, device)
                if right >= most_right:  # of ties the later one, with the lower learning rate
                    best, most_right = copy.deepcopy(network.state_dict()), right
    if best is not None:
        network.load_state_dict(best)
    return network.eval().cpu()


@torch.no_grad()
def _count_right(network: interface.Classifier, held_out: Split, device: torch.device) -> int:
    """The number of correct predictions, taken in evaluation mode; the network is in training mode before and after."""
    network.eval()
    right = 0
    for images, labels in zip(held_out.images.split(500), held_out.labels.split(500), strict=True):
        _, logits = network(to_float(images.to(device)).contiguous(memory_format=torch.channels_last))
        right += int((logits.argmax(dim=1).cpu() == labels).sum())
    network.train()
    return right


def fit_by(
    params: Classifier, class_count: int, device: torch.device, name: str = "GAN-train"
) -> Callable[[Split, Split], interface.Classifier]:
    """``fit(train, held_out)`` for GAN-train; the classifier that it returns is on the device."""

    def fit(train: Split, held_out: Split) -> interface.Classifier:
        return fit_classifier(params, train, class_count, device, held_out, name).to(device)

    return fit
