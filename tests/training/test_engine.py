import io

import pytest
import torch

from src.training.engine import Engine
from src.training.step.adversarial import COUNTERS
from tests.training.digits import digits, tiny


def engine(**changes: object) -> Engine:
    split = digits().train
    return Engine(tiny(**changes), split.images, split.labels, 10)


def test_an_interval_has_means_and_begins_anew() -> None:
    one = engine()
    singles = []
    for _ in range(4):
        one.advance()
        singles.append(one.end_interval())
    assert [single.steps for single in singles] == [1] * 4
    again = engine()
    for _ in range(4):
        again.advance()
    whole = again.end_interval()
    assert (whole.steps, whole.finite_steps, again.done) == (4, 4, 4)
    for name in COUNTERS:
        assert whole.means[name] == pytest.approx(sum(single.means[name] for single in singles) / 4, rel=1e-5)


def test_finite_steps_end_where_a_weight_is_lost() -> None:
    one = engine()
    for step in range(5):
        one.advance()
        if step == 2:
            with torch.no_grad():
                next(one.trained["generator"].parameters()).fill_(torch.nan)
    assert (one.end_interval().finite_steps, one.interval_steps) == (3, 0)


@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_the_state_leads_to_the_same_bits(family: str) -> None:
    changes = {"model__family": family, "model__width": 4, "model__dropout": 0.4, "train__mirror": 0.5}
    first = engine(**changes)
    for _ in range(5):
        first.advance()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    for _ in range(5):
        first.advance()
    second = engine(**changes, train__seed=9)
    second.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(5):
        second.advance()
    intervals = [one.end_interval() for one in (first, second)]
    assert intervals[0] == intervals[1]
    for name, network in first.step.named_networks().items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, second.step.named_networks()[name].state_dict()[key]), (name, key)


def test_mirroring_shows_images_and_their_mirror_images(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine(train__mirror=0.5, train__batch_size=400)
    seen: list[torch.Tensor] = []

    def update(real: torch.Tensor, *rest: object, **named: object) -> torch.Tensor:
        seen.append(real)
        return torch.zeros(len(COUNTERS))

    monkeypatch.setattr(one.step, "update", update)
    plain = engine(train__batch_size=400)
    images, _ = plain.batches.next_batch(400)
    one.advance()
    expected = images / 127.5 - 1
    same = (seen[0] - expected).abs().amax(dim=(1, 2, 3)) < 1e-6
    mirrored = (seen[0] - expected.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert (same | mirrored).all()
    assert 150 < int((mirrored & ~same).sum()) < 250
