"""What fit prints, and that nothing is read from the device for it before it is due."""

import sys
import time

from pyneural.training.callbacks.progress import BAR, LINE, SILENT, Bar


def test_values_are_read_only_when_shown(capsys):
    for verbose in (SILENT, BAR, LINE):
        bar = Bar(10, verbose)
        bar.begin("Epoch 1/2")
        assert bar.due > time.perf_counter() + (5 if sys.stderr.isatty() else 20) * (verbose == BAR)
        assert (bar.due == float("inf")) == (verbose != BAR)
        bar.close()


def test_bar_has_epoch_steps_values_and_time_left(capsys):
    bar = Bar(600, BAR)
    bar.begin("Epoch 5/20")
    time.sleep(0.01)
    bar.show(300, lambda: {"loss": 0.12345, "mae": 12.0})
    shown = capsys.readouterr().err.split("\r")[-1]
    assert shown.startswith("Epoch 5/20:  50%|")
    assert "300/600 [00:00<00:0" in shown
    assert shown.rstrip().endswith("loss=0.1235, mae=12]")
    bar.end(600, {"loss": 0.1})
    assert capsys.readouterr().err.endswith("loss=0.1]\n")
