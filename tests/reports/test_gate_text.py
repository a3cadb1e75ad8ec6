from src.evaluation.bootstrap import Estimate
from src.evaluation.gate import ClassChange, Ruling
from src.reports import gate_text

CLASSES = (
    ClassChange("Boot", 0.95, 0.9, Estimate(0.05, 0.01, 0.09)),
    ClassChange("Bag", 0.8, 0.9, Estimate(-0.1, -0.15, -0.05)),
)
KEPT = Ruling(
    "kept",
    ("its objective is higher: +0.500 [+0.100, +0.900]",),
    Estimate(1.5, 1.2, 1.8),
    Estimate(1.0, 0.8, 1.2),
    Estimate(0.5, 0.1, 0.9),
    CLASSES,
    0.004,
    0.87,
)
FIRST = Ruling("promoted", ("there was no champion",), Estimate(1.5, 1.2, 1.8), None, None, (), 0.004, 0.87)


def test_sentences() -> None:
    assert gate_text.sentence("gan/3", "gan/2", KEPT) == (
        "gan/3 does not become champion, gan/2 stays: its objective is higher: +0.500 [+0.100, +0.900]"
    )
    assert gate_text.sentence("gan/1", None, FIRST) == "gan/1 becomes champion: there was no champion"


def test_tags_hold_every_number() -> None:
    tags = gate_text.tags(KEPT, "gan/2")
    assert tags == {
        "gate.decision": "kept",
        "gate.reasons": "its objective is higher: +0.500 [+0.100, +0.900]",
        "gate.champion": "gan/2",
        "gate.objective": "1.5000 [1.2000, 1.8000]",
        "gate.champion.objective": "1.0000 [0.8000, 1.2000]",
        "gate.difference": "0.5000 [0.1000, 0.9000]",
        "gate.worst.class": "Bag: -0.1000 [-0.1500, -0.0500]",
        "gate.copied_share": "0.0040",
        "gate.coverage": "0.8700",
    }
    assert gate_text.tags(FIRST, None)["gate.difference"] == ""


def test_the_report() -> None:
    text = gate_text.markdown("gan/3", "gan/2", KEPT, ["Both were scored again."])
    assert "| objective | 1.500 [1.200, 1.800] | 1.000 [0.800, 1.200] | +0.500 [+0.100, +0.900] |" in text
    assert "| Bag | 0.800 | 0.900 | -0.100 [-0.150, -0.050] |" in text
    assert text.endswith("\nBoth were scored again.\n")
    assert "no champion" in gate_text.markdown("gan/1", None, FIRST)
