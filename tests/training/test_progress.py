"""The progress bar on terminals of several widths and in files."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest

from pyneural.training import LBFGS
from pyneural.training.callbacks import Progress
from tests.training.problems import small_trainer

TERMS = {"initial": 1.23e-3, "boundary": 4.5e-16, "residual": 12.0}
LOSSES = "initial=1.2e-03 boundary=4.5e-16 residual=1.2e+01"


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes stderr a terminal of a width and returns one that reads from it."""
    controller, terminal = pty.openpty()
    stream = os.fdopen(terminal, "w", encoding="utf-8")

    def of_width(width):
        # Not before the test: pytest sets stderr itself when one begins.
        monkeypatch.setattr(sys, "stderr", stream)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        return lambda: os.read(controller, 4096).decode()

    yield of_width
    stream.close()
    os.close(controller)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, re.escape(f"L-BFGS  47%  {LOSSES}"[:59])),
        (70, re.escape(f"L-BFGS  47%  {LOSSES}")),
        (80, rf"L-BFGS  47%\|█[^|]{{3}}\| \S+ left  {re.escape(LOSSES)}"),
        (0, rf"L-BFGS  47%\|█[^|]{{3}}\| \S+ left  {re.escape(LOSSES)}"),  # it is not known
        (120, rf"L-BFGS  47%\|█{{9}}[^|]{{11}}\| 6,110/13,000 \S+<\S+  {re.escape(LOSSES)}"),
        (160, rf".*  {re.escape(LOSSES)}  evaluations=7,000"),
    ],
)
def test_losses_in_one_line(terminal, width, shown):
    read = terminal(width)
    bar = Progress()
    bar.begin(13_000)
    bar.show("L-BFGS", 6_110, TERMS, 7_000)
    line = read()
    assert len(line) == (width or 80)
    assert re.fullmatch(shown + r" *\r", line)
    bar.on_close()
    assert read() == " " * (len(line) - 1) + "\r"


def test_terminal_without_unicode_gets_ascii(terminal):
    read = terminal(120)
    sys.stderr.reconfigure(encoding="ascii")
    bar = Progress()
    bar.begin(100)
    bar.show("Adam", 50, TERMS, 50)
    assert "50%|##########          |" in read()


def test_in_a_file_a_line_each_time(capsys, monkeypatch):
    monkeypatch.setattr("pyneural.training.callbacks.progress._IN_FILE", 0.0)
    small_trainer(phases=[LBFGS(4)], progress=True).fit()
    lines = capsys.readouterr().err.split("\n")
    assert lines.pop() == ""
    assert all(re.fullmatch(r"L-BFGS .* residual=\S+  evaluations=\d+", line) for line in lines)
    # It moves inside a step of L-BFGS, too.
    assert {"evaluations=1", "evaluations=3"} < {line.split()[-1] for line in lines}
    assert " 2/4 " in "".join(lines)


def test_none_where_none_is_wanted(capsys):
    small_trainer(phases=[LBFGS(2)], progress=False).fit()
    assert capsys.readouterr().err == ""
