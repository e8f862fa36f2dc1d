"""The progress bar on terminals of several widths and in files."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time

import pytest

from pyneural.training import LBFGS, Adam
from pyneural.training.callbacks import Every, Progress
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


def seconds_of(text):
    """Of tqdm's 01:02:03 or 02:03."""
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


@pytest.fixture
def clock(monkeypatch):
    """A list of the time, which stands still."""
    now = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("limit", "steps"), [(90, 4000), (90, 30), (10_000, 60), (None, 60)])
@pytest.mark.parametrize("where", ["terminal", "file"])
def test_time_left(where, limit, steps, clock, terminal, capsys, monkeypatch):
    """That of the steps or of the limit, whichever ends the training, within a third."""
    read = terminal(120) if where == "terminal" else lambda: capsys.readouterr().err
    monkeypatch.setattr("pyneural.training.callbacks.progress._ON_TERMINAL", 0.0)
    monkeypatch.setattr("pyneural.training.callbacks.progress._IN_FILE", 0.0)
    seen = []

    def second(run):
        line = read() if run.steps > 1 else ""  # drawn after the step before this one
        if line:
            seen.append((run.steps - 1, line))
        clock[0] += 1 + 0.3 * (run.steps % 2)

    options = {"phases": [Adam(steps)], "callbacks": [Every(1, second)], "progress": True}
    trainer = small_trainer(time_limit=limit, **options)
    trainer.fit()
    lasted = clock[0] - 1000
    assert len(seen) > 20
    for step, line in seen:
        left = lasted - 1.15 * step
        shown = seconds_of(re.search(r"<([\d:]+)", line)[1])
        assert abs(shown - left) <= left / 3 + 2, line
        if limit == 90 and steps > 90:
            percent = int(re.search(r"(\d+)%", line)[1])
            assert abs(percent - 100 * 1.15 * step / 90) < 4


def test_time_left_of_a_training_that_goes_on(clock, capsys):
    bar = Progress(time_limit=100)
    bar.begin(10_000, 500, spent=60.0)
    for seconds, left in [(1, "00:39"), (10, "00:30")]:
        clock[0] = 1000.0 + seconds
        bar.show("Adam", 500 + seconds, TERMS, 1)
        assert f"00:{seconds:02}<{left}" in capsys.readouterr().err
