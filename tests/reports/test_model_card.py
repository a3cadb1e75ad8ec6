"""The model card says what parameters, data card and scorecard say, and nothing else."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from src.config.params import Params, load_params
from src.core.errors import UserError
from src.evaluation.bootstrap import Estimate
from src.evaluation.catalogue import short
from src.reports.model_card import PICTURES, find_pictures, model_card, read_facts, write_card
from src.reports.page import as_html
from src.reports.scorecard_text import score_lines
from src.tracking.store import connect
from tests.conftest import Project
from tests.reports.facts import NAMES, facts
from tests.reports.test_page import PIXEL, Page

DOG = r"\<b\>dog\</b\> \| \*x\*"
"""The second class as Markdown shows it."""


def section(card: str, title: str) -> list[str]:
    """The lines below a heading that are not empty."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", card, re.M | re.S)
    return [line for line in found.splitlines() if line]


def below(lines: list[str], start: str) -> list[str]:
    """The list items that follow the line which starts so."""
    place = next(place for place, line in enumerate(lines) if line.startswith(start))
    items: list[str] = []
    for line in lines[place + 1 :]:
        if not line.startswith("- "):
            break
        items.append(line)
    return items


def table(card: str, head: str) -> dict[str, list[str]]:
    """The cells of a table by the first of each row; no table is longer than MLflow's UI shows."""
    _, _, text = card.partition(f"\n| {head} |")
    rows = {}
    for line in text.splitlines()[2:]:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        rows[first] = others
    assert len(rows) <= 10
    return rows


def test_the_worst_classes_and_what_they_are_taken_for() -> None:
    lines = section(model_card(facts()), "Known weaknesses")
    assert [
        re.split(" of its images are predicted as that class | and ", one)
        for one in below(lines, "The classes that follow")
    ] == [
        [f"- **{DOG}**: 50.0 % [49.8, 50.2]", "(real images: 90.0 % [89.8, 90.2]),", "30.0 % as cow"],
        ["- **cow**: 70.0 % [69.8, 70.2]", "(real images: 85.0 % [84.8, 85.2]),", "30.0 % as cat"],
        ["- **cat**: 90.0 % [89.8, 90.2]", "(real images: 95.0 % [94.8, 95.2]),", "10.0 % as cow"],
    ]
    # The second has the largest distance, but real images of it are far from each other, too.
    assert below(lines, "The classes farthest") == [
        "- **cat**: 9.00 (real images: 1.00)",
        f"- **{DOG}**: 11.0 (real images: 8.00)",
        "- **cow**: 3.00 (real images: 0.500)",
    ]


def test_a_class_with_too_few_images_for_a_distance_is_not_among_the_farthest() -> None:
    card = facts().scorecard
    card.by_class["generated"]["frechet_classifier_distance"][2] = Estimate(math.nan, math.nan, math.nan)
    lines = below(section(model_card(facts(scorecard=card)), "Known weaknesses"), "The classes farthest")
    assert [line.partition("**:")[0] for line in lines] == ["- **cat", rf"- **{DOG}"]


def test_the_weakest_number_of_each_kind_and_what_the_scorecard_warns_of() -> None:
    lines = section(model_card(facts()), "Known weaknesses")
    assert below(lines, "Farthest") == [
        "- GAN-train accuracy (CAS): 0.612; real images 0.843, trivial ones 0.400 (48 % of the gap)",
        "- Recall: 0.310; real images 0.920, trivial ones 0.0100 (33 % of the gap)",
    ]
    assert lines[0] == r"**Warning**: the pixels of \<i\>some\</i\> images were scaled"
    others = "\n".join(below(lines, "And"))
    assert "copies: 3.4 % [3.2, 3.6] of the images" in others
    assert "(real: 0.9 % [0.7, 1.1])" in others
    assert "probability 0.612 an image is closer" in others
    assert "p-value 0.00123" in others
    assert "32 x 32 pixels in colour" in others
    assert "misclassifies 12.7 % of the real test images" in others


