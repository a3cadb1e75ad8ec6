import torch

from src.training.recorder import Progress, Recorder, Recorders

NOW = Progress(3, 10, 96, 1.5)


class Noting(Recorder):
    def __init__(self, name: str, notes: list[str], reason: str | None = None) -> None:
        self.name, self.notes, self.reason = name, notes, reason

    def losses(self, progress: Progress, values: object) -> None:
        self.notes.append(f"{self.name} losses {progress.step} {values}")

    def scores(self, progress: Progress, values: object) -> None:
        self.notes.append(f"{self.name} scores {progress.step} {values}")

    def samples(self, progress: Progress, images: torch.Tensor) -> None:
        self.notes.append(f"{self.name} samples {progress.step} {len(images)}")

    def event(self, progress: Progress, kind: str, message: str) -> None:
        self.notes.append(f"{self.name} event {progress.step} {kind} {message}")

    def resumed(self, progress: Progress) -> None:
        self.notes.append(f"{self.name} resumed {progress.step}")

    def stop_reason(self) -> str | None:
        return self.reason


def test_several_recorders_hear_everything_in_order() -> None:
    notes: list[str] = []
    together: Recorder = Recorders([Noting("a", notes), Noting("b", notes)])
    together.losses(NOW, {"x": 1.0})
    together.scores(NOW, {"score": 2.0})
    together.samples(NOW, torch.zeros(4, 1, 8, 8))
    together.event(NOW, "collapsed", "all alike")
    together.resumed(NOW)
    assert notes == [
        "a losses 3 {'x': 1.0}",
        "b losses 3 {'x': 1.0}",
        "a scores 3 {'score': 2.0}",
        "b scores 3 {'score': 2.0}",
        "a samples 3 4",
        "b samples 3 4",
        "a event 3 collapsed all alike",
        "b event 3 collapsed all alike",
        "a resumed 3",
        "b resumed 3",
    ]


def test_the_first_reason_to_stop_counts() -> None:
    assert Recorders([Recorder(), Recorder()]).stop_reason() is None
    assert Recorders([]).stop_reason() is None
    reasons = [Noting("a", []), Noting("b", [], "second"), Noting("c", [], "third")]
    assert Recorders(reasons).stop_reason() == "second"
