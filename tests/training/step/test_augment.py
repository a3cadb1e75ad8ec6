import pytest
import torch
from torch import Tensor

from src.training.step.augment import AUGMENTATIONS, Augmentation, cut_out, flip, translate
from src.training.step.distributed import DistributedContext, Draws


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), DistributedContext())


def images(count: int = 6, size: int = 8) -> Tensor:
    return torch.rand(count, 2, size, size, generator=torch.Generator().manual_seed(1)) + 0.5


def test_a_translation_shifts_each_image_by_up_to_an_eighth() -> None:
    whole = images(4, 16)
    places = torch.tensor([[0.5, 0.5], [0.0, 0.5], [0.5, 0.999], [0.99, 0.0]])
    moved = translate(whole, places)
    assert torch.equal(moved[0], whole[0])
    assert torch.equal(moved[1, :, 2:], whole[1, :, :-2])  # down by two
    assert not moved[1, :, :2].any()
    assert torch.equal(moved[2, :, :, :-2], whole[2, :, :, 2:])  # to the left by two
    assert not moved[2, :, :, -2:].any()
    assert torch.equal(moved[3, :, :-2, 2:], whole[3, :, 2:, :-2])


def test_every_shift_is_as_likely() -> None:
    one = torch.zeros(5000, 1, 8, 8)
    one[:, :, 4, 4] = 1
    moved = translate(one, draws().uniform(5000, 2)).sum(dim=(0, 1))
    assert moved[3:6, 3:6].sum() == 5000
    assert moved[3:6, 3:6].min() > 450  # 556 each


def test_a_cut_out_blanks_a_square_of_half_the_size() -> None:
    cut = cut_out(torch.ones(3, 1, 8, 8), torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.5, 1.0]]))
    assert not cut[0, 0, 2:6, 2:6].any()
    assert cut[0].sum() == 64 - 16
    assert not cut[1, 0, :2, :2].any()
    assert cut[1].sum() == 64 - 4
    assert cut[2].sum() == 64 - 8


def test_a_flip_mirrors_half_of_them() -> None:
    whole = images(2)
    flipped = flip(whole, torch.tensor([[0.4, 0.0], [0.6, 0.0]]))
    assert torch.equal(flipped, torch.stack([whole[0].flip(2), whole[1]]))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_gradient_goes_through_to_each_pixel_that_is_left(name: str) -> None:
    whole = images().requires_grad_()
    changed = Augmentation([name], draws())(whole)
    changed.sum().backward()
    assert whole.grad is not None
    assert set(whole.grad.unique().tolist()) <= {0.0, 1.0}
    kept = {"translation": 0.6, "cutout": 0.7, "flip": 1.0}[name]
    assert whole.grad.mean() >= kept
    assert not torch.equal(changed, whole)


def test_none_changes_nothing_and_draws_nothing() -> None:
    ours = draws()
    before = ours.generator.get_state()
    whole = images()
    assert Augmentation([], ours)(whole) is whole
    assert torch.equal(ours.generator.get_state(), before)


def test_the_chance_is_that_of_each_image() -> None:
    whole = images(4000)
    changed = Augmentation(["cutout"], draws(), probability=0.25)(whole)
    share = (changed != whole).flatten(1).any(dim=1).double().mean().item()
    assert share == pytest.approx(0.25, abs=0.03)


def test_two_calls_change_images_differently_and_a_seed_the_same() -> None:
    ours = Augmentation(["translation", "cutout", "flip"], draws())
    first, second = ours(images()), ours(images())
    assert not torch.equal(first, second)
    assert torch.equal(Augmentation(["translation", "cutout", "flip"], draws())(images()), first)


def test_an_adaptive_chance_begins_at_none_and_follows_overfitting() -> None:
    adaptive = Augmentation(["cutout"], draws(), target=0.6, images_to_one=1000)
    assert float(adaptive.probability) == 0
    for _ in range(3):
        adaptive.adapt(torch.tensor(0.95), 100)  # right on 95 % of real images: a mean sign of 0.9, above 0.6
    assert float(adaptive.probability) == pytest.approx(0.3)
    adaptive.adapt(torch.tensor(0.7), 50)
    assert float(adaptive.probability) == pytest.approx(0.25)
    for right, expected in ((0.2, 0.0), (1.0, 1.0)):
        for _ in range(30):
            adaptive.adapt(torch.tensor(right), 100)
        assert float(adaptive.probability) == expected


def test_a_fixed_chance_stays() -> None:
    fixed = Augmentation(["cutout"], draws(), probability=0.5)
    fixed.adapt(torch.tensor(1.0), 10_000)
    assert float(fixed.probability) == 0.5
