import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.evaluation import catalogue
from src.evaluation.bootstrap import estimate
from src.evaluation.catalogue import CATALOGUE, table
from src.evaluation.metric import BY_CLASS
from src.evaluation.scored import Scored
from tests.conftest import ROOT
from tests.evaluation.features import certain, every_row, resampled, scored


def sets(kind: str) -> tuple[Scored, Scored]:
    """Generated and real images, ordinary or at an end of what there can be."""
    real = scored(seed=1)
    if kind == "ordinary":
        return scored(200, seed=2, shift=0.5), real
    if kind == "the same":
        return real, real
    if kind == "far away":
        return scored(seed=2, shift=100.0).beside(torch.full((300,), 99.0)), real
    if kind == "copies of one image":
        first = torch.zeros(300, dtype=torch.int64)
        return Scored(real.features[first], real.logits[first], real.labels, torch.zeros(300)), real
    sure = certain(real.labels, real.labels, 4)
    return Scored(scored(seed=2).features, sure.logits, sure.labels, torch.zeros(300)), real


KINDS = ("ordinary", "the same", "far away", "copies of one image", "always right")


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_is_in_the_catalogue_and_within_its_bounds(kind: str) -> None:
    generated, real = sets(kind)
    found = every_row(resampled(generated, 5, seed=1), resampled(real, 5, seed=2))
    for name, rows in found.items():
        about = catalogue.about(name)
        assert rows.shape == ((6, 4) if name.endswith(BY_CLASS) else (6,)), name
        assert rows.isfinite().all(), name
        assert float(rows.min()) >= about.lowest - 1e-12, name
        assert float(rows.max()) <= about.highest + 1e-12, name
        if rows.ndim == 1:
            interval = estimate(rows, about.lowest, about.highest)
            assert about.lowest <= interval.low <= interval.value + 1e-12, name
            assert interval.value - 1e-12 <= interval.high <= about.highest, name


def test_bounds_are_reached() -> None:
    ends = {name: set[float]() for name in CATALOGUE}
    for kind in KINDS:
        for name, rows in every_row(*sets(kind)).items():
            if name in ends:
                ends[name].add(round(float(rows[0]), 6))
    for name in ("precision", "recall", "coverage"):
        assert {0, 1} <= ends[name]
    assert 1 in ends["memorisation"] & ends["copied_share"] & ends["gan_test_accuracy"] & ends["gan_test_f1"]
    assert 0 in ends["frechet_classifier_distance"] & ends["density"] & ends["memorisation"] & ends["class_imbalance"]


def test_what_needs_no_other_network_or_training_is_all_there() -> None:
    found = every_row(*sets("ordinary"))
    elsewhere = (
        "gan_train",
        "reconstruction",
        "inception",
        "frechet_inception",
        "kernel_inception",
        "imagenet",
        "frechet_imagenet",
    )
    assert {name for name in found if not name.endswith(BY_CLASS)} == {
        name for name in CATALOGUE if not name.startswith(elsewhere)
    }


def test_titles_are_names_of_their_own_and_bounds_leave_room() -> None:
    titles = [about.title for about in CATALOGUE.values()]
    assert len(set(titles)) == len(titles) == 30
    for name, about in CATALOGUE.items():
        assert about.lowest < about.highest, name
        # A distance or an error is better lower, and has no upper end.
        assert ("distance" in name or "mse" in name) == (about.better == "lower" and math.isinf(about.highest)), name
        assert not name.endswith(BY_CLASS)


NEW_METRIC = '''"""How dark the images are."""

import torch

from ...metric import Metric, Number

METRIC = Metric(
    {"darkness": Number("Darkness", "higher", "Colours")},
    lambda generated, real, _: {
        "darkness": generated.weights @ (1 - generated.images.flatten(1).double().mean(1) / 255) / len(generated)
    },
    source="this test",
)
'''
LOOK = """
import json, sys
from src.config import stages
from src.config.params import Evaluate
from src.evaluation.catalogue import CATALOGUE, QUICK_NUMBERS, table
from src.evaluation.comparison import StoredScorecard, compare
from src.evaluation.evaluation import evaluate, write_tables
from src.reports.scorecard_text import markdown
from src.registry.stored_scorecards import read_scorecard
from src.tuning.space import MEASURES
from tests.evaluation.test_evaluation import fit
from tests.networks.tiny import pair
from tests.training.digits import judge, real_images
from pathlib import Path

generator = pair("mlp", "concat", class_count=10)[0]
settings = Evaluate(samples=60, resamples=20, gan_train=False, reconstructions=0)
found = evaluate(settings, generator, real_images(), fit)
write_tables(found, Path("card"))
stored = read_scorecard(Path("card"), "new")
print(json.dumps({
    "catalogue": CATALOGUE["darkness"].title,
    "quick": "darkness" in QUICK_NUMBERS,
    "objective": "darkness" in MEASURES,
    "value": found.card.generated["darkness"].value,
    "expected": float((1 - found.generated.images.double() / 255).mean()),
    "judge": judge()(generator)["darkness"],
    "headline": json.loads(Path("card/metrics.json").read_text())["generated"]["darkness"],
    "resamples": len(stored.rows["darkness"]),
    "text": "| Colours | generated |" in markdown(found.card) and "Darkness" in markdown(found.card),
    "compared": [row.title for row in compare(stored, stored).rows][-1],
    "docs": "| `darkness` | Darkness | Colours | higher | 0 to 1 | this test |" in table(),
    "train": [name for name in stages.code("train") if "darkness" in name],
}))
"""


def test_a_new_metric_is_one_file_and_is_found_everywhere(tmp_path: Path) -> None:
    for name in ("src", "tests", "benchmarks", "extras"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src/evaluation/metrics/quick/darkness.py").write_text(NEW_METRIC, encoding="utf-8")
    command = [sys.executable, "-c", LOOK]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found.pop("value") == found.pop("headline") == pytest.approx(found.pop("expected"))
    assert 0 < found.pop("judge") < 1
    assert found == {
        "catalogue": "Darkness",
        "quick": True,
        "objective": True,
        "resamples": 20,
        "text": True,
        "compared": "Darkness",
        "docs": True,
        "train": ["src/evaluation/metrics/quick/darkness.py"],
    }


def test_the_document_lists_every_number() -> None:
    """``python -c "from src.evaluation.catalogue import table; print(table())"`` prints the table."""
    assert table() in (ROOT / "docs" / "scorecard.md").read_text(encoding="utf-8")