def test_a_generator_as_good_as_real_images_has_no_weak_number_or_class() -> None:
    found = facts()
    ideal = [Estimate(1.0, 1.0, 1.0)] * 3
    by_class = {
        source: {**numbers, "gan_test_recall": ideal, "frechet_classifier_distance": ideal}
        for source, numbers in found.scorecard.by_class.items()
    }
    changes = {"generated": found.scorecard.real, "warnings": [], "by_class": by_class}
    card = found.scorecard.model_copy(update=changes)
    lines = section(model_card(facts(scorecard=card)), "Known weaknesses")
    assert [line for line in lines if not line.startswith("- ")] == ["And:"]


def test_the_scorecard_is_that_of_the_evaluation() -> None:
    card = facts().scorecard
    assert section(model_card(facts()), "Scorecard") == [line for line in score_lines(card) if line]


def test_data_recipe_lineage_and_use() -> None:
    card = model_card(facts())
    assert card.startswith("# gan-animals, version 7\n\nA conditional (projection), small convolutional GAN")
    assert section(card, "Verdict") == ["**passed** the gate"]
    assert "61.2 % [61.0, 61.4] of the real test images right" in section(card, "Intended use")[1]
    data = section(card, "Data")
    assert "1,560 train, 56 validation, 59 test images" in data[0]
    assert table("\n" + card.partition("## Data")[2], "class") == {
        "cat": ["1,200", "20", "21"],
        DOG: ["300", "30", "31"],
        "cow": ["60", "6", "7"],
    }
    assert "Licence: CC0." in data[-1]
    recipe = section(card, "Recipe")
    assert "PyTorch 2.14.1, cpu, 2 threads" in recipe[0]
    assert table(card, "Optimiser")["`lr_generator`"][0] == "`0.004`"
    assert table(card, "Length and loss")["`loss`"][0] == "`bce`"
    assert table(card, "Execution")["`deterministic`"][0] == "`false`"
    assert table(card, "from") == {
        "MLflow run": ["`run0`"],
        "git commit": ["`abc`"],
        "code differs from the commit": ["`false`"],
    }
    use = section(card, "How to use it")
    assert 'generator = mlflow.pyfunc.load_model("models:/gan-animals/7")' in use
    assert "python -m src.sample --model gan-animals/7 --label 2 --count 16 --seed 0 --out images.png" in use
    assert "python -m src.registry rebuild gan-animals/7" in use


def test_the_recipe_has_what_the_family_and_the_optimiser_have() -> None:
    def rows(**changes: object) -> set[str]:
        params = Params().replace(changes)
        return {row.split("|")[1].strip(" `") for row in section(model_card(facts(params=params)), "Recipe")[1:]}

    assert {"width", "beta2", "penalty_interval"} <= rows()
    assert "hidden_sizes" not in rows()
    other = rows(**{"model.family": "mlp", "train.optimizer": "sgd", "train.r1_weight": 0.0})
    assert {"hidden_sizes", "beta1", "r1_weight"} <= other
    assert not {"width", "beta2", "penalty_interval"} & other
    # Nothing of what a training is made from is forgotten, but how often it reports, saves and gives up.
    reporting = {
        "log_every_kimg",
        "score_every_kimg",
        "score_samples",
        "checkpoint_minutes",
        "max_rollbacks",
        "patience",
    }
    special = {
        **{"model.family": "progressive", "model.conditioning": "auxiliary"},
        **{"train.augment": ["flip"], "train.augment_target": 0.6},
    }
    idle = {"auxiliary_weight", "grow_until", "augment_probability", "augment_target", "augment_kimg"}
    assert not idle & (rows() | other)
    assert idle <= rows(**special)
    shown = rows() | other | rows(**special)
    assert set(Params().train.model_dump()) - shown == reporting | {"device"}
    assert set(Params().model.model_dump()) <= shown


def test_without_a_licence_or_a_source_it_is_unknown() -> None:
    dataset = {**facts().dataset, "licence": "", "source": None}
    card = model_card(facts(dataset=dataset))
    assert "Licence: unknown. Source: unknown" in section(card, "Data")[-1]
    assert "Data: unknown." in section(card, "Licence")[0]


