"""The diagnosis on curves of real trainings that were made to have each fault."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pyneural import plots
from pyneural.demos.loss_doctor import TRAINING_FAULTS
from pyneural.training import History, Sequential, diagnose

FAULTS = [name for name in TRAINING_FAULTS if name != "good"]


@pytest.mark.filterwarnings("ignore:fit. the loss became")
@pytest.mark.parametrize("seed", [0, 1, 2, 5])
@pytest.mark.parametrize("label", FAULTS)
def test_each_fault_is_named_and_no_other(label, seed):
    diagnosis = TRAINING_FAULTS[label](seed, ()).diagnose()
    assert label in diagnosis.labels
    # What the fault hinders may be unfinished, too.
    assert set(diagnosis.labels) <= {label, "still learning"}
    finding = diagnosis.findings[diagnosis.labels.index(label)]
    assert str(finding) == f"{label}: {finding.reason}; {finding.suggestion}"
    assert any(character.isdigit() for character in finding.reason) or "nan" in finding.reason


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_good_training_has_none(seed):
    diagnosis = TRAINING_FAULTS["good"](seed, ()).diagnose()
    assert diagnosis.labels == ()
    assert str(diagnosis).startswith("nothing wrong")


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_units_do_not_matter(scale):
    curve = np.array([1.0, 0.8, 0.66, 0.55, 0.47, 0.40, 0.35, 0.31, 0.27, 0.24])
    assert diagnose(curve * scale).labels == diagnose(curve).labels == ("still learning",)


@pytest.mark.parametrize(
    ("fall", "label"), [(0.07, "learning rate too low"), (0.2, "still learning")]
)
def test_a_loss_that_falls_evenly_is_not_flat(fall, label):
    assert diagnose(np.exp(-np.linspace(0, fall, 25))).labels == (label,)


@pytest.mark.parametrize(
    ("rate", "label", "text"),
    [
        (0.0, "learning rate too low", "the loss stays the same within 0.01 %"),
        (300.0, "learning rate too high", "the loss was lowest in epoch 1"),
    ],
)
def test_a_network_that_learns_nothing_is_not_healthy(rate, label, text):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 4, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    torch.manual_seed(0)
    model = Sequential([nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(-1)])
    model.compile(partial(torch.optim.SGD, lr=rate), "sparse_categorical_crossentropy")
    diagnosis = model.fit(x, y, epochs=12, verbose=0).diagnose()
    assert diagnosis.labels == (label,)
    assert text in str(diagnosis)


def test_a_loss_that_climbs_slowly_back_is_not_healthy():
    curve = np.concatenate([np.linspace(1, 0.2, 10), np.linspace(0.2, 0.9, 20)])
    assert diagnose(curve).labels == ("learning rate too high",)
    assert "lowest in epoch 10" in str(diagnose(curve))


@pytest.mark.parametrize(("end", "labels"), [(1.0, ()), (0.5, ("still learning",))])
def test_more_epochs_are_advised_only_where_they_help_new_samples(end, labels):
    training = np.exp(-np.linspace(0, 3, 50))
    fallen = np.exp(-np.linspace(0, 3, 20))
    held_out = np.concatenate([fallen, fallen[-1] * np.linspace(1, end, 30)])
    assert diagnose(training, 4 * held_out).labels == labels


def test_a_loss_of_zero_is_flat():
    assert diagnose([1.0, 0.1, *[0.0] * 20]).labels == ()
    assert diagnose([0.0] * 10, [0.0] * 10).labels == ()


def test_too_few_epochs_or_other_lengths():
    short = diagnose([1.0, 0.9, 0.8], [1.0, 0.7, 0.9])
    assert short.labels == ("too few epochs",)
    assert "fell, from 1 to 0.8, the validation loss was best in epoch 2 (0.7)" in str(short)
    assert "did not fall, from 1 to 1.5" in str(diagnose([1.0, 1.5]))
    assert "no epochs" in str(History().diagnose())
    assert diagnose([1.0], [float("nan")]).labels == ("too few epochs",)
    assert diagnose([1.0, 2.5]).labels == ("diverged",)
    with pytest.raises(ValueError, match=r"val_loss: expected 10 epochs.*got 9"):
        diagnose([1.0] * 10, [1.0] * 9)


FALLING = -3 + 4 * 0.8 ** np.arange(30)  # from 1 to -3, as of the logarithm of a density


@pytest.mark.parametrize(
    ("loss", "val_loss", "label"),
    [
        (FALLING, None, ()),
        (FALLING, FALLING + 0.1, ()),
        (FALLING - 5, None, ()),  # below 0 from the first epoch on
        (FALLING[:12], None, ("still learning",)),
        (FALLING, FALLING + 0.1 * np.arange(30), ("overfitting",)),
        (np.concatenate([FALLING[:15], FALLING[:15][::-1]]), None, ("learning rate too high",)),
        (np.full(20, -2.0), None, ("learning rate too low",)),
        (np.append(FALLING, np.nan), None, ("diverged",)),
        (np.array([-1.0, -1.2, -1.5]), None, ("too few epochs",)),
    ],
)
def test_losses_below_zero(loss, val_loss, label):
    assert diagnose(loss, val_loss).labels == label
    assert diagnose(loss * 1e6, None if val_loss is None else val_loss * 1e6).labels == label


def test_history_pads_a_curve_that_begins_later_and_plots(tmp_path):
    history = History()
    history.append(0, {"loss": 1.0})
    history.append(1, {"loss": 0.01, "val_loss": 0.5})
    assert np.isnan(history["val_loss"][0])
    assert repr(history) == "History(2 epochs: loss=0.01, val_loss=0.5)"
    pytest.importorskip("matplotlib")
    figure = history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 0
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert [line.get_label() for line in axes.lines] == ["training", "validation"]
    assert axes.lines[0].get_xdata().tolist() == [1, 2]
    with pytest.raises(ValueError, match="at least one epoch"):
        plots.learning_curves({})
