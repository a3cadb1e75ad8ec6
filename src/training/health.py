"""Failure modes of adversarial training, checked at each logging interval."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

SATURATED = 0.99
"""A discriminator this accurate on both real and fake images leaves the generator almost no gradient."""
SATURATED_INTERVALS = 3
COLLAPSED = 0.1
"""A class whose mean distance between images is below this share of that of real images has collapsed."""


class TrainingDiverged(Exception):
    """Divergence: a loss, gradient or weight is NaN or Inf."""


@dataclass
class Health:
    """Raises alarms from the statistics of an interval, each one once when its condition starts to hold."""

    critic: bool = False
    """whether it is a Wasserstein critic, which gives a gradient even if it is always right"""
    saturated_for: int = 0
    """consecutive intervals"""
    collapsed: list[int] = field(default_factory=list)
    """classes without diversity at the previous interval"""

    def alarms(self, values: Mapping[str, float], diversity: Tensor | None) -> dict[str, str]:
        """New alarms: messages by kind. ``diversity`` (K,) is the mean distance of fakes over that of reals, by class."""
        found = {}
        right = min(values["real_accuracy"], values["fake_accuracy"])
        self.saturated_for = self.saturated_for + 1 if right > SATURATED and not self.critic else 0
        if self.saturated_for == SATURATED_INTERVALS:
            found["saturated"] = (
                f"the discriminator is right on {right:.1%} of real and fake images, so the generator learns little; "
                "try a lower train.lr_discriminator, a larger train.r1_weight or model.dropout"
            )
        if diversity is not None:
            before, self.collapsed = self.collapsed, torch.nonzero(diversity < COLLAPSED).flatten().tolist()
            if new := sorted(set(self.collapsed) - set(before)):
                found["collapsed"] = (
                    f"the images of class {', '.join(map(str, new))} are nearly identical (their distance is below "
                    f"{COLLAPSED:.0%} of the real images'); try lower learning rates or a larger train.r1_weight"
                )
        return found


def not_finite(networks: Mapping[str, nn.Module], optimizers: Iterable[Optimizer]) -> list[str]:
    """Names of the tensors with NaN or Inf: weights, gradients and optimiser states.

    A gradient that was not finite is still detected steps later, in the weight or the optimiser state.
    """
    states = {id(parameter): state for optimizer in optimizers for parameter, state in optimizer.state.items()}
    names, tensors = [], []
    for network_name, network in networks.items():
        for name, parameter in network.named_parameters():
            found = {"": parameter, " (gradient)": parameter.grad}
            found |= {f" ({key})": value for key, value in states.get(id(parameter), {}).items()}
            for suffix, tensor in found.items():
                if isinstance(tensor, Tensor) and tensor.is_floating_point():
                    names.append(f"{network_name}.{name}{suffix}")
                    tensors.append(tensor.detach())
    # One number per tensor and a single synchronisation: x * 0 is 0 for finite x and NaN otherwise.
    sums = torch.stack([(tensor * 0).sum().to(torch.float32).to(tensors[0].device) for tensor in tensors])
    return [name for name, value in zip(names, sums.tolist(), strict=True) if value != 0]
