"""A parameter is declared once: whatever else repeats it is made from its field."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.config.edit import table
from src.config.params import Params, parameters

ROOT = Path(__file__).parents[2]
ROWS = {one.name: one for one in parameters()}
MODEL_CARD_ROWS = 10
"""MLflow's pages show no more without scrolling"""


def test_each_field_says_what_is_allowed_and_what_it_is() -> None:
    assert {name: row.default for name, row in ROWS.items()} == {
        **Params().flat(),
        "tune.space": Params().tune.space,
    }
    assert all(len(row.text) > 5 for row in ROWS.values())
    assert {
        name: ROWS[name].allowed
        for name in (
            *("evaluate.inception_weights", "data.channels", "model.family", "train.seed", "train.ema_decay"),
            "model.hidden_sizes",
        )
    } == {
        "evaluate.inception_weights": "text | null",
        "data.channels": "1 | 3",
        "model.family": "mlp | dcgan | compact | resnet | progressive | the dotted path of a class",
        "train.seed": "int >= 0 and < 4294967296",
        "train.ema_decay": "float >= 0 and < 1",
        "model.hidden_sizes": "list of 1 to 16, each int >= 1 and <= 65536",
    }
    groups = [row.group for row in ROWS.values() if row.group]
    assert max(map(groups.count, groups)) <= MODEL_CARD_ROWS


@pytest.mark.parametrize(
    ("name", "changes", "applies", "condition"),
    [
        ("train.kimg", {}, True, ""),
        ("train.auxiliary_weight", {}, False, "with model.conditioning auxiliary"),
        ("train.auxiliary_weight", {"model.conditioning": "auxiliary"}, True, "with model.conditioning auxiliary"),
        ("train.penalty_interval", {}, True, "with gp_weight, r1_weight or r2_weight"),
        ("train.penalty_interval", {"train.r1_weight": 0.0}, False, "with gp_weight, r1_weight or r2_weight"),
        ("train.augment_probability", {}, False, "with augment"),
        ("train.beta2", {"train.optimizer": "sgd"}, False, "with optimizer adam or adamw or rmsprop"),
    ],
)
def test_when_a_parameter_applies(name: str, changes: dict[str, object], applies: bool, condition: str) -> None:
    assert ROWS[name].applies(Params().replace(changes).flat()) == applies
    assert ROWS[name].condition == condition


def test_every_condition_names_a_parameter_and_values_that_it_may_have() -> None:
    for row in ROWS.values():
        for name, _, values in (one.partition("=") for one in row.when):
            for value in filter(None, values.split("|")):
                Params().replace({name: value})
            assert name in ROWS


def test_the_docs_have_what_the_fields_say() -> None:
    assert (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8") == table()


ADDED = (
    '    brand_new: float = regularisation(0.25, "a new penalty", fixed="no reason", when=["train.l1"], ge=0, le=1)\n'
)
EVERYWHERE = """
import json
from src.config.params import load_params
from src.core.errors import UserError
from src.reports.model_card import model_card
from src.tuning.space import check
from tests.reports.facts import facts
params = load_params()
card = model_card(facts(params=params.replace({"train.l1": 0.1}))).splitlines()
try:
    check(params.replace({"tune.space": {"train.brand_new": {"low": 0.0, "high": 1.0}}}))
except UserError as error:
    refused = str(error)
print(json.dumps({
    "recorded": params.flat()["train.brand_new"],
    "card": [line for line in card if "brand_new" in line],
    "idle": [line for line in model_card(facts(params=params)).splitlines() if "brand_new" in line],
    "refused": refused,
}))
"""


def test_a_new_parameter_is_one_line(tmp_path: Path) -> None:
    for name in ("src", "tests/reports"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    for name in ("params.yaml", "dvc.yaml", "requirements.lock", "tests/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    fields = tmp_path / "src/config/sections.py"
    text = fields.read_text(encoding="utf-8")
    fields.write_text(text.replace("    l1: float", f"{ADDED}    l1: float"), encoding="utf-8")

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    python("-m", "src.params", "--write")
    assert "  brand_new: 0.25               # a new penalty (with l1)\n" in (tmp_path / "params.yaml").read_text(
        encoding="utf-8"
    )
    row = "| `train.brand_new` | `0.25` | float >= 0 and <= 1 | a new penalty (with l1) | no: no reason |"
    assert row in (tmp_path / "docs/parameters.md").read_text(encoding="utf-8")
    assert (tmp_path / "dvc.yaml").read_text(encoding="utf-8").count("- train.brand_new\n") == 1
    assert "train.brand_new" in python("-m", "src.params")
    assert json.loads(python("-c", EVERYWHERE)) == {
        "recorded": 0.25,
        "card": ["| `brand_new` | `0.25` | a new penalty |"],
        "idle": [],
        "refused": "tune.space.train.brand_new cannot be searched: no reason",
    }
