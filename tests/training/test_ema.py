import pytest
import torch

from src.training.ema import AveragedGenerator
from tests.networks.tiny import FAMILIES, batch, pair


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.998])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_average_is_that_of_a_plain_loop(family: str, decay: float) -> None:
    source, _ = pair(family)
    average = AveragedGenerator(source, decay)
    floats = [name for name, value in source.state_dict().items() if value.is_floating_point()]
    expected = {name: source.state_dict()[name].double() for name in floats}
    for step in range(30):
        with torch.no_grad():
            for value in source.state_dict().values():
                value.add_(torch.randn(value.shape) if value.is_floating_point() else 1)
        average.prepare(step)
        average.update()
        keep = min(decay, (1 + step) / (10 + step))
        for name in floats:
            expected[name] = keep * expected[name] + (1 - keep) * source.state_dict()[name].double()
    found = average.network.state_dict()
    for name in floats:
        assert torch.allclose(found[name].double(), expected[name], rtol=0, atol=1e-5), name
    if decay == 0:
        assert all(torch.equal(found[name], source.state_dict()[name]) for name in floats)


def test_statistics_of_batch_normalisation_are_averaged_and_its_counter_is_not() -> None:
    source, _ = pair("dcgan")
    average = AveragedGenerator(source, 0.5)
    _, labels, latents = batch()
    source(latents, labels)
    average.prepare(1000)
    average.update()
    before, after = source.state_dict(), average.network.state_dict()
    assert torch.allclose(after["layers.0.running_mean"], before["layers.0.running_mean"] / 2, atol=1e-7)
    assert torch.allclose(after["layers.0.running_var"], (1 + before["layers.0.running_var"]) / 2, atol=1e-6)
    assert (int(before["layers.0.num_batches_tracked"]), int(after["layers.0.num_batches_tracked"])) == (1, 0)


def test_the_average_never_trains_and_never_touches_its_source() -> None:
    source, _ = pair("mlp")
    average = AveragedGenerator(source, 0.9)
    assert source.training
    assert not average.network.training
    assert all(one.requires_grad for one in source.parameters())
    assert not any(one.requires_grad for one in average.network.parameters())
    assert average.network.description == source.description
    before = [one.detach().clone() for one in source.parameters()]
    with torch.no_grad():
        for one in average.network.parameters():
            one.zero_()
    average.prepare(0)
    average.update()
    assert all(torch.equal(one, old) for one, old in zip(source.parameters(), before, strict=True))
    assert all(one.grad is None for one in average.network.parameters())
