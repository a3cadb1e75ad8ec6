import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from src.core.errors import UserError
from src.tuning import pool as crews
from src.tuning.pool import Crew, Job, crew, how_it_ended, share_threads
from tests.tuning import jobs


def until_all_are_gone(team: Crew) -> list[tuple[int, object]]:
    """What is said, by the worker's place."""
    heard, limit = [], time.monotonic() + 60
    while team.members:
        assert time.monotonic() < limit
        heard += [(member.index, word) for member, word in team.listen()]
    return heard


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_have_their_threads_and_their_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with crew(Job(jobs.tell_threads_and_gpu, ("hello",), 1), 2) as team:
        heard = until_all_are_gone(team)
    words = {index: word for index, word in heard if word is not None}
    assert words == {0: ("hello", 1, "4"), 1: ("hello", 1, "7")}
    assert sorted(index for index, word in heard if word is None) == [0, 1]


def test_threads_are_shared_out_and_nobody_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [share_threads(workers) for workers in (1, 3, 8, 20)] == [8, 2, 1, 1]


def test_a_worker_that_dies_is_noticed_and_can_be_replaced_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "MOST_DEATHS", 2)
    with crew(Job(jobs.die, (), 1), 1) as team:
        assert until_all_are_gone_with_codes(team) == [-9]
        team.hire(0)
        with pytest.raises(UserError, match="2 workers have died, the last one by SIGKILL"):
            until_all_are_gone(team)
    assert how_it_ended(-9) == "by SIGKILL"
    assert how_it_ended(1) == "with exit status 1"


def until_all_are_gone_with_codes(team: Crew) -> list[int | None]:
    codes = []
    while team.members:
        codes += [member.process.exitcode for member, word in team.listen() if word is None]
    return codes


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (jobs.end_with_a_sentence, "the classifier is missing"),
        (jobs.end_with_an_accident, "ZeroDivisionError: division by zero"),
    ],
)
def test_an_error_of_a_worker_ends_all_with_its_sentence(run: Callable[..., Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}$"), crew(Job(run, (), 1), 1) as team:
        until_all_are_gone(team)


def test_workers_are_gone_when_the_leader_leaves_however_much_they_talk() -> None:
    pids: list[int] = []

    def lead() -> None:
        with crew(Job(jobs.talk_for_ever, (), 1), 2) as team:
            while len(pids) < 2:
                pids.extend(word for _, word in team.listen() if isinstance(word, int))
            time.sleep(0.5)  # their pipes are full now
            raise RuntimeError("the leader stumbles")

    with pytest.raises(RuntimeError, match="the leader stumbles"):
        lead()
    assert all(gone(pid) for pid in pids)
