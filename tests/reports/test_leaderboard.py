"""The leaderboard's numbers are those of the scorecard."""

from dataclasses import asdict

import pytest
import torch

from src.config.params import Classifier as ClassifierParams
from src.config.params import Evaluate
from src.data.prepared import Split
from src.evaluation.bootstrap import Estimate
from src.evaluation.classifier import fit_classifier
from src.evaluation.evaluation import SHOWN, Leaderboard, evaluate
from src.evaluation.real_images import RealImages
from src.networks.description import build_pair
from src.networks.interface import Classifier, Generator
from src.reports.leaderboard import as_markdown, as_table, over_seeds, with_interval
from tests.training.digits import classifier, digits

SETTINGS = Evaluate(samples=300, resamples=40, reconstructions=0)


def generator(conditioning: str) -> Generator:
    torch.manual_seed(0)
    made, _ = build_pair(
        "mlp",
        **{"latent_size": 8, "class_count": 10, "channels": 1, "image_size": 8, "conditioning": conditioning},
        **{"hidden_sizes": [16], "dropout": 0.0, "spectral_norm": False, "width": 8},
    )
    return made.eval()


def fit_one(train: Split, held_out: Split) -> Classifier:
    settings = ClassifierParams(width=4, feature_size=16, epochs=1, batch_size=64)
    return fit_classifier(settings, train, 10, torch.device("cpu"), held_out, "GAN-train")


@pytest.fixture(scope="module")
def real_images(tmp_path_factory: pytest.TempPathFactory) -> RealImages:
    return RealImages(classifier(), digits(), tmp_path_factory.mktemp("features"))


@pytest.mark.parametrize("conditioning", ["concat", "none"])
def test_a_generator_has_the_numbers_of_its_scorecard(conditioning: str, real_images: RealImages) -> None:
    ours = generator(conditioning)
    found = Leaderboard(SETTINGS, real_images, fit_one).generator(ours)
    card = evaluate(SETTINGS, ours, real_images, fit_one).card.generated
    labelled = {"gan_test_accuracy", "gan_train_accuracy", "frechet_joint_distance"}
    assert set(found) == set(SHOWN) - (labelled if conditioning == "none" else set())
    for name, one in found.items():
        if name != "gan_train_accuracy":  # three classifiers there, one here
            assert asdict(one) == pytest.approx(asdict(card[name]), rel=1e-6), name


def test_real_images_are_the_ceiling(real_images: RealImages) -> None:
    board = Leaderboard(SETTINGS, real_images, fit_one)
    ceiling, found = board.ceiling(), board.generator(generator("concat"))
    assert set(ceiling) == set(SHOWN)
    assert ceiling["gan_test_accuracy"].value > 0.9 > found["gan_test_accuracy"].value
    assert ceiling["frechet_classifier_distance"].value < found["frechet_classifier_distance"].value / 10
    assert all(one.low <= one.value <= one.high for one in ceiling.values())


def test_the_table_is_sorted_and_says_what_is_not_there() -> None:
    estimate = asdict(Estimate(0.5, 0.4, 0.6))

    def result(name: str, score: float, *numbers: str) -> dict[str, object]:
        return {
            "recipe": name,
            "score": score,
            "numbers": dict.fromkeys(numbers, estimate),
            "images_per_second": 1234.5,
            "minutes": 2.04,
            "kimg": 1500.0,
            "parameters": {"generator": 1000, "discriminator": 20},
            "drawing_flops": 1.5e6,
            "training_flops": 31.06e6,
        }

    means = over_seeds(
        [[result("a", 3.0, *SHOWN), result("b", 2.0)], [result("a", 0.5, *SHOWN)]], {"coverage": estimate}
    )
    assert means["recipe"].tolist() == ["a", "b", "real images"]
    assert means["seeds"].tolist() == ["2", "1", ""]
    assert means["validation score"].tolist() == ["1.750 ± 1.768", "2.000", ""]
    assert means["Coverage"].tolist() == ["0.500 ± 0.000", "", "0.500"]
    assert means["thousand images"].tolist() == ["1,500", "1,500", ""]

    results = [result("a", 3.0, *SHOWN), result("b", 2.0, "coverage"), result("c", 9.5, *SHOWN)]
    table = as_table(results, {"coverage": estimate})
    assert table["recipe"].tolist() == ["b", "a", "c", "real images"]
    assert table["Coverage"].tolist() == ["0.500 [0.400, 0.600]"] * 4
    assert table["Precision"].tolist() == ["", *["0.500 [0.400, 0.600]"] * 2, ""]
    row = table.iloc[0]
    assert row["images/s"] == "1,234"
    assert row["minutes"] == "2.0"
    assert row["parameters of both"] == "1,000 / 20"
    assert (row["MFLOP to draw"], row["MFLOP to train"]) == ("1.50", "31.1")
    lines = as_markdown(table).splitlines()
    assert len(lines) == 6
    assert {line.count("|") for line in lines} == {len(table.columns) + 1}
    assert with_interval(asdict(Estimate(2.25, 1.0, 3.5)), 1) == "2.2 [1.0, 3.5]"
