import io
import sys

import pytest

from src.datasets.progress import transfer_progress


def test_a_log_gets_two_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with transfer_progress("file.gz", 2_500_000) as advance:
        advance(2_500_000)
    assert capsys.readouterr().err == "fetching file.gz, 2.5 MB\nfetched file.gz\n"


def test_a_terminal_gets_bytes_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with transfer_progress("file.gz", 2_500_000) as advance:
        advance(2_500_000)
    assert "file.gz" in terminal.getvalue()
    assert "2.5/2.5 MB" in terminal.getvalue()
