import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from src.evaluation.metrics.quick import memorisation as memorisation_module
from src.evaluation.metrics.quick.memorisation import memorisation, memorisation_p_value, nearest_training
from src.evaluation.scored import Scored, score_images
from tests.evaluation.features import repeated, resampled, scored, value
from tests.training.digits import classifier, digits, real_images


def at(*distances: float) -> Scored:
    count = len(distances)
    return Scored(torch.zeros(count, 1), torch.zeros(count, 2), torch.zeros(count).long(), torch.tensor(distances))


def numbers(generated: Scored, real: Scored) -> tuple[float, float]:
    found = memorisation(generated, real)
    assert list(found) == ["memorisation", "copied_share"]
    return value(found["memorisation"]), value(found["copied_share"])


@pytest.mark.parametrize(
    ("generated", "real"),
    [(scored(seed=1), scored(200, seed=2)), (at(1, 1, 2, 5), at(1, 2, 2, 3, 9)), (at(3), at(3, 3))],
)
def test_it_is_scipys_mann_whitney_statistic_with_scipys_p_value(generated: Scored, real: Scored) -> None:
    assert generated.train_distances is not None
    assert real.train_distances is not None
    ours, theirs = generated.train_distances.numpy(), real.train_distances.numpy()
    assert len(np.intersect1d(ours, theirs)) > 0  # equal distances count half
    expected = mannwhitneyu(theirs, ours, alternative="greater")
    assert numbers(generated, real)[0] == pytest.approx(expected.statistic / (len(ours) * len(theirs)), abs=1e-12)
    assert memorisation_p_value(generated, real) == pytest.approx(
        mannwhitneyu(ours, theirs, alternative="less").pvalue, rel=1e-10
    )
    assert memorisation_p_value(generated, real) == pytest.approx(expected.pvalue, rel=1e-6)


def test_a_few_distances_give_the_numbers_of_a_hand() -> None:
    # 1 is before 3 of 4; 2 is before 2 and equal to one; 9 is before none.
    assert numbers(at(1, 2, 9), at(0.5, 2, 3, 4))[0] == (3 + 2.5 + 0) / 12
    # Of 200 real ones, the nearest 1 % are at 1 and 2: nearer than the third at 3 is a copy.
    real = at(*range(1, 201))
    assert numbers(at(0, 0.5, 2.9, 3, 4, 5), real)[1] == 3 / 6
    # Of 199 the nearest 1 % is one.
    assert numbers(at(0, 0.5, 1.9, 2, 2.9), at(*range(1, 200)))[1] == 3 / 5
    # Of 50 it is none; a distance equal to the nearest is no copy.
    assert numbers(at(0, 0.5, 1, 2), at(*range(1, 51)))[1] == 2 / 4


@pytest.mark.parametrize("count", range(100, 3000, 100))
def test_one_percent_is_exactly_one_percent(count: int) -> None:
    real = at(*range(1, count + 1))
    nearest = count // 100
    assert numbers(at(nearest), real)[1] == 1
    assert numbers(at(nearest + 1), real)[1] == 0


def test_it_goes_from_zero_to_one_and_not_beyond() -> None:
    for count in (7, 240, 700):
        real = scored(count, seed=2)
        near, far = scored(97, seed=1).beside(torch.zeros(97)), scored(97, seed=1).beside(torch.full((97,), 99.0))
        assert numbers(near, real) == (1, 1)
        assert numbers(far, real) == (0, 0)
        assert numbers(real, real)[0] == 0.5


def test_a_resample_is_that_of_images_literally_repeated() -> None:
    real = resampled(scored(200, seed=2), 4, seed=2)
    distances = scored(seed=1).train_distances
    assert distances is not None
    # Some are copies, and many distances are those of real images too.
    generated = resampled(scored(seed=1), 4, seed=1).beside(torch.where(distances < 0.3, 0.0, distances))
    found = memorisation(generated, real)
    assert [rows.shape for rows in found.values()] == [(5,), (5,)]
    for row in range(5):
        expected = numbers(repeated(generated, row), repeated(real, row))
        assert (float(found["memorisation"][row]), float(found["copied_share"][row])) == pytest.approx(
            expected, abs=1e-12
        )
    assert found["memorisation"].unique().numel() == 5
    assert found["copied_share"].unique().numel() > 1


def test_copies_of_training_images_are_caught_and_real_images_are_not() -> None:
    validation, test = real_images().scored("validation"), real_images().scored("test")
    as_real, real_share = numbers(validation, test)
    assert as_real == pytest.approx(0.5, abs=0.08)
    assert real_share == pytest.approx(0.01, abs=0.02)
    assert memorisation_p_value(validation, test) > 0.01
    train = digits().train
    copies = score_images(classifier(), train.images[:240], train.labels[:240])
    copies = copies.beside(nearest_training(copies.features, real_images().scored("train").features)[0])
    assert numbers(copies, test)[0] > 0.995
    assert numbers(copies, test)[1] > 0.99
    assert memorisation_p_value(copies, test) < 1e-50
    # Half of them copies: half way there.
    half = torch.arange(240) % 2 == 0
    assert copies.train_distances is not None
    assert validation.train_distances is not None
    mixed = validation.beside(torch.where(half, copies.train_distances, validation.train_distances))
    assert numbers(mixed, test)[0] == pytest.approx(0.75, abs=0.04)
    assert numbers(mixed, test)[1] == pytest.approx(0.505, abs=0.02)


def test_the_nearest_training_image_is_that_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, train = scored(300, 16, seed=1).features, scored(500, 16, seed=2).features
    distances, places = NearestNeighbors(n_neighbors=1).fit(train.double().numpy()).kneighbors(queries.double().numpy())
    for block in (1000, 7, 1):
        monkeypatch.setattr(memorisation_module, "BLOCK", block)
        found, found_places = nearest_training(queries, train)
        assert found.numpy() == pytest.approx(distances[:, 0], rel=1e-4)
        assert found_places.tolist() == places[:, 0].tolist()


def test_a_copy_is_its_own_nearest_training_image() -> None:
    train = scored(500, 16, seed=2).features
    found, places = nearest_training(train[100:200], train)
    assert places.tolist() == list(range(100, 200))
    # Distances come from products in float32: no exact zero, but far below that of another image.
    others = nearest_training(scored(100, 16, seed=1).features, train)[0]
    assert float(found.max()) < 0.01 * float(others.min())


@pytest.mark.parametrize("lacking", [0, 1])
def test_without_distances_it_says_so(lacking: int) -> None:
    both = [scored(), scored(seed=1)]
    both[lacking] = Scored(both[lacking].features, both[lacking].logits, both[lacking].labels)
    with pytest.raises(ValueError, match="memorisation needs the distances to the training images"):
        memorisation(*both)
    with pytest.raises(ValueError, match="needs the distances"):
        memorisation_p_value(*both)
