import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from src.doctor import machine
from src.doctor.machine import check_device, check_disk, check_git, check_packages, check_telemetry
from tests.conftest import SAMPLE

HASH = "    --hash=sha256:00"
NUMPY = metadata.version("numpy")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DVC_NO_ANALYTICS"):
        monkeypatch.delenv(name, raising=False)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "level"), [(1.9, "problem"), (2.1, "warning"), (7.9, "warning"), (8.1, "ok")])
def test_disk(free: float, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**12, 0, int(free * 10**9)))
    found = list(check_disk())
    assert [one.level for one in found] == [level, level]
    assert found[0].text == f"{free} GB free for the project ({Path.cwd()})"
    assert found[0].advice == ("" if level == "ok" else "free some space; 8 GB are enough")


@pytest.mark.parametrize(
    ("wanted", "gpu", "levels"),
    [
        ("auto", "no such device", ["ok"]),
        ("cpu", "no such device", ["ok"]),
        ("cuda", "no such device", ["ok", "problem"]),
        ("auto", "", ["warning"]),
    ],
)
def test_device(wanted: str, gpu: str, levels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(machine, "GPU", tmp_path / gpu)
    Path("params.yaml").write_text(SAMPLE.read_text().replace("device: auto ", f"device: {wanted} "))
    found = list(check_device())
    assert [one.level for one in found] == levels
    assert ": cpu, 1 threads" in found[0].text
    if wanted == "cuda":
        assert found[1].text == "train.device is cuda, but PyTorch sees no CUDA GPU here; use auto or cpu"
    if not gpu:
        assert found[0].advice == "update the GPU's driver, or install a PyTorch with CUDA"
        assert found[0].text.endswith("; the GPU of this machine is not used")


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (
            [
                f"numpy=={NUMPY} ; python_full_version >= '3.11'",
                f"torch=={metadata.version('torch').partition('+')[0]}",  # 2.14.1+cu130 is a 2.14.1
                "pywin32==312 ; sys_platform == 'win32'",
            ],
            [("ok", "all 2 packages of requirements.lock are installed")],
        ),
        (
            ["numpy==1.0", "no-such-package==2.0", "numpy==0.1 ; sys_platform == 'win32'"],
            [
                ("problem", "not installed, of requirements.lock: no-such-package==2.0"),
                ("warning", f"other versions than in requirements.lock: numpy {NUMPY} (not 1.0)"),
            ],
        ),
        ([], [("warning", "requirements.lock is missing, so versions are not checked")]),
    ],
)
def test_packages(lines: list[str], found: list[tuple[str, str]]) -> None:
    if lines:
        text = "".join(f"{line} \\\n{HASH} \\\n{HASH}\n    # via\n    #   dvc\n" for line in ("# by uv", *lines))
        Path("requirements.lock").write_text(text)
    assert [(one.level, one.text) for one in check_packages()] == found


def test_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))

    def said() -> tuple[str, str]:
        (finding,) = check_git()
        return finding.level, finding.text

    level, text = said()
    assert (level, text[:25]) == ("warning", "git: not a git repository")
    subprocess.run(["git", "init", "-q"], check=True)
    assert said()[0] == "warning"  # without a commit
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    Path("some.py").touch()
    subprocess.run(["git", "add", "some.py"], check=True)
    subprocess.run(["git", *identity, "commit", "-q", "-m", "first"], check=True)
    level, text = said()
    assert (level, text[:8], len(text)) == ("ok", "git: at ", 15)
    Path("some.py").write_text("changed")
    assert said() == ("ok", f"{text}, with uncommitted changes")
    monkeypatch.setenv("PATH", "")
    assert said() == ("warning", "git is not installed: runs cannot record their code")


def test_usage_data(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path("config")
    assert [one.text for one in check_telemetry(config)] == ["DVC sends usage data"]
    config.write_text("[core]\n    analytics = false\n    autostage = false\n['remote \"here\"']\n    url = /tmp/%d\n")
    assert [one.level for one in check_telemetry(config)] == ["ok"]
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    assert [one.text for one in check_telemetry(config)] == ["MLflow sends usage data"]
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    assert [one.level for one in check_telemetry(config)] == ["ok"]
