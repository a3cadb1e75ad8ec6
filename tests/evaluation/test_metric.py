import pytest
import torch
from torch import Tensor

from src.evaluation.catalogue import CATALOGUE, METRICS
from src.evaluation.metric import BY_CLASS, Context, values
from src.evaluation.metric import rows as rows_of
from src.evaluation.metrics.quick.memorisation import nearest_training
from src.evaluation.scored import Scored, score_images
from tests.evaluation.features import CHEAP, every_row, quick_rows, resampled, scored, together
from tests.evaluation.test_judge import NAMES
from tests.training.digits import classifier, digits, real_images

NEIGHBOURS = {"precision", "recall", "density", "coverage"}
CLASSES = {
    f"{name}_by_class"
    for name in ("gan_test_precision", "gan_test_recall", "gan_test_f1", "frechet_classifier_distance")
}


def short(generated: Scored, real: Scored, nearest_k: int = 5) -> dict[str, float]:
    return values(every_row(generated, real, nearest_k=nearest_k))


def test_the_scorecard_has_every_number_once() -> None:
    quick = quick_rows(scored(seed=1), scored(seed=2))
    assert quick.keys() == NAMES | CLASSES
    found = every_row(scored(seed=1), scored(seed=2))
    assert found.keys() == NAMES | CLASSES | {"kernel_classifier_distance", "class_imbalance", "class_share_by_class"}
    assert all(torch.equal(found[name], rows) for name, rows in quick.items())
    assert all(rows.dtype == torch.float64 for rows in found.values())


def test_the_number_of_neighbours_changes_nothing_else() -> None:
    found, more = (short(scored(seed=1), scored(seed=2), nearest_k) for nearest_k in (5, 20))
    assert {name for name in found if more[name] != found[name]} <= NEIGHBOURS
    assert more["density"] != found["density"]


def test_numbers_come_in_the_order_of_the_catalogue_whatever_that_of_the_metrics() -> None:
    found = list(every_row(scored(seed=1), scored(seed=2)))
    cheap = [metric for metric in METRICS if metric.when(Context(CHEAP))]
    assert list(rows_of(cheap[::-1], scored(seed=1), scored(seed=2), Context(CHEAP))) == found
    overall = [name for name in found if not name.endswith(BY_CLASS)]
    assert overall == [name for name in CATALOGUE if name in found]


def test_values_are_the_first_rows_of_the_overall_numbers() -> None:
    rows = every_row(resampled(scored(seed=1)), resampled(scored(seed=2)))
    assert all(some.shape[0] == 4 for some in rows.values())
    found = values(rows)
    assert found.keys() == rows.keys() - CLASSES - {"class_share_by_class"}
    assert all(type(number) is float and number == float(rows[name][0]) for name, number in found.items())


def test_resamples_do_not_change_the_value() -> None:
    plain = every_row(scored(200, seed=1), scored(seed=2))
    with_rows = every_row(resampled(scored(200, seed=1)), resampled(scored(seed=2)))
    for name, rows in plain.items():
        assert rows[0].tolist() == pytest.approx(with_rows[name][0].tolist(), rel=1e-12)


def test_resamples_of_one_side_alone_are_refused() -> None:
    generated, real = scored(seed=1), scored(seed=2)
    drawn = resampled(generated)
    count = len(drawn.weights) - 1
    with pytest.raises(ValueError, match=f"{count} resamples of the generated images, 0 of the real ones"):
        short(drawn, real)


def test_without_labels_there_are_no_numbers_about_them() -> None:
    every = every_row(scored(seed=1), scored(seed=2))
    some = every_row(scored(seed=1), scored(seed=2), conditional=False)
    assert some.keys() == {name for name in NAMES if not CATALOGUE[name].labelled} | {
        "kernel_classifier_distance",
        "class_imbalance",
        "class_share_by_class",
    }
    assert all(torch.equal(rows, every[name]) for name, rows in some.items())
    # They do not depend on what the images were made for.
    generated = scored(seed=1)
    other = Scored(generated.features, generated.logits, generated.labels.flip(0), generated.train_distances)
    again = every_row(other, scored(seed=2), conditional=False)
    assert all(torch.allclose(rows, some[name], rtol=1e-9) for name, rows in again.items())


def beside(one: Scored) -> Scored:
    return one.beside(nearest_training(one.features, real_images().scored("train").features)[0])


def test_real_images_score_better_than_noise() -> None:
    validation, test = digits().validation, digits().test
    real = beside(score_images(classifier(), test.images[:240], test.labels[:240]))
    good = short(real_images().scored("validation"), real)
    noise = torch.randint(0, 256, (240, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    bad = short(beside(score_images(classifier(), noise, validation.labels)), real)
    # Precision alone cannot tell: a classifier that knows digits only sees noise in the midst of them. Nor can memorisation.
    for name in good.keys() - {"precision", "memorisation", "copied_share"}:
        lower = CATALOGUE[name].better == "lower"
        assert good[name] < 0.3 * bad[name] if lower else good[name] > 1.3 * bad[name], name
    assert good["memorisation"] == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("size", [1, 7, 100, 239])
def test_every_number_and_resample_has_the_same_bits_whatever_chunks_the_images_are_scored_in(size: int) -> None:
    validation = digits().validation

    def whole_card(chunk: int) -> dict[str, Tensor]:
        pairs = zip(validation.images.split(chunk), validation.labels.split(chunk), strict=True)
        parts = [score_images(classifier(), *some) for some in pairs]
        one = together(parts)
        return every_row(resampled(beside(one), seed=1), resampled(real_images().scored("test"), seed=2))

    expected = whole_card(240)
    for name, rows in whole_card(size).items():
        assert torch.equal(rows, expected[name]), name
