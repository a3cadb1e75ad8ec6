from dataclasses import replace

import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score

from src.evaluation.metrics.reconstruction import latent_search, nearest_image, reconstruction
from src.evaluation.scored import Scored
from src.sampling.draw import generate
from tests.networks.tiny import pair
from tests.training.digits import digits, real_images


def real(count: int = 40) -> Scored:
    return real_images().scored("test").head(count)


def test_it_is_scikit_learns_error_and_r2() -> None:
    targets = digits().test.images[:40]
    other = digits().validation.images[:40]
    found = reconstruction(real(), real(), rebuild=lambda images, labels: other, count=40)
    flat = (images.flatten(1).double().numpy() / 255 for images in (targets, other))
    truth, guess = flat
    assert float(found["reconstruction_mse"]) == pytest.approx(mean_squared_error(truth, guess), rel=1e-12)
    # scikit-learn weighs the pixels; by the variance of each is what one R2 over all of them means.
    expected = r2_score(truth, guess, multioutput="variance_weighted")
    assert float(found["reconstruction_r2"]) == pytest.approx(expected, rel=1e-9)


def test_perfect_and_mean_images_have_one_and_zero() -> None:
    perfect = reconstruction(real(), real(), rebuild=lambda images, labels: images, count=40)
    assert {name: float(value) for name, value in perfect.items()} == {"reconstruction_mse": 0, "reconstruction_r2": 1}

    def mean(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images.double().mean(dim=0, keepdim=True).expand_as(images)

    assert float(reconstruction(real(), real(), rebuild=mean, count=40)["reconstruction_r2"]) == pytest.approx(
        0, abs=1e-9
    )


def test_only_the_first_images_count_and_resamples_weigh_them() -> None:
    weights = torch.zeros(1, 357, dtype=torch.float64)
    weights[0, :2], weights[0, 5:] = torch.tensor([3.0, 1.0]), 1
    scored = real_images().scored("test").resampled(weights)

    def spoilt(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        assert len(images) == len(labels) == 5
        wrong = images.clone()
        wrong[0] = 255 - wrong[0]
        return wrong

    found = reconstruction(scored, scored, rebuild=spoilt, count=5)["reconstruction_mse"]
    first = float((1 - 2 * digits().test.images[0].double() / 255).square().mean())
    assert found.tolist() == pytest.approx([first / 5, 3 * first / 4])


def test_the_nearest_image_is_found_of_the_same_label_if_there_are_labels() -> None:
    images = torch.tensor([0, 100, 200], dtype=torch.uint8)[:, None, None, None]
    labels = torch.tensor([0, 1, 1])
    targets, asked = torch.tensor([10, 110], dtype=torch.uint8)[:, None, None, None], torch.tensor([1, 0])
    assert nearest_image(images, labels)(targets, asked).flatten().tolist() == [100, 0]
    assert nearest_image(images, None)(targets, asked).flatten().tolist() == [0, 100]


@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_the_search_finds_images_that_the_generator_made(family: str) -> None:
    generator, _ = pair(family)
    generator.eval()
    labels = torch.arange(12) % 3
    made = generate(generator, labels, 1000 + torch.arange(12))
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    found = latent_search(generator, made, labels)
    others = generate(generator, labels, 2000 + torch.arange(12))
    error, by_chance = ((one.float() - made.float()).square().mean() for one in (found, others))
    assert float(error) < max(
        0.1, 0.02 * float(by_chance)
    )  # an untrained generator varies little; rounding leaves 1 / 12
    assert torch.equal(latent_search(generator, made, labels), found)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_the_images_are_needed() -> None:
    with pytest.raises(ValueError, match="images themselves"):
        reconstruction(real(), replace(real(), images=None), rebuild=lambda images, labels: images, count=5)
