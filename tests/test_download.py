from pathlib import Path

import pytest

from src import download
from src.core.errors import UserError
from tests.conftest import sample_params


def test_the_dataset_of_params_arrives_in_the_raw_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sample_params(tmp_path, {"data.dataset": "digits"})
    download.main([])
    assert [path.name for path in Path("data/raw").iterdir()] == ["digits.safetensors"]
    assert "source: scikit-learn" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_an_error_of_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample_params(tmp_path, {"data.folder": "nowhere"})
    with pytest.raises(UserError, match=r"params\.yaml: data\.folder: nowhere is not a folder"):
        download.main([])
    assert not Path("data").exists()
