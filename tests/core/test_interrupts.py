"""In processes of their own: a signal handler belongs to the whole process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """
import gc, os, signal, time, weakref
from src.core import interrupts
from src.core.errors import run_command

def press(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    for _ in range(1000):  # somewhere here Python runs the handler
        pass

def wait():
    time.sleep(30)
    print("lost", flush=True)
"""
PLACES = {
    "callback of the garbage collector": """
def callback(phase, info):
    if phase == "start":
        press()
        gc.callbacks.remove(callback)
        print("whole", flush=True)

def work():
    gc.callbacks.append(callback)
    gc.collect()
""",
    "method as such a callback": """
class Counter:
    def count(self, phase, info):
        press()
        gc.callbacks.clear()
        print("whole", flush=True)

def work():
    gc.callbacks.append(Counter().count)
    gc.collect()
""",
    "object as such a callback": """
class Counter:
    def __call__(self, phase, info):
        press()
        gc.callbacks.clear()
        print("whole", flush=True)

def work():
    gc.callbacks.append(Counter())
    gc.collect()
""",
    "finaliser": """
class Finaliser:
    def __del__(self):
        press()
        print("whole", flush=True)

def work():
    Finaliser()
""",
    "callback of a weak reference": """
class Thing:
    pass

def callback(gone):
    print("whole", flush=True)
    press()
    print("never", flush=True)

def work():
    thing = Thing()
    reference = weakref.ref(thing, callback)
    del thing
""",
    "bare except": """
def work():
    try:
        print("whole", flush=True)
        press()
    except BaseException:
        pass
""",
}
"""where Python or a library swallows what a signal raises; ``work`` comes out of it alive"""
KINDS = ("callback of the garbage collector", "callback of a weak reference", "bare except")


def run(code: str) -> subprocess.CompletedProcess[str]:
    # Where the tests themselves run in the background, SIGINT may be ignored, and the process would inherit that.
    command = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    return subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


STOPPED = (130, "whole\n", "\nstopped by Ctrl-C\n")


def outcome(code: str) -> tuple[int, str, str]:
    result = run(HEAD + code)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("place", PLACES)
def test_a_ctrl_c_that_python_swallows_is_raised_a_moment_later(place: str) -> None:
    code = "def main():\n    work()\n    wait()\n\nrun_command(main)"
    assert outcome(PLACES[place] + code) == STOPPED


@pytest.mark.parametrize("place", KINDS)
def test_a_command_that_ends_at_once_was_stopped_all_the_same(place: str) -> None:
    assert outcome(PLACES[place] + "run_command(work)") == STOPPED


@pytest.mark.parametrize("place", KINDS)
def test_what_is_taken_is_raised_no_more(place: str) -> None:
    code = """
def main():
    with interrupts.deferred():  # until it is taken, nothing is raised here
        work()
        time.sleep(0.1)
        print(interrupts.take(), interrupts.take(), flush=True)
    time.sleep(0.1)

run_command(main)
"""
    status, output, errors = outcome(PLACES[place] + code)
    assert (status, output.replace("never\n", ""), errors) == (0, "whole\n2 None\n", "")


@pytest.mark.parametrize("place", KINDS)
def test_the_check_of_a_loop_takes_it(place: str) -> None:
    code = """
interrupts.install()
work()
try:
    interrupts.check()
except KeyboardInterrupt:
    print("raised", flush=True)
interrupts.check()
time.sleep(0.1)
"""
    assert outcome(PLACES[place] + code) == (0, "whole\nraised\n", "")


def test_it_is_raised_again_until_somebody_takes_it() -> None:
    code = """
def work():
    count = 0
    while True:
        try:
            if not count:
                press()
            wait()
        except BaseException as error:
            count += 1
            print(count, error, flush=True)
            if count == 3:
                break
    wait()

run_command(work)
"""
    printed = "".join(f"{count} stopped by SIGTERM\n" for count in (1, 2, 3))
    expected = (143, printed, "\nstopped by SIGTERM\n")
    assert outcome(code.replace("press()", "press(signal.SIGTERM)")) == expected


def test_while_it_is_on_its_way_it_is_not_raised_again() -> None:
    code = """
def main():
    try:
        try:
            press()
        finally:
            time.sleep(0.1)
            print("tidied", flush=True)
    except KeyboardInterrupt as error:
        time.sleep(0.1)
        print("told", flush=True)
        raise RuntimeError from error

try:
    run_command(main)
except RuntimeError:
    time.sleep(0.1)
    print("ended", flush=True)
"""
    assert outcome(code) == (0, "tidied\ntold\nended\n", "")


def test_what_came_before_signals_were_deferred_is_raised_after_it() -> None:
    code = """
def main():
    deferred = interrupts.deferred()
    try:
        press()
    except BaseException:
        deferred.__enter__()
    time.sleep(0.1)
    print("whole", flush=True)
    deferred.__exit__(None, None, None)
    wait()

run_command(main)
"""
    assert outcome(code) == STOPPED


def test_a_second_ctrl_c_is_raised_where_signals_are_deferred() -> None:
    code = """
def main():
    with interrupts.deferred():
        press()
        work()
        wait()

run_command(main)
"""
    assert outcome(PLACES["finaliser"] + code) == STOPPED
    assert outcome(PLACES["bare except"] + code) == STOPPED


def test_a_signal_that_follows_is_raised_for_itself() -> None:
    code = """
interrupts.install()
for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
    try:
        press(number)
    except KeyboardInterrupt as error:
        print(error, interrupts.take())
time.sleep(0.1)
"""
    assert outcome(code) == (0, "stopped by Ctrl-C 2\n" * 2 + "stopped by SIGTERM 15\n", "")


def test_an_ignored_signal_stays_ignored() -> None:
    code = """
import os, signal
from src.core import interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
interrupts.install()
os.kill(os.getpid(), signal.SIGINT)
interrupts.check()
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""
    result = run(code)
    assert (result.returncode, result.stdout) == (0, "True\n")
