import os
import time
from collections.abc import Callable

import pytest
import torch

from src.core.errors import UserError
from src.tuning import workers
from src.tuning.workers import Crew, crew, share_threads
from tests.tuning import jobs


def messages(team: Crew) -> list[tuple[int, object]]:
    """What the workers report until all have ended, with their index; the end of one is its exit status."""
    heard, limit = [], time.monotonic() + 60
    while team.members:
        assert time.monotonic() < limit
        heard += [
            (member.index, member.process.exitcode if message is None else message) for member, message in team.listen()
        ]
    return heard


def test_each_worker_has_threads_and_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with crew(jobs.tell_threads_and_gpu, ("hello",), 2) as team:
        assert len({member.name for member in team.members.values()}) == 2
        heard = messages(team)
    assert sorted(heard, key=str) == [(0, ("hello", 1, "4")), (0, 0), (1, ("hello", 1, "7")), (1, 0)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [share_threads(count) for count in (1, 3, 8, 20)] == [8, 2, 1, 1]


def test_a_dead_worker_can_be_replaced_a_limited_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MAX_DEATHS", 2)
    with crew(jobs.die, (), 1) as team:
        assert messages(team) == [(0, -9)]
        team.start(0)
        with pytest.raises(UserError, match="2 workers have died, the last one by SIGKILL"):
            messages(team)


@pytest.mark.parametrize(
    ("run", "sentence"),
    [(jobs.refuse, "the classifier is missing"), (jobs.fail, "ZeroDivisionError: division by zero")],
)
def test_an_error_of_a_worker_is_raised(run: Callable[..., None], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}$"), crew(run, (), 1) as team:
        messages(team)


def test_workers_end_with_the_context_even_if_their_pipes_are_full() -> None:
    def lead(pids: list[object]) -> None:
        with crew(jobs.tell_for_ever, (), 2) as team:
            while len(pids) < 2:
                pids += [message for _, message in team.listen() if isinstance(message, int)]
            time.sleep(0.5)
            raise RuntimeError("stop")

    pids: list[object] = []
    with pytest.raises(RuntimeError, match="stop"):
        lead(pids)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(pid)), 0)
