"""What can go wrong in a training of two networks, seen on the logging interval."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

SATURATED = 0.99
"""A discriminator that is right this often on real and on fake images leaves the generator almost no gradient."""
SATURATED_INTERVALS = 3
COLLAPSED = 0.1
"""A class whose images lie this close together, as a share of the real images' mean distance, is one image repeated."""


class TrainingDiverged(Exception):
    """A loss, a gradient or a weight is no longer a finite number."""


@dataclass
class Health:
    """Turns the numbers of an interval into alarms. An alarm comes once, when it begins."""

    critic: bool = False
    """a Wasserstein critic is to be right always, and gives a gradient all the same"""
    saturated_for: int = 0
    """intervals in a row"""
    collapsed: list[int] = field(default_factory=list)
    """classes without diversity at the last look"""

    def alarms(self, values: Mapping[str, float], diversity: Tensor | None) -> dict[str, str]:
        """New alarms, sentences by kind. ``diversity`` has a share per class (K,): distance of fakes over that of reals."""
        found = {}
        right = min(values["real_accuracy"], values["fake_accuracy"])
        self.saturated_for = self.saturated_for + 1 if right > SATURATED and not self.critic else 0
        if self.saturated_for == SATURATED_INTERVALS:
            found["saturated"] = (
                f"the discriminator is right on {right:.1%} of real and fake images: the generator learns little; "
                "try a lower train.lr_discriminator, a larger train.r1_weight or model.dropout"
            )
        if diversity is not None:
            before, self.collapsed = self.collapsed, torch.nonzero(diversity < COLLAPSED).flatten().tolist()
            if new := sorted(set(self.collapsed) - set(before)):
                found["collapsed"] = (
                    f"the images of class {', '.join(map(str, new))} are all alike (their distance is below "
                    f"{COLLAPSED:.0%} of the real images'); try lower learning rates or a larger train.r1_weight"
                )
        return found


def not_finite(networks: Mapping[str, nn.Module], optimizers: Iterable[Optimizer]) -> list[str]:
    """Names of the tensors that hold a NaN or infinity: weights, their gradients and the optimisers' averages.

    A gradient that was not finite is still seen steps later: the weight or the optimiser's average keeps it.
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
    # One number a tensor, and one wait for the device: x * 0 is 0 for finite x and NaN otherwise.
    sums = torch.stack([(tensor * 0).sum().to(torch.float32).to(tensors[0].device) for tensor in tensors])
    return [name for name, value in zip(names, sums.tolist(), strict=True) if value != 0]
