import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from src.doctor.machine import check_device, check_disk
from tests.conftest import SAMPLE


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "level"), [(1.9, "problem"), (2.1, "warning"), (7.9, "warning"), (8.1, "ok")])
def test_room(free: float, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**12, 0, int(free * 10**9)))
    found = list(check_disk(Path("somewhere")))
    assert [one.level for one in found] == [level, level]
    assert found[0].text == f"{free} GB free for the project (somewhere)"
    assert found[0].advice == ("" if level == "ok" else "make room; 8 GB are enough")


@pytest.mark.parametrize(("wanted", "levels"), [("auto", ["ok"]), ("cpu", ["ok"]), ("cuda", ["ok", "problem"])])
def test_device(wanted: str, levels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("src.doctor.machine.GPU", tmp_path / "no such device")
    Path("params.yaml").write_text(SAMPLE.read_text().replace("device: auto ", f"device: {wanted} "))
    found = list(check_device())
    assert [one.level for one in found] == levels
    assert ": cpu, 1 threads" in found[0].text
    if wanted == "cuda":
        assert found[1].text == "train.device is cuda, but PyTorch sees no CUDA GPU here; use auto or cpu"


def test_a_gpu_that_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("src.doctor.machine.GPU", tmp_path)
    shutil.copy(SAMPLE, "params.yaml")
    (finding,) = check_device()
    assert (finding.level, finding.advice) == ("warning", "update the GPU's driver, or install a PyTorch with CUDA")
    assert finding.text.endswith("; the GPU of this machine is not used")
