"""What fit prints, and that nothing is read from the device for it before it is due."""

import re

from pyneural.training.callbacks.progress import BAR, LINE, SILENT, Bar


def test_values_are_read_only_when_shown(clock, capsys):
    def forbidden():
        raise AssertionError("they are not due")

    for verbose in (SILENT, BAR, LINE):
        bar = Bar(10, verbose)
        bar.begin("Epoch 1/2")
        clock[0] += 0.09  # less than the shortest time between two displays
        bar.look(1, forbidden)
        assert (bar.due == float("inf")) == (verbose != BAR)
        bar.close()
    assert capsys.readouterr().err == ""


def test_bar_has_epoch_steps_values_and_time_left(clock, capsys):
    bar = Bar(600, BAR, passes=20)
    bar.begin("Epoch 5/20", number=4)
    for step in (1, 100, 200, 300):
        clock[0] = 1000 + 0.1 * step
        bar.look(step, lambda: {"loss": 0.12345, "mae": 12.0})
    (shown,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"Epoch 5/20:  50%\|\S+ *\| 300/600 00:30<00:30  loss=0.1235, mae=12  15:30 in all", shown
    )
    bar.end(600, {"loss": 0.1})
    assert capsys.readouterr().err == ""  # an epoch that ends before a line is due
    bar.close()
    assert "600/600 00:30<00:00  loss=0.1  " in capsys.readouterr().err


def test_passes_of_unknown_length(clock, capsys):
    for _ in Bar(None, BAR).over("predict", range(70)):
        clock[0] += 1.0
    first, second, last = capsys.readouterr().err.splitlines()
    assert (first, second, last) == ("predict: 30 00:30", "predict: 60 01:00", "predict: 70 01:10")
