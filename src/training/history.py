"""What a training has brought so far: its numbers, its alarms and its best networks."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from .recorder import Progress


@dataclass
class History:
    """Grows with the training and is part of its checkpoints."""

    losses: list[dict[str, float]] = field(default_factory=list)
    """a row a logging interval: step, kimg, seconds, losses, accuracies, learning rates, images/s, diversity"""
    scores: list[dict[str, float]] = field(default_factory=list)
    """a row a validation score: step, kimg, seconds, and what the judge returns"""
    events: list[dict[str, Any]] = field(default_factory=list)
    """a row an alarm: step, kind, message"""
    best: dict[str, float] = field(default_factory=lambda: {"score": math.inf})
    """the best validation scores, and the step they were taken at"""
    best_networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """the state of generator (the averaged one) and discriminator there"""
    checks_since: int = 0
    """scores since the best one"""
    training_seconds: float = 0.0
    """without scoring and pictures"""

    def add_losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """A logging interval's means."""
        self.losses.append({**_place(progress), **values})

    def add_scores(self, progress: Progress, values: Mapping[str, float], networks: Mapping[str, nn.Module]) -> None:
        """A validation score; the networks are kept if it is the best."""
        self.scores.append({**_place(progress), **values})
        if values["score"] >= self.best["score"]:
            self.checks_since += 1
            return
        self.checks_since = 0
        self.best = {**values, "step": progress.step}
        self.best_networks = {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}

    def add_event(self, step: int, kind: str, message: str) -> None:
        """An alarm, or that the training went back to ``step``."""
        self.events.append({"step": step, "kind": kind, "message": message})

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        for name, value in state.items():
            setattr(self, name, copy.copy(value))


def _place(progress: Progress) -> dict[str, float]:
    return {"step": progress.step, "kimg": progress.images / 1000, "seconds": progress.seconds}
