"""The load test of the server, as short as it can be."""

import shutil

import pytest

from benchmarks import serving
from src.core.errors import UserError


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ab") is None, reason="ApacheBench (ab) is not installed")
def test_a_table_of_rates(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    load = serving.load

    def short(url: str, images: int, form: str, clients: int, seconds: int) -> serving.Answer:
        return load(url, images, form, clients, min(seconds, 1))  # the warm-up too

    monkeypatch.setattr(serving, "load", short)
    serving.main(["--clients", "1", "2", "--images", "1", "--seconds", "1", "--width", "4", "--markdown"])
    rows = [line.split("|")[1:-1] for line in capfd.readouterr().out.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[0]] == [
        "images", "format", "clients", "requests/s", "images/s", "p50 ms", "p99 ms"
    ]  # fmt: skip
    assert [[cell.strip() for cell in row[:3]] for row in rows[2:]] == [
        ["1", "array", "1"],
        ["1", "array", "2"],
        ["1", "png", "1"],
        ["1", "png", "2"],
    ]
    for row in rows[2:]:
        rate, images, median, slowest = (float(cell.replace(",", "")) for cell in row[3:])
        assert rate > 0
        assert abs(images - rate) <= 1
        assert 0 < median <= slowest


def test_without_apachebench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"^ab \(ApacheBench\) is not installed"):
        serving.main([])
