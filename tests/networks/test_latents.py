import math

import pytest
import torch
from scipy import stats

from src.networks.latents import _uniform, latents_from_seeds


def test_published_seeds_keep_their_latents() -> None:
    seeds = torch.tensor([0, 1, 1_000_000_007, 2**62, 2**63 - 1])
    expected = torch.tensor(
        [
            [-0.7013069391, -0.4673745930, 0.6018428206],
            [1.3568495512, 0.0584696867, 0.3965782821],
            [-2.6897850037, 1.9320467710, -0.4058893323],
            [-0.0247942489, -0.8854169846, -0.7653725743],
            [0.1897017956, 1.1627249718, 1.3158590102],
        ]
    )
    assert torch.allclose(latents_from_seeds(seeds, 3), expected, rtol=0, atol=1e-7)


def test_the_recipe_is_splitmix64_and_box_muller() -> None:
    """The same numbers from Python's unbounded integers, as the papers write it."""
    golden, word = 0x9E3779B97F4A7C15, 2**64 - 1

    def mix(bits: int) -> int:
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & word
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & word
        return bits ^ (bits >> 31)

    def latent(seed: int, pairs: int) -> list[float]:
        state = mix((seed + golden) & word)
        uniform = [((mix((state + k * golden) & word) >> 11) + 0.5) / 2**53 for k in range(1, 2 * pairs + 1)]
        polar = [(math.sqrt(-2 * math.log(uniform[k])), 2 * math.pi * uniform[pairs + k]) for k in range(pairs)]
        return [radius * math.cos(angle) for radius, angle in polar] + [r * math.sin(angle) for r, angle in polar]

    seeds = [0, 1, 12345, 2**32, 2**62, 2**63 - 1]
    expected = torch.tensor([latent(seed, 4) for seed in seeds])
    assert torch.allclose(latents_from_seeds(torch.tensor(seeds), 8), expected, rtol=0, atol=1e-6)
    assert torch.allclose(latents_from_seeds(torch.tensor(seeds), 7), expected[:, :7], rtol=0, atol=1e-6)


def test_a_row_depends_on_its_seed_alone() -> None:
    seeds = torch.tensor([3, 2**40, 3, 0, 17])
    together = latents_from_seeds(seeds, 9)
    assert (together.shape, together.dtype) == ((5, 9), torch.float32)
    for row, seed in zip(together, seeds, strict=True):
        assert torch.equal(latents_from_seeds(seed[None], 9)[0], row)
    assert torch.equal(together[0], together[2])
    assert torch.equal(latents_from_seeds(seeds.flip(0), 9), together.flip(0))


def test_the_uniform_numbers_have_finite_logarithms() -> None:
    ends = _uniform(torch.tensor([0, -1]))  # all bits off, all bits on
    assert 0 < float(ends[0]) < 1e-15
    assert 1 - 1e-15 < float(ends[1]) <= 1


@pytest.mark.parametrize("size", [1, 2, 7, 64])
@pytest.mark.parametrize("seed", [0, 1, 2**62, 2**63 - 1, -1, -(2**63)])
def test_every_seed_gives_finite_numbers(seed: int, size: int) -> None:
    latents = latents_from_seeds(torch.tensor([seed]), size)
    assert latents.shape == (1, size)
    assert latents.isfinite().all()
    assert latents.unique().numel() == size


@pytest.mark.parametrize("first", [0, 1_000_000_007, 2**62])
def test_200_000_values_are_standard_normal(first: int) -> None:
    latents = latents_from_seeds(first + torch.arange(20_000), 10).double()
    assert stats.kstest(latents.flatten().numpy(), "norm").pvalue > 0.01
    assert abs(float(latents.mean())) < 0.01
    assert abs(float(latents.var()) - 1) < 0.015
    assert abs(float((latents**4).mean()) - 3) < 0.1


def test_columns_and_consecutive_seeds_are_uncorrelated() -> None:
    latents = latents_from_seeds(torch.arange(50_001), 16).double()
    here, following = latents[:-1], latents[1:]
    correlation = torch.corrcoef(torch.cat([here, following], dim=1).T)
    assert float((correlation - torch.eye(32)).abs().max()) < 0.02  # 4.5 standard errors
    magnitude = torch.corrcoef(torch.cat([here, following], dim=1).square().T)
    assert float((magnitude - torch.eye(32)).abs().max()) < 0.025
