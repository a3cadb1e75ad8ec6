"""Training of the auxiliary classifier."""

import torch
from torch.nn import functional as F

from src import interrupts
from src.datasets.batches import open_batches
from src.datasets.store import PreparedData
from src.networks import interface
from src.networks.description import build_classifier
from src.params import Classifier
from src.pixels import to_float
from src.training.progress import ProgressLine


def fit_classifier(params: Classifier, data: PreparedData, device: torch.device) -> interface.Classifier:
    """Train on the train split with AdamW and a one-cycle learning rate; returns the network on the CPU, evaluation mode.

    The last weights are the result: nothing is chosen on another split.
    """
    torch.manual_seed(params.seed)
    shape = {"class_count": len(data.class_names), "channels": data.channels, "image_size": data.image_size}
    network = build_classifier(**params.model_dump(), **shape)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = open_batches(data.train.images, data.train.labels, device, params.seed)
    steps = max(2, params.epochs * len(batches) // params.batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=params.lr, weight_decay=params.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.lr, total_steps=steps)
    network.train()
    log_every = max(1, steps // (10 * params.epochs))
    with ProgressLine("classifier", steps, "steps") as line:
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
    return network.eval().cpu()
