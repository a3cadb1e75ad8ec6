from pathlib import Path

import pytest

from benchmarks import train_speed

ROOT = Path(__file__).parent.parent


def test_the_speed_of_both_families_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    train_speed.main(["--kimg", "0.2", "--runs", "1", "--batch-size", "32"])
    title, header, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("training, images/s on ")
    assert header.split() == ["family", "batch", "median", "min", "max"]
    assert [row.split()[0] for row in rows] == ["mlp", "dcgan"]
    assert all(float(row.split()[2]) > 0 for row in rows)
