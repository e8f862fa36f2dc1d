"""The progress bar on terminals of several widths and in files."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest
import torch

from pyneural import interpret, metrics, models, pde
from pyneural.metrics.neighbours import nearest_distances
from pyneural.progress import Pace, progress
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

    def read():
        text = b""
        stream.write("\0")  # the system passes on what was written before it, but maybe later
        stream.flush()
        while not text.endswith(b"\0"):
            text += os.read(controller, 4096)
        return text[:-1].decode()

    def of_width(width):
        # Not before the test: pytest sets stderr itself when one begins.
        monkeypatch.setattr(sys, "stderr", stream)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        return read

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


class Copy:
    """A stream that has no more than a program may need."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_a_stream_that_only_writes_is_a_file(monkeypatch, clock):
    stream = Copy()
    monkeypatch.setattr(sys, "stderr", stream)
    for _ in progress("samples", range(40)):
        clock[0] += 1.0
    assert stream.text.startswith("samples  75%|#")
    assert stream.text.endswith("\n")


def test_nothing_is_shown_without_a_stream(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", None)  # as in a program without a console
    assert sum(1 for _ in progress("samples", _aging(clock, 40))) == 40
    bar = Progress()
    bar.begin(100)
    bar.show("Adam", 50, TERMS, 50)
    bar.on_close()


def _aging(clock, count):
    for item in range(count):
        clock[0] += 1.0
        yield item


def test_terminal_without_unicode_gets_ascii(terminal):
    read = terminal(120)
    sys.stderr.reconfigure(encoding="ascii")
    bar = Progress()
    bar.begin(100)
    bar.show("Adam", 50, TERMS, 50)
    assert "50%|##########          |" in read()


def test_in_a_file_a_line_each_time(capsys, monkeypatch):
    monkeypatch.setattr("pyneural.progress.IN_FILE", 0.0)
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


@pytest.mark.parametrize(("limit", "steps"), [(90, 4000), (90, 30), (10_000, 60), (None, 60)])
@pytest.mark.parametrize("slow", [0, 3])
@pytest.mark.parametrize("where", ["terminal", "file"])
def test_time_left(where, slow, limit, steps, clock, terminal, capsys, monkeypatch):
    """That of the steps or of the limit, whichever ends the training, within a third.

    Slow first steps, which compile and allocate, spoil it until twice as many are done.
    """
    read = terminal(120) if where == "terminal" else lambda: capsys.readouterr().err
    monkeypatch.setattr("pyneural.progress.ON_TERMINAL", 0.0)
    monkeypatch.setattr("pyneural.progress.IN_FILE", 0.0)
    seen = []

    def second(run):
        line = read() if run.steps > 1 else ""  # drawn after the step before this one
        if line:
            seen.append((run.steps - 1, clock[0], line))
        clock[0] += 1 + 0.3 * (run.steps % 2) + 9 * (run.steps <= slow)

    options = {"phases": [Adam(steps)], "callbacks": [Every(1, second)], "progress": True}
    trainer = small_trainer(time_limit=limit, **options)
    trainer.fit()
    assert len(seen) > 20
    assert "<?" in seen[0][2]  # from one step nothing follows
    for _, now, line in seen[max(1, 2 * slow) :]:
        left = clock[0] - now
        shown = seconds_of(re.search(r"<([\d:]+)", line)[1])
        assert abs(shown - left) <= left / 3 + 2, line
        if limit == 90 and steps > 90:
            percent = int(re.search(r"(\d+)%", line)[1])
            assert abs(percent - 100 * (now - 1000) / 90) < 4


def test_time_left_in_phases_of_different_cost(clock, capsys, monkeypatch):
    monkeypatch.setattr("pyneural.progress.IN_FILE", 0.0)
    seen, ends = [], {}

    def step(run):
        line = capsys.readouterr().err
        if " of 2 " in line:
            seen.append((run.phase_step > 1, clock[0], line))
        clock[0] += 0.1 if run.phase == 0 else 5.0
        ends[run.phase + 1] = clock[0]

    phases = [Adam(200), Adam(20)]
    small_trainer(phases=phases, callbacks=[Every(1, step)], progress=True).fit()
    assert len(seen) > 200
    for whole, now, line in seen:
        shown = re.search(r"<([\d:]+)", line)
        if shown and whole:
            left = ends[int(re.search(r"phase (\d) of 2", line)[1])] - now
            assert abs(seconds_of(shown[1]) - left) <= left / 3 + 2, line


@pytest.mark.parametrize("cost", [(3.0, 0.1), (0.1, 0.4)])
def test_time_left_of_a_loop(cost, clock, capsys, monkeypatch):
    """With slow first items, or a pace that changes."""
    monkeypatch.setattr("pyneural.progress.IN_FILE", 0.0)
    lasted, seen = [], []
    for item in progress("samples", range(1000)):
        seen.append((item, clock[0], capsys.readouterr().err))
        clock[0] += cost[item >= 20]
        lasted.append(clock[0])
    right = 0
    for item, now, line in seen[40:]:
        left = lasted[-1] - now
        shown = seconds_of(re.search(r"<([\d:]+)", line)[1])
        right += abs(shown - left) <= left / 3 + 2
        assert f" {item}/1000 " in line
    assert right > 0.99 * len(seen[40:])


def test_only_the_outermost_loop_is_shown(clock, capsys):
    for _ in progress("outer", range(3)):
        for _ in progress("inner", range(20)):
            clock[0] += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("outer  67%|")


def test_a_loop_ends_with_an_error_in_it(clock, capsys):
    def fail():
        for item in progress("first", range(3)):
            1 / item

    with pytest.raises(ZeroDivisionError) as kept:  # with its traceback, as by a notebook
        fail()
    for _ in progress("second", range(3)):
        clock[0] += 20.0
    assert capsys.readouterr().err.startswith("second  67%|")
    assert kept.tb is not None


def test_nothing_is_left_of_a_loop_on_a_terminal(terminal, clock):
    read = terminal(60)
    loop = progress("samples", range(10))
    for _ in range(4):
        next(loop)
        clock[0] += 1.5
    assert read().startswith("samples  20%|")
    loop.close()
    assert read().endswith(" " * 59 + "\r")


def test_a_short_loop_is_not_shown(capsys, clock):
    for _ in progress("samples", range(10)):
        clock[0] += 0.15
    assert capsys.readouterr().err == ""


def long_work():
    """Names, numbers of steps where these are known, and calls that take that many."""
    box, ends = pde.Box(t=(0, 1), x=(0, 2 * torch.pi)), {"x": (lambda u: u, lambda u: u)}
    waves = pde.spectral.Fourier(lambda u: 0.1 * u.xx - u * u.x, box, lambda x: torch.sin(x))
    linear = pde.spectral.Fourier(lambda u: u.xx, box, lambda x: torch.sin(x))
    heat = pde.spectral.Chebyshev(lambda u: u.xx, box, ends, lambda x: 0 * x)
    steady = pde.spectral.Chebyshev(lambda u: u.xx + u**3 + 1, pde.Box(x=(0, 1)), ends)
    kept, moment = waves.solve(32, 20, times=[0.0, 1.0]), torch.tensor([[0.5, 1.0]]).double()
    yield "Fourier.solve, n=32", 20, lambda: waves.solve(32, 20, times=[0.0, 1.0])
    yield "Fourier.solve, n=8", 3, lambda: linear.solve(8, 99, times=[0.2, 0.5, 1.0])
    yield "Fourier: solution", 10, lambda: kept(moment)
    yield "Chebyshev.solve, n=8", 10, lambda: heat.solve(8, 10, times=[0.0, 1.0])
    yield "Chebyshev.solve: Newton", None, lambda: steady.solve(8)
    yield "cole_hopf", 4, lambda: pde.cole_hopf(0.5, torch.linspace(-1, 1, 40), order=100)

    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    vae = models.VariationalAutoencoder([2, 4, 2], "gaussian")
    diffusion = models.DDPM(models.MLPDenoiser(2, [4]), steps=10)
    flow = models.FlowMatching(models.MLPDenoiser(2, [4]))
    yield "log-likelihood", 9, lambda: vae.log_prob(x, samples=100)
    yield "log-likelihood", None, lambda: diffusion.log_prob(x)
    yield "log-likelihood", None, lambda: flow.log_prob(x)
    yield "paths", 10, lambda: diffusion.paths(3, 10)
    yield "paths", None, lambda: flow.paths(3)

    yield "c2st: epochs", None, lambda: metrics.c2st(x, x + 1, epochs=12)
    yield "noise_floor", 5, lambda: metrics.noise_floor(lambda a, b: 1.0, x, repeats=5)
    yield "kernel_distance", 2, lambda: metrics.kernel_distance(x, x)
    yield "sliced_wasserstein", 4, lambda: metrics.sliced_wasserstein(x, x, directions=100)
    yield "distances", 2, lambda: nearest_distances(x, x)

    layer = torch.nn.Linear(2, 1)
    yield "integrated_gradients", 16, lambda: interpret.integrated_gradients(layer, x, steps=16)
    yield "smooth_grad", 8, lambda: interpret.smooth_grad(layer, x, samples=8)
    yield "occlusion", 2, lambda: interpret.occlusion(layer, x)
    yield (
        "activation_maximisation",
        11,
        lambda: interpret.activation_maximisation(layer, (1, 2), bounds=(-1, 1), steps=10),
    )
    yield (
        "randomization_test",
        3,
        lambda: interpret.randomization_test(layer, interpret.saliency, x, repeats=3),
    )


@pytest.mark.filterwarnings("ignore:.*expected a spectrum that decays")
def test_long_work_shows_how_far_it_is(clock, capsys, monkeypatch):
    """Wherever a user waits; each name stands in a line for each step."""
    monkeypatch.setattr("pyneural.progress.IN_FILE", 0.0)
    monkeypatch.setattr("pyneural.progress._QUIET", 0.0)
    noted = Pace.note

    def in_a_second(self, step):
        clock[0] += 1.0
        noted(self, step)

    monkeypatch.setattr(Pace, "note", in_a_second)
    for place, elements in {  # so that little work has several parts
        "pde.exact._CHUNK_ELEMENTS": 1000, "interpret.scores._ELEMENTS": 80,
        "models.autoencoders.variational_autoencoder._ELEMENTS": 1000,
        "metrics.feature_distances._ELEMENTS": 800, "metrics.neighbours._ELEMENTS": 800,
        "metrics.projections._ELEMENTS": 1000,
    }.items():  # fmt: skip
        monkeypatch.setattr(f"pyneural.{place}", elements)
    for name, total, work in long_work():
        capsys.readouterr()
        work()
        lines = capsys.readouterr().err.splitlines()
        assert lines, f"nothing is shown of {name}"
        assert all(line.startswith(name) for line in lines), lines
        if total is None:
            assert re.fullmatch(rf"{re.escape(name)} \d+ [\d:]+", lines[-1]), lines
        else:
            steps = {tuple(map(int, re.search(r" (\d+)/(\d+) ", line).groups())) for line in lines}
            assert {(step, total) for step in range(1, total)} <= steps, (name, lines)


class Widget:
    """tqdm's bar of a notebook, as far as it is used."""

    total, n, bar_format = 1, 0, ""

    def __init__(self):
        self.shown, self.closed = [], False

    def refresh(self):
        self.shown.append((self.n, self.total, self.bar_format))

    def close(self):
        self.closed = True


def test_in_a_notebook_a_bar_of_its_own(clock, monkeypatch, capsys):
    widget = Widget()
    monkeypatch.setattr("pyneural.progress._notebook_bar", lambda: widget)
    for _ in progress("samples", range(4)):
        clock[0] += 3.0
    assert widget.shown[1] == (0.5, 1, "samples  50%{bar} 2/4 00:06<00:06")
    assert widget.closed
    assert not widget.leave
    assert capsys.readouterr().err == ""


def test_time_left_of_a_training_that_goes_on(clock, capsys):
    bar = Progress(time_limit=100)
    bar.begin(10_000, 500, spent=60.0)
    for seconds, left in [(2, "00:38"), (10, "00:30")]:
        clock[0] = 1000.0 + seconds
        bar.show("Adam", 500 + seconds, TERMS, 1)
        assert f"00:{seconds:02}<{left}" in capsys.readouterr().err
