"""Which metric catches which way of cheating: docs/scorecard.md says it, and the digits show it."""

import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch

from benchmarks.fooling import CHEATS, caught, estimates, main, objectives
from src import download, prepare
from src.config.edit import write_params
from src.core import paths
from src.data.prepared import Split
from src.evaluation.bootstrap import Estimate
from src.evaluation.catalogue import CATALOGUE, clearly_better
from src.evaluation.classifier import fit_classifier
from src.networks.interface import Classifier
from src.networks.weights import save_network
from tests.conftest import SAMPLE, TINY, work_in
from tests.training.digits import CLASSIFIER, CPU, classifier, judge, real_images

DOCUMENT = Path(__file__).parent.parent / "docs" / "scorecard.md"


def fit(train: Split, held_out: Split) -> Classifier:
    return fit_classifier(CLASSIFIER, train, 10, CPU, held_out)


@cache
def found() -> dict[str, dict[str, Estimate]]:
    return estimates(real_images(), fit, samples=240)


def documented() -> dict[str, dict[str, str]]:
    """The cells of the table by number and cheat."""
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    start = next(place for place, line in enumerate(lines) if re.match(r"\| \| real images \|", line))
    titles = {about.title: name for name, about in CATALOGUE.items()}
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 :])
    return {titles[title]: dict(zip(CHEATS, cells, strict=True)) for title, _, *cells in rows if title in titles}


def test_the_digits_are_caught_as_the_document_says() -> None:
    said = {name: {cheat: "●" in cell for cheat, cell in cells.items()} for name, cells in documented().items()}
    assert said == caught(found())


@pytest.mark.parametrize("cheat", CHEATS)
def test_every_cheat_is_caught_by_some_number(cheat: str) -> None:
    assert sum(cheats[cheat] for cheats in caught(found()).values()) >= 2


def test_no_number_but_those_of_copies_catches_a_copier_and_the_usual_ones_miss_who_ignores_labels() -> None:
    catches = caught(found())
    assert {name for name, cheats in catches.items() if cheats["copies"]} == {"memorisation", "copied_share"}
    for name in ("frechet_classifier_distance", "kernel_classifier_distance", "precision", "recall", "coverage"):
        assert not catches[name]["ignores its label"]
    assert catches["frechet_joint_distance"]["ignores its label"]


def test_a_collapsed_generator_is_better_than_real_images_in_what_the_scorecard_warns_of() -> None:
    real = found()["real"]
    names = {name for name, one in found()["collapsed"].items() if clearly_better(name, one, real[name])}
    assert {"gan_test_accuracy", "classifier_score"} <= names
    assert CATALOGUE["gan_test_accuracy"].beyond_real == CATALOGUE["classifier_score"].beyond_real == "suspect"


def test_real_images_score_better_than_every_cheat_in_the_objective() -> None:
    scores = objectives(judge())
    assert scores.keys() == {"real", *CHEATS}
    assert all(scores[cheat] > 3 * scores["real"] for cheat in CHEATS), scores


def test_cheats_are_images_of_the_right_kind() -> None:
    for name, numbers in found().items():
        assert numbers.keys() == found()["real"].keys(), name
        assert all(one.low <= one.value <= one.high for one in numbers.values()), name
    assert torch.tensor([len(cells) for cells in documented().values()]).eq(len(CHEATS)).all()


def test_the_command_prints_both_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work_in(tmp_path, monkeypatch)
    shutil.copy(SAMPLE, "params.yaml")
    write_params(TINY, Path("params.yaml"))
    download.main([])
    prepare.main([])
    save_network(classifier(), paths.CLASSIFIER, "classifier")
    capsys.readouterr()
    main(["--samples", "100"])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.strip("|").split("|")[0].strip(): line for line in lines if line.startswith("|")}
    assert rows.keys() == {
        "",
        "---",
        "objective, on the validation split",
        *(CATALOGUE[name].title for name in found()["real"]),
    }
    assert all(row.count("|") == 3 + len(CHEATS) for row in rows.values())
    assert "**" in rows["Recall"]
