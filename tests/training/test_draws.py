import torch

from src.training.draws import Draws
from src.training.world import World


def test_the_shares_of_two_processes_are_the_draws_of_one() -> None:
    def made(world: World, count: int) -> list[torch.Tensor]:
        draws = Draws(torch.Generator().manual_seed(3), world)
        return [draws.normal(count, 5), draws.uniform(count, 1, 1, 1), draws.normal(count)]

    whole = made(World(), 6)
    parts = [made(World(rank, 2), 3) for rank in (0, 1)]
    for one, *shares in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat(shares), one)


def test_what_is_drawn_has_its_distribution() -> None:
    draws = Draws(torch.Generator().manual_seed(0), World())
    uniform, normal = draws.uniform(20_000), draws.normal(20_000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
