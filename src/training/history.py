"""The history of a run: losses, scores, events and the best networks."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import nn

from .recorder import Progress


@dataclass
class History:
    """Grows during a run and is part of its checkpoints."""

    losses: list[dict[str, float]] = field(default_factory=list)
    """one row per logging interval: step, kimg, seconds, losses, accuracies, learning rates, images/s, diversity"""
    scores: list[dict[str, float]] = field(default_factory=list)
    """one row per validation score: step, kimg, seconds, and what the judge returns"""
    events: list[dict[str, Any]] = field(default_factory=list)
    """one row per alarm or rollback: step, kind, message"""
    best: dict[str, float] = field(default_factory=lambda: {"score": math.inf})
    """the best validation scores and their step"""
    best_networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """state dicts of the averaged generator and the discriminator at that step"""
    checks_since: int = 0
    """number of scores since the best one"""
    training_seconds: float = 0.0
    """excluding scores and sample grids"""

    def add_losses(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Append the means of a logging interval."""
        self.losses.append({**_place(progress), **values})

    def add_scores(self, progress: Progress, values: Mapping[str, float], networks: Mapping[str, nn.Module]) -> None:
        """Append validation scores; the networks are kept if the score is the best."""
        self.scores.append({**_place(progress), **values})
        if values["score"] >= self.best["score"]:
            self.checks_since += 1
            return
        self.checks_since = 0
        self.best = {**values, "step": progress.step}
        self.best_networks = {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}

    def add_event(self, step: int, kind: str, message: str) -> None:
        """Append an alarm, or a rollback to ``step``."""
        self.events.append({"step": step, "kind": kind, "message": message})

    def state_dict(self) -> dict[str, Any]:
        """All fields."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore all fields."""
        for name, value in state.items():
            setattr(self, name, copy.copy(value))


def _place(progress: Progress) -> dict[str, float]:
    return {"step": progress.step, "kimg": progress.images / 1000, "seconds": progress.seconds}