def test_a_generator_without_labels() -> None:
    params = Params().replace({"model.conditioning": "none"})
    card = model_card(facts(conditional=False, params=params))
    assert "An unconditional, small convolutional GAN" in card
    assert "GAN-t" not in card
    lines = section(card, "Known weaknesses")
    assert not any("label" in line for line in lines)
    assert below(lines, "And")[0] == (
        "- classes cannot be requested; the most over-represented one is cat: 50.0 % (real images: 30.0 %), the most "
        "under-represented one cow: 20.0 % (real images: 39.0 %)"
    )
    assert "--label" not in card


def test_missing_pictures_are_left_out(tmp_path: Path) -> None:
    for name in ("samples.png", "confusion.png"):
        (tmp_path / name).write_bytes(PIXEL)
    pictures = find_pictures(tmp_path, conditional=True)
    assert list(pictures) == ["samples.png", "confusion.png"]
    assert list(find_pictures(tmp_path, conditional=False)) == ["samples.png"]
    assert re.findall(r"\]\((.*)\)", model_card(facts(pictures=pictures))) == list(pictures)
    assert "## Pictures" not in model_card(facts())
    write_card(facts(pictures=pictures), pictures, tmp_path / "card")
    names = ["confusion.png", "model_card.html", "model_card.md", "samples.png"]
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == names
    assert (tmp_path / "card" / "samples.png").read_bytes() == PIXEL


def test_the_page_shows_class_names_as_they_are_and_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "samples.png").write_bytes(PIXEL)
    pictures = find_pictures(tmp_path, conditional=True)
    page = Page(as_html(model_card(facts(pictures=pictures)), pictures, "gan-animals 7"))
    assert "b" not in {tag for tag, _ in page.elements}
    assert page.text.count(NAMES[1]) == 5, "labels, agreement, distance, scorecard, data"
    assert "the pixels of <i>some</i> images" in page.text
    assert [str(source).partition(",")[0] for source in page.sources()] == ["data:image/png;base64"]


def test_the_card_of_a_real_version(in_project: Project, tmp_path: Path) -> None:
    evaluation = in_project.folder / "models" / "evaluation"
    pictures = find_pictures(evaluation, conditional=True)
    assert list(pictures) == list(PICTURES)
    found = read_facts("gan-digits", "1", "r" * 32, load_params(), {}, "", pictures)
    write_card(found, pictures, tmp_path)
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    scorecard = json.loads((evaluation / "scorecard.json").read_text(encoding="utf-8"))
    assert table(card, "Labels")["↑ GAN-test accuracy (label agreement)"][0] == "{} [{}, {}]".format(
        *short(*(scorecard["generated"]["gan_test_accuracy"][end] for end in ("value", "low", "high")))
    )
    agreement = [one["value"] for one in scorecard["by_class"]["generated"]["gan_test_recall"]]
    worst = below(section(card, "Known weaknesses"), "The classes that follow")[0]
    assert worst.startswith(f"- **{np.argmin(agreement)}**: {100 * min(agreement):.1f} % ")
    assert "| `kimg` | `6.0` |" in card
    assert "Licence: CC BY 4.0." in card
    page = Page((tmp_path / "model_card.html").read_text(encoding="utf-8"))
    assert len(page.sources()) == len(PICTURES)


@pytest.mark.slow
def test_the_code_on_the_card_draws_images(in_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", in_project.tracking_uri)
    connect()  # whatever store this process was told before
    card = model_card(read_facts("gan-digits", "1", "r" * 32, load_params(), {}, "", ()))
    first, second = (exec_code(code) for code in re.findall(r"```python\n(.*?)```", card, re.S))
    assert first.shape == (2, 1, 8, 8)
    assert np.abs(first).max() <= 1
    assert np.allclose(first, second, atol=1e-6)


def exec_code(code: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The images that a piece of code has made."""
    names: dict[str, object] = {}
    exec(code, names)
    with torch.inference_mode():
        return np.asarray(torch.as_tensor(names["images"]).detach())


def test_a_missing_file_is_named(in_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(in_project.folder / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/prepared/card.json is missing; create it with `dvc repro prepare`"):
        read_facts("gan-digits", "1", "r" * 32, Params(), {}, "", ())
