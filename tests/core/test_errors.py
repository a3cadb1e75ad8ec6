import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from src.core.errors import UserError, require_file, run_command

ROOT = Path(__file__).parents[2]


def raiser(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("a is b; allowed is c"), 2, "error: a is b; allowed is c\n"),
        (KeyboardInterrupt(), 130, "\nstopped by Ctrl-C\n"),
    ],
)
def test_what_a_person_causes_is_a_sentence_and_an_exit_status(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run_command(raiser(error))
    assert exit_.value.code == status
    assert capsys.readouterr() == ("", message)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(raiser(ZeroDivisionError()))


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")


@pytest.mark.parametrize(
    ("lines", "reader", "shown"),
    [(100_000, "head -n 1", "a line\n"), (1, "true", "")],  # the second one goes before anything is written
)
def test_a_reader_that_went_away_is_no_error(lines: int, reader: str, shown: str) -> None:
    main = f"lambda: (time.sleep(0.2), print('a line\\n' * {lines}))"
    code = f"import time; from src.core.errors import run_command; run_command({main})"
    pipe = f'{sys.executable} -c "{code}" | {reader}; exit ${{PIPESTATUS[0]}}'
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    result = subprocess.run(["bash", "-c", pipe], cwd=ROOT, env=buffered, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, shown, "")


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    with pytest.raises(
        UserError, match=rf"^{path} is missing; create it with `dvc repro prepare` or `python -m src\.prepare`$"
    ):
        require_file(path, "prepare")
    path.write_text("{}")
    assert require_file(path, "prepare") == path
    with pytest.raises(UserError, match="is missing"):
        require_file(tmp_path, "prepare")
