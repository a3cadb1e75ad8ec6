import torch
from torch import nn

from src.training.history import History
from src.training.recorder import Progress


def test_rows_have_their_place_and_the_best_networks_are_copies() -> None:
    history, network = History(), nn.Linear(2, 1)
    history.add_losses(Progress(3, 10, 96, 1.5), {"x": 1.0})
    assert history.losses == [{"step": 3, "kimg": 0.096, "seconds": 1.5, "x": 1.0}]
    for step, score in ((1, 3.0), (2, 2.0), (3, 2.0), (4, 5.0)):
        with torch.no_grad():
            network.weight.fill_(step)
        history.add_scores(Progress(step, 10, 0, 0.0), {"score": score}, {"generator": network})
    assert history.best == {"score": 2.0, "step": 2}
    assert history.checks_since == 2
    assert history.best_networks["generator"]["weight"].tolist() == [[2.0, 2.0]]
    assert [row["score"] for row in history.scores] == [3, 2, 2, 5]


def test_a_restored_history_grows_apart_from_the_saved_one() -> None:
    history = History()
    history.add_event(5, "collapsed", "all alike")
    history.training_seconds = 2.5
    state, again = history.state_dict(), History()
    again.load_state_dict(state)
    again.add_event(7, "saturated", "too good")
    assert history.events == [{"step": 5, "kind": "collapsed", "message": "all alike"}]
    assert [event["step"] for event in again.events] == [5, 7]
    assert again.training_seconds == 2.5
