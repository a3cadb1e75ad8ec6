"""The whole evaluation of a tiny generator on the digits."""

import json
import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from src.config.params import Evaluate
from src.data.prepared import Split
from src.evaluation.bootstrap import Estimate
from src.evaluation.catalogue import short
from src.evaluation.classifier import fit_classifier
from src.evaluation.evaluation import Evaluation, evaluate, trivial_images, write_tables
from src.evaluation.metrics.inception import Inception, inception_scores
from src.evaluation.scorecard import Scorecard, overall, read_resamples, too_good, write_resamples
from src.evaluation.scored import score_images
from src.networks.interface import Classifier
from src.networks.weights import content_hash
from src.reports.scorecard_text import markdown, share_of_gap, table
from src.sampling.draw import generate
from tests.evaluation.features import UNLABELLED
from tests.evaluation.metrics.test_inception import NAMES, weights
from tests.networks.tiny import pair
from tests.training.digits import CLASSIFIER, CPU, classifier, digits, real_images

__all__ = ["weights"]
SETTINGS = Evaluate(samples=200, resamples=40, reconstructions=10, seed=3)
LABELLED = {"gan_test_accuracy", "gan_train_accuracy", "frechet_joint_distance"}
OTHERS = {
    *UNLABELLED,
    "kernel_classifier_distance",
    "class_imbalance",
    "reconstruction_mse",
    "reconstruction_r2",
}
AVERAGES = {f"gan_{kind}_{name}" for kind in ("test", "train") for name in ("precision", "recall", "f1")}


def fit(train: Split, held_out: Split) -> Classifier:
    return fit_classifier(CLASSIFIER.model_copy(update={"epochs": 8}), train, 10, CPU, held_out)


@cache
def evaluation(conditioning: str = "concat") -> Evaluation:
    generator = pair("mlp", conditioning, class_count=10)[0]
    return evaluate(SETTINGS, generator, real_images(), fit)


def test_every_number_stands_beside_ceiling_and_floor_with_an_interval() -> None:
    card = evaluation().card
    for source in ("generated", "real", "floor"):
        assert card.sources()[source].keys() == LABELLED | OTHERS | AVERAGES
        for name, one in card.sources()[source].items():
            assert one.low <= one.value <= one.high, (source, name)
        for name, classes in card.by_class[source].items():
            assert len(classes) == 10
            assert all(one.low <= one.value <= one.high for one in classes), (source, name)
    assert card.by_class["generated"].keys() == {
        "class_share",
        "frechet_classifier_distance",
        *(name for name in AVERAGES),
    }
    # Of an untrained generator some numbers are the same in every resample.
    widths = {name: one.high - one.low for name, one in card.real.items()}
    assert all(width > 0 for width in widths.values())
    for name in (*LABELLED, "coverage", "recall"):
        better, ceiling, floor = (some[name].value for some in card.sources().values())
        good = ceiling > better if "distance" not in name else ceiling < better
        assert good, f"an untrained generator is worse than real images: {name}"
        assert floor != ceiling


def test_the_card_says_what_was_scored() -> None:
    card = evaluation().card
    generator = pair("mlp", "concat", class_count=10)[0]
    assert card.samples == 200
    assert (card.nearest_k, card.resamples, card.conditional) == (5, 40, True)
    assert card.seeds == {"latents": 3, "resamples": 3, "floor": 3}
    assert card.classifier_hash == content_hash(classifier())
    assert card.generator_hash == content_hash(generator)
    assert card.data_hash == digits().content_hash
    assert card.class_names == list("0123456789")
    right = (score_images(classifier(), digits().test.images[:200], digits().test.labels[:200]).seen).eq(
        digits().test.labels[:200]
    )
    assert card.classifier_accuracy == pytest.approx(float(right.double().mean()))
    assert Scorecard.model_validate(json.loads(json.dumps(card.model_dump(), allow_nan=False))) == card
    assert 0 <= card.p_values["memorisation"] <= 1
    assert card.p_values["class_imbalance"] < 1e-6, "an untrained generator makes one class"
    assert any("scaled" in warning for warning in card.warnings), "and grey images"


def test_the_images_are_those_of_the_seed_and_the_test_labels() -> None:
    generator = pair("mlp", "concat", class_count=10)[0]
    expected = generate(generator, digits().test.labels[:200], 3 * 2**32 + torch.arange(200))
    generated = evaluation().generated
    assert generated.images is not None
    assert torch.equal(generated.images, expected)
    assert generated.train_nearest is not None
    nearest = digits().train.images[generated.train_nearest]
    found = score_images(classifier(), nearest, generated.labels).features
    distances = (found - generated.features).norm(dim=1)
    assert generated.train_distances is not None
    assert torch.allclose(distances, generated.train_distances, atol=1e-3)


