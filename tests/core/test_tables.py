from src.core.tables import aligned


def test_columns_are_aligned_to_the_right() -> None:
    rows = [
        {"model": "gan/10", "score": 1.23456, "alias": "candidate, champion"},
        {"model": "gan/9", "score": float("nan"), "alias": ""},
    ]
    assert aligned(rows).splitlines() == [
        " model  score               alias",
        "gan/10 1.2346 candidate, champion",
        " gan/9      -                    ",
    ]
