import torch

from src.networks.latents import latents_from_seeds
from src.sampling.draw import generate
from src.sampling.plan import Plan
from tests.networks.tiny import pair


def test_classes_take_turns_or_come_one_after_the_other() -> None:
    numbers = torch.arange(6)
    assert Plan((2, 0), 6, None, 0).labels(numbers).tolist() == [2, 0, 2, 0, 2, 0]
    assert Plan((2, 0), 6, 3, 0).labels(numbers).tolist() == [2, 2, 2, 0, 0, 0]
    assert Plan((2, 0), 6, 3, 0).labels(numbers[4:]).tolist() == [0, 0]


def test_no_two_seeds_share_a_latent() -> None:
    assert Plan((0,), 3, None, 0).seeds(torch.tensor([0, 2])).tolist() == [0, 2]
    assert Plan((0,), 3, None, 5).seeds(torch.tensor([0, 2])).tolist() == [5 * 2**32, 5 * 2**32 + 2]
    # The largest seed and number stay within int64.
    assert Plan((0,), 3, None, 2**31 - 1).seeds(torch.tensor([999_999])).tolist() == [(2**31 - 1) * 2**32 + 999_999]


def test_batches_hold_each_number_once() -> None:
    batches = list(Plan((0,), 250, None, 0).batches())
    assert [len(batch) for batch in batches] == [100, 100, 50]
    assert torch.cat(batches).tolist() == list(range(250))


def test_images_are_drawn_with_the_plans_labels_seeds_and_truncation() -> None:
    generator, _ = pair()
    plan, numbers = Plan((2, 1), 9, None, 3, 0.5), torch.tensor([0, 4, 7])
    expected = generate(generator, torch.tensor([2, 2, 1]), 3 * 2**32 + numbers, truncation=0.5)
    assert torch.equal(plan.draw(generator, numbers), expected)
    with torch.no_grad():
        latents = latents_from_seeds(3 * 2**32 + numbers, generator.latent_size) / 2
        floats = generator.eval()(latents, torch.tensor([2, 2, 1]))
    assert (floats.add(1).mul(127.5) - expected).abs().max() < 1
