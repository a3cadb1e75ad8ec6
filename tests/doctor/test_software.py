import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from src.doctor.software import check_git, check_packages, check_telemetry

HASH = "    --hash=sha256:00"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DVC_NO_ANALYTICS"):
        monkeypatch.delenv(name, raising=False)


def lock(*lines: str) -> Path:
    path = Path("requirements.lock")
    path.write_text("".join(f"{line} \\\n{HASH} \\\n{HASH}\n    # via\n    #   dvc\n" for line in ("# by uv", *lines)))
    return path


def test_all_packages_are_here() -> None:
    here = f"numpy=={metadata.version('numpy')} ; python_full_version >= '3.11'"
    torch = f"torch=={metadata.version('torch').partition('+')[0]}"  # 2.14.1+cu130 is a 2.14.1
    (finding,) = check_packages(lock(here, torch, "pywin32==312 ; sys_platform == 'win32'"))
    assert (finding.level, finding.text[:18]) == ("ok", "all 2 packages of ")


def test_other_and_missing_packages() -> None:
    missing, other = check_packages(lock("numpy==1.0", "no-such-package==2.0", "numpy==0.1 ; sys_platform == 'win32'"))
    assert (missing.level, missing.text) == ("problem", "not installed, of requirements.lock: no-such-package==2.0")
    assert missing.advice == "`make install`"
    numpy = metadata.version("numpy")
    assert (other.level, other.text) == (
        "warning",
        f"other versions than in requirements.lock: numpy {numpy} (not 1.0)",
    )


def test_no_lock() -> None:
    (finding,) = check_packages()
    assert finding.text.startswith("requirements.lock is missing")


def test_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    (none,) = check_git()
    assert (none.level, none.text[:22]) == ("warning", "no git repository here")
    subprocess.run(["git", "init", "-q"], check=True)
    (empty,) = check_git()
    assert "no commit yet" in empty.text
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    (clean,) = check_git()
    assert (clean.level, clean.text.partition(", ")[2]) == ("ok", "the tree is clean")
    Path("new.py").touch()
    (dirty,) = check_git()
    assert (dirty.level, dirty.text.partition(", ")[2]) == ("ok", "1 file differs from it")
    monkeypatch.setenv("PATH", "")
    (missing,) = check_git()
    assert "git is not installed" in missing.text


def test_usage_data(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path("config")
    assert [one.text for one in check_telemetry(config)] == ["DVC sends usage data"]
    config.write_text("[core]\n    analytics = false\n    autostage = false\n['remote \"here\"']\n    url = /tmp/%d\n")
    assert [one.level for one in check_telemetry(config)] == ["ok"]
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    assert [one.text for one in check_telemetry(config)] == ["MLflow sends usage data"]
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    assert [one.level for one in check_telemetry(config)] == ["ok"]