def test_the_floor_is_the_trivial_generator() -> None:
    labels = digits().test.labels[:200]
    scored = score_images(classifier(), trivial_images(digits().train, labels, 3), labels)
    accuracy = float((scored.seen == labels).double().mean())
    assert evaluation().card.floor["gan_test_accuracy"].value == pytest.approx(accuracy)


def test_the_same_call_gives_the_same_card() -> None:
    generator = pair("mlp", "concat", class_count=10)[0]
    assert evaluate(SETTINGS, generator, real_images(), fit).card == evaluation().card


def test_a_generator_without_labels_has_no_number_about_them() -> None:
    card = evaluation("none").card
    assert not card.conditional
    assert card.generated.keys() == card.real.keys() == OTHERS
    assert card.by_class["generated"].keys() == {"class_share"}
    assert sum(one.value for one in card.classes("generated", "class_share")) == pytest.approx(1)
    assert "Frechet joint" not in markdown(card)


def test_what_is_costly_can_be_left_out() -> None:
    settings = SETTINGS.model_copy(update={"gan_train": False, "reconstructions": 0})

    def never(train: Split, held_out: Split) -> Classifier:
        raise AssertionError

    card = evaluate(settings, pair("mlp", "concat", class_count=10)[0], real_images(), never).card
    assert not any(name.startswith(("gan_train", "reconstruction")) for name in card.generated)


