"""In processes of their own: a signal handler belongs to the whole process."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SWALLOWED = """
import os, signal
from src import interrupts
from src.errors import run_command

class Finaliser:
    def __del__(self):  # what is raised here is printed and forgotten by Python
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))

def main():
    Finaliser()
    print("went on", flush=True)
    for round in range(3):
        interrupts.check()
        print("round", round, flush=True)

run_command(main)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    # Where the tests themselves run in the background, SIGINT may be ignored, and the process would inherit that.
    command = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    return subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_swallowed_ctrl_c_ends_the_loop_at_its_next_round() -> None:
    result = run(SWALLOWED)
    assert (result.returncode, result.stdout) == (130, "went on\n")
    assert "Exception ignored in" in result.stderr
    assert result.stderr.endswith("stopped by Ctrl-C\n")


def test_without_the_check_a_swallowed_ctrl_c_is_lost() -> None:
    result = run(SWALLOWED.replace("interrupts.check()", "pass"))
    assert (result.returncode, result.stdout) == (0, "went on\nround 0\nround 1\nround 2\n")


def test_check_raises_once_for_a_signal() -> None:
    code = """
import os, signal
from src import interrupts
interrupts.check()
interrupts.install()
for action in (lambda: os.kill(os.getpid(), signal.SIGINT), interrupts.check, interrupts.check):
    try:
        action()
        print("quiet")
    except KeyboardInterrupt:
        print("raised")
"""
    assert run(code).stdout == "raised\nraised\nquiet\n"


def test_an_ignored_signal_stays_ignored() -> None:
    code = """
import os, signal
from src import interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
interrupts.install()
os.kill(os.getpid(), signal.SIGINT)
interrupts.check()
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""
    result = run(code)
    assert (result.returncode, result.stdout) == (0, "True\n")
