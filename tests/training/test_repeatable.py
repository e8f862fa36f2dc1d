"""Solvers that compare losses refuse layers that change them from call to call."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pyneural import layers
from pyneural.training import (
    LBFGS,
    SPRING,
    SSBFGS,
    Adam,
    GaussNewtonCG,
    LevenbergMarquardt,
    SSBroyden,
    Trainable,
    Trainer,
)

SOLVERS = {
    "LevenbergMarquardt": LevenbergMarquardt(3),
    "GaussNewtonCG": GaussNewtonCG(3),
    "SSBroyden": SSBroyden(3),
    "SSBFGS": SSBFGS(3),
    "LBFGS": LBFGS(3),
}
X = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]


class Fit(Trainable):
    """Least squares of a network with a layer in it, at all points at once."""

    def __init__(self, layer):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(1, 4), layer, nn.Linear(4, 1)).double()
        self.network(X)  # makes the layers of Keras
        self.evaluated = 0

    def residuals(self):
        self.evaluated += 1
        return (self.network(X) - X.sin())[:, 0] / len(X) ** 0.5

    def losses(self, batch):
        return {"loss": self.residuals().square().sum()}

    def least_squares(self, batch):
        return {"loss": self.residuals}


def fit(layer, phase):
    model = Fit(layer)
    return model, Trainer(model, [phase], progress=False)


VARY = {
    "dropout": (lambda: nn.Dropout(0.1), r"got Dropout with p=0.1 .*; set p to 0, or train with"),
    "its kin": (lambda: nn.AlphaDropout(0.2), "got AlphaDropout with p=0.2"),
    "dropout of Keras": (lambda: layers.Dropout(0.3), "got Dropout with rate=0.3 .*set rate to 0"),
    "statistics": (lambda: nn.BatchNorm1d(4), "got BatchNorm1d with averages .*; leave it out"),
    "slopes": (lambda: nn.RReLU(), "got RReLU with random slopes .*; take LeakyReLU"),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("case", VARY)
def test_refused_before_anything_is_computed(solver, case):
    make, text = VARY[case]
    model, trainer = fit(make(), SOLVERS[solver])
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=rf"{solver}: layer 'network.1': expected .* {text}"):
        trainer.fit()
    assert model.evaluated == 0
    assert all(map(torch.equal, before, model.parameters()))


class Frozen(nn.BatchNorm1d):
    """As in evaluation, whatever the mode of the model."""

    def train(self, mode=True):
        return super().train(False)


@pytest.mark.parametrize(
    "make", [lambda: nn.Dropout(0.0), lambda: Frozen(4).train(), lambda: nn.LayerNorm(4)]
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_layers_that_give_the_same_are_taken(solver, make):
    model, trainer = fit(make(), SOLVERS[solver])
    trainer.fit()
    assert model.evaluated > 0


def test_frozen_normalisation_of_keras():
    layer = layers.BatchNormalization(input_shape=(4,))
    layer.trainable = False
    fit(layer, LBFGS(3))[1].fit()
    with pytest.raises(ValueError, match=r"layer 'network.1.norm': .* got BatchNorm1d"):
        fit(layers.BatchNormalization(input_shape=(4,)), LBFGS(3))[1].fit()


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU])
def test_dropout_between_recurrent_layers(make):
    class Sequence(Fit):
        def __init__(self, count, dropout):
            super().__init__(nn.Identity())
            options = {"num_layers": count, "dropout": dropout}
            self.network = make(1, 1, **options).double()

        def residuals(self):
            return (self.network(X)[0] - X)[:, 0]

    with pytest.raises(ValueError, match=r"layer 'network': .*dropout=0.2 .*; set dropout to 0"):
        Trainer(Sequence(2, 0.2), [LBFGS(2)], progress=False).fit()
    Trainer(Sequence(2, 0.0), [LBFGS(2)], progress=False).fit()


@pytest.mark.parametrize("phase", [Adam(3), SPRING(3)])
@pytest.mark.parametrize("layer", [nn.Dropout(0.1), nn.BatchNorm1d(4)])
def test_solvers_of_single_points_take_them(phase, layer):
    fit(layer, phase)[1].fit()