class Glance(nn.Module):
    """Takes no time in place of the Inception network: features and logits are sums of pixels."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.flatten(1).float() / 255
        sums = (torch.randn(pixels.shape[1], count, generator=torch.Generator().manual_seed(0)) for count in (24, 10))
        features, logits = (pixels @ one for one in sums)
        return features, logits


@pytest.mark.parametrize("network", ["a glance", pytest.param("Inception", marks=pytest.mark.slow)])
def test_with_inception_weights_there_are_three_numbers_more(
    network: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if network == "Inception":
        weights: Path = request.getfixturevalue("weights")
        # An early layer: the distance of 2,048 features takes seconds a resample.
        monkeypatch.setattr("src.evaluation.metrics.inception.FEATURES", "64")
    else:
        weights = Path("of a network that is replaced")
        monkeypatch.setattr("src.evaluation.metrics.inception._load", lambda _: Glance())
    changes = {"inception_weights": str(weights), "samples": 12, "gan_train": False, "reconstructions": 0}
    generator = pair("mlp", "concat", class_count=10)[0]
    found = evaluate(SETTINGS.model_copy(update=changes), generator, real_images(), fit)
    card = found.card
    for source in ("generated", "real", "floor"):
        numbers = card.sources()[source]
        assert [*numbers][-3:] == NAMES
        assert all(numbers[name].low <= numbers[name].value <= numbers[name].high for name in NAMES)
    assert found.generated.images is not None
    seen = Inception(weights, CPU).scored(found.generated.images, found.generated.labels)
    test = Inception(weights, CPU).scored(digits().test.images[:12], digits().test.labels[:12])
    for name, rows in inception_scores(seen, test).items():
        # Not to the last bit: where a sum lies in memory can decide how it is split among a processor's registers.
        assert card.generated[name].value == pytest.approx(float(rows[0]), rel=1e-12)
    assert "| ↓ FID | " in markdown(card)


def test_the_markdown_has_a_row_a_number_and_a_class() -> None:
    card = evaluation().card
    lines = markdown(card).splitlines()
    (row,) = [line for line in lines if "Coverage" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    one = card.generated["coverage"]
    assert cells[0] == "↑ Coverage"
    assert cells[1] == "{} [{}, {}]".format(*short(one.value, one.low, one.high))
    assert sum(line.startswith(("| ↑", "| ↓")) for line in lines) == len(card.generated)
    heads = [line.split("|")[1].strip() for line in lines if line.endswith("| of the gap |")]
    assert heads == ["Labels", "Quality and variety", "Copies, balance, reconstruction"]
    assert any(line.startswith("| 7 |") for line in lines)
    assert "**Warning**: the pixels" in markdown(card)
    assert card.classifier_hash[:12] in markdown(card)
    shown = table(card)
    assert "Coverage" in shown
    *lines, warning = shown.splitlines()
    assert max(map(len, lines)) <= 110
    assert warning == f"warning: {card.warnings[0]}"


def test_the_tables(tmp_path: Path) -> None:
    card = evaluation().card
    write_tables(evaluation(), tmp_path)
    resampled = read_resamples(tmp_path / "bootstrap.csv", card)
    assert resampled.keys() == card.generated.keys()
    coverage = resampled["coverage"]
    assert coverage.shape == (40,)
    low = float(coverage.quantile(0.025) - coverage.mean()) + card.generated["coverage"].value
    assert card.generated["coverage"].low == pytest.approx(max(0, low))
    classes = pd.read_csv(tmp_path / "per_class.csv", dtype={"class": str})
    assert classes["class"].tolist() == list("0123456789")
    assert classes["real_gan_test_f1"].tolist() == [one.value for one in card.classes("real", "gan_test_f1")]
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["real"]["coverage"] == card.real["coverage"].value
    assert numbers["classifier"] == card.classifier_hash[:12]
    assert Scorecard.read(tmp_path / "scorecard.json") == card


def test_the_share_of_the_gap() -> None:
    assert share_of_gap("coverage", 0.9, 1.0, 0.5) == "80 %"
    assert share_of_gap("frechet_joint_distance", 2.0, 1.0, 11.0) == "90 %"
    assert share_of_gap("coverage", 1.0, 1.0, 1.0) == ""
    assert share_of_gap("copied_share", 0.5, 0.01, 0.0) == "", "noise copies nothing: that is no merit"


def test_better_than_real_images_is_a_warning_where_it_is_no_progress() -> None:
    def rows(value: float) -> dict[str, Estimate]:
        names = ("gan_test_accuracy", "gan_train_accuracy", "frechet_joint_distance", "copied_share")
        return dict.fromkeys(names, Estimate(value, value - 0.01, value + 0.01))

    assert too_good(rows(0.5), rows(0.5)) == []
    (higher,) = too_good(rows(0.6), rows(0.5))
    assert higher.startswith("better than real images in GAN-test accuracy (label agreement): this is not progress")
    (lower,) = too_good(rows(0.4), rows(0.5))
    assert lower.startswith("better than real images in Frechet joint distance: ")


def test_three_digits_and_no_more() -> None:
    assert short(0.87, 0, 51, 100, 12345, 3e-5) == ("0.870", "0.00", "51.0", "100", "1.23e+04", "3.00e-05")


def test_numbers_with_fewer_resamples_are_not_in_the_table_of_resamples(tmp_path: Path) -> None:
    rows = {"coverage": torch.tensor([0.5, 0.4, 0.6]), "frechet_inception_distance": torch.tensor([9.0, 9.5])}
    write_resamples(rows, tmp_path / "bootstrap.csv")
    assert list(pd.read_csv(tmp_path / "bootstrap.csv")) == ["coverage"]
    assert overall(rows)["frechet_inception_distance"].value == 9


def test_nothing_else_in_the_project_asks_for_the_test_split() -> None:
    root = Path(__file__).parent.parent.parent / "src"
    asking = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if re.search(r"\.test\b|[\"']test[\"']", file.read_text(encoding="utf-8"))
    }
    # Splitting writes the split, the store reads it, and real_images names it as one of three.
    places = ("evaluation/evaluation", "data/splitting", "data/prepared", "evaluation/real_images")
    assert asking == {f"{place}.py" for place in places}


def test_the_images_have_mean_and_deviation_of_their_class() -> None:
    rng = torch.Generator().manual_seed(0)
    shades = torch.tensor([80, 160])[:, None, None, None]
    labels = torch.arange(4000) % 2
    pixels = shades[labels] + 10 * torch.randn(4000, 1, 2, 2, generator=rng)
    train = Split(pixels.round().to(torch.uint8), labels)
    asked = torch.tensor([1] * 3000 + [0] * 3000)
    images = trivial_images(train, asked, seed=0).double()
    assert images[:3000].mean(dim=0).flatten().tolist() == pytest.approx([160] * 4, abs=1)
    assert images[3000:].mean(dim=0).flatten().tolist() == pytest.approx([80] * 4, abs=1)
    assert images[:3000].std(dim=0).flatten().tolist() == pytest.approx([10] * 4, rel=0.1)
    neighbours = torch.corrcoef(images[:3000].flatten(1).T)
    assert (neighbours - torch.eye(4)).abs().max() < 0.1, "the noise of a pixel knows nothing of the next"


def test_the_seed_decides() -> None:
    labels = digits().test.labels[:50]
    first = trivial_images(digits().train, labels, seed=1)
    assert (first.shape, first.dtype) == ((50, 1, 8, 8), torch.uint8)
    assert torch.equal(trivial_images(digits().train, labels, seed=1), first)
    assert not torch.equal(trivial_images(digits().train, labels, seed=2), first)
