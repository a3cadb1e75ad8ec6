import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.core.errors import UserError
from src.tuning import workers
from src.tuning.workers import run_processes, share_threads
from tests.tuning import jobs


def not_replaced(index: int, how: str) -> str:
    raise AssertionError(how)


def test_each_worker_has_threads_and_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    run_processes(jobs.write_threads_and_gpu, (tmp_path,), ["one", "two"], lambda ended: None, not_replaced)
    assert {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()} == {
        "one": [1, "4"],
        "two": [1, "7"],
    }
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [share_threads(count) for count in (1, 3, 8, 20)] == [8, 2, 1, 1]


def test_a_dead_worker_is_replaced_a_limited_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MAX_DEATHS", 2)
    replaced: list[tuple[int, str]] = []

    def replace(index: int, how: str) -> str:
        replaced.append((index, how))
        return "two"

    with pytest.raises(UserError, match="2 workers have died, the last one by SIGKILL"):
        run_processes(jobs.die, (), ["one"], lambda ended: None, replace)
    assert replaced == [(0, "by SIGKILL")]


@pytest.mark.parametrize(
    ("run", "sentence"),
    [(jobs.refuse, "the classifier is missing"), (jobs.fail, "ZeroDivisionError: division by zero")],
)
def test_an_error_of_a_worker_is_raised(run: Callable[..., None], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}$"):
        run_processes(run, (), ["one"], lambda ended: None, not_replaced)


def test_all_workers_are_stopped_by_an_exception(tmp_path: Path) -> None:
    def poll(ended: bool) -> None:
        if len(list(tmp_path.iterdir())) == 2:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        run_processes(jobs.poll_until_stopped, (tmp_path,), ["one", "two"], poll, not_replaced)
    assert {path.name for path in tmp_path.glob("*.stopped")} == {"one.stopped", "two.stopped"}
    assert not any(Path("/proc", path.read_text()).exists() for path in tmp_path.glob("[!.]??"))
