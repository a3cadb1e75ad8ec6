"""Several workers on one machine: processes that the caller starts, listens to, and replaces when they die."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from ..core import interrupts
from ..core.device import pin_gpu
from ..core.errors import UserError
from ..core.interrupts import Stopped

LISTEN_SECONDS = 1.0
MOST_DEATHS = 10
"""So many workers of a crew may die without a word before it gives up."""
Speak = Callable[[object], None]


@dataclass(frozen=True)
class Job:
    """What a worker process does; it is pickled, so ``run`` is a function of a module."""

    run: Callable[..., None]
    """called with ``speak`` first, and then with the arguments"""
    arguments: tuple[Any, ...]
    threads: int
    """of PyTorch on a CPU"""


@dataclass
class Member:
    """One worker process, as its leader sees it."""

    index: int
    process: BaseProcess
    ear: Connection
    name: str = ""
    """how it calls itself in the study: the first thing it says"""


@dataclass
class Crew:
    """The worker processes of one call."""

    job: Job
    size: int
    members: dict[int, Member] = field(default_factory=dict)
    deaths: int = 0

    def hire(self, index: int) -> None:
        """Start a worker."""
        context = multiprocessing.get_context("spawn")  # a fork would copy PyTorch's threads, and CUDA forbids it
        ear, mouth = context.Pipe(duplex=False)
        process = context.Process(target=_life, args=(self.job, index, mouth), name=f"worker {index + 1}")
        process.start()
        mouth.close()
        self.members[index] = Member(index, process, ear)

    def listen(self) -> Iterator[tuple[Member, object]]:
        """What the workers say within a second. A worker that is gone says None last, and is no member any more.

        Raises UserError for a worker that ended with an error of its own, or when too many have died.
        """
        ears = {member.ear: member for member in self.members.values()}
        for ear in wait(list(ears), LISTEN_SECONDS):
            member = ears[ear]  # type: ignore[index]
            try:
                word = member.ear.recv()
            except (EOFError, OSError):
                yield self._part_with(member), None
                continue
            if isinstance(word, Failure):
                raise UserError(word.sentence)
            yield member, word

    def _part_with(self, member: Member) -> Member:
        member.process.join()
        del self.members[member.index]
        if member.process.exitcode:
            self.deaths += 1
            if self.deaths >= MOST_DEATHS:
                raise UserError(
                    f"{self.deaths} workers have died, the last one {how_it_ended(member.process.exitcode)}"
                )
        return member

    def dismiss(self) -> None:
        """Let every worker save its training and end; a second Ctrl-C ends them at once."""
        for member in self.members.values():
            member.process.terminate()
        try:
            for member in self.members.values():
                while member.process.is_alive():
                    with suppress(EOFError, OSError):  # a full pipe would hold it up
                        while member.ear.poll(0.1):
                            member.ear.recv()
                    member.process.join(0.1)
        except KeyboardInterrupt:
            for member in self.members.values():
                member.process.kill()
            raise


@dataclass(frozen=True)
class Failure:
    """A worker's last words when it ends with an error."""

    sentence: str


@contextmanager
def crew(job: Job, size: int) -> Iterator[Crew]:
    """Start ``size`` workers; afterwards they are gone, whatever happened."""
    workers = Crew(job, size)
    try:
        for index in range(size):
            workers.hire(index)
        yield workers
    finally:
        workers.dismiss()


def share_threads(workers: int) -> int:
    """A worker's share of PyTorch's threads."""
    return max(1, torch.get_num_threads() // workers)


def how_it_ended(exitcode: int | None) -> str:
    """An exit code in words."""
    if exitcode is not None and exitcode < 0:
        return f"by {signal.Signals(-exitcode).name}"
    return f"with exit status {exitcode}"


def _life(job: Job, index: int, mouth: Connection) -> None:
    """A worker process from its start to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the leader passes it on
    interrupts.install()
    pin_gpu(index)
    torch.set_num_threads(job.threads)

    def speak(word: object) -> None:
        try:
            mouth.send(word)
        except OSError:  # nobody listens any more: the leader was killed
            interrupts.note(signal.SIGTERM)

    try:
        job.run(speak, *job.arguments)
    except Stopped as stopped:
        os._exit(128 + stopped.number)
    except UserError as error:
        speak(Failure(str(error)))
    except Exception as error:
        import traceback

        traceback.print_exc()
        speak(Failure(f"{type(error).__name__}: {error}"))
