"""Quantisation by torch.ao: the same layers are quantised as of torch's, with the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch.ao.quantization import (
    QConfigMapping,
    default_dynamic_qconfig,
    float16_dynamic_qconfig,
    quantize_dynamic,
)
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from pyneural import nn

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize"),
    pytest.mark.skipif(
        not torch.backends.quantized.supported_engines[1:], reason="torch has no quantised kernels"
    ),
]


class First(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


CASES = {
    "Linear": lambda nn: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)),
    "LSTM": lambda nn: First(nn.LSTM(8, 4)),
    "GRU": lambda nn: First(nn.GRU(8, 4, bidirectional=True)),
    "encoder": lambda nn: nn.TransformerEncoderLayer(8, 2, 16, 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_as_torchs(name):
    x, found = torch.randn(5, 2, 8), []
    for package in (torch.nn, nn):
        torch.manual_seed(0)
        model = CASES[name](package).eval()
        before = model(x)
        quantised = quantize_dynamic(model, {package.Linear, package.LSTM, package.GRU})
        with torch.no_grad():
            found.append(quantised(x))
        assert is_quantised(quantised)
        torch.testing.assert_close(model(x), before)  # the model itself is unchanged
        assert not is_quantised(model)
    torch.testing.assert_close(found[1], found[0])


def is_quantised(model):
    return any("DynamicQuantized" in m._get_name() for m in model.modules())


class Mixed(torch.nn.Module):
    """Layers of several kinds, for which a configuration may be chosen by class or name."""

    def __init__(self, nn):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(8, 8), nn.GRU(8, 8)
        self.cells = nn.ModuleList([nn.LSTMCell(8, 8), nn.RNNCell(8, 8), nn.GRUCell(8, 8)])
        self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
        self.plain = torch.nn.Linear(4, 4)

    def forward(self, x):
        x = self.gru(self.lstm(x)[0])[0]
        for cell in self.cells:
            h = cell(x[0])
            x = x + (h[0] if isinstance(h, tuple) else h)
        return self.plain(self.head(x))


CHOICES = {
    "all": lambda nn: None,
    "torch's class": lambda nn: {torch.nn.Linear},
    "several": lambda nn: {torch.nn.LSTM, nn.GRU, torch.nn.GRUCell},
    "a name": lambda nn: {"head.2", "lstm"},
    "all but a name": lambda nn: {torch.nn.Linear: default_dynamic_qconfig, "head.0": None},
    "a name's parts": lambda nn: {"head": default_dynamic_qconfig},
    "two kinds": lambda nn: {
        torch.nn.Linear: float16_dynamic_qconfig,
        "head": default_dynamic_qconfig,
    },
    "none": lambda nn: {torch.nn.Embedding},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_layers_are_chosen_as_torchs_are(choice):
    x, found, kinds = torch.randn(5, 2, 8), [], []
    for package in (torch.nn, nn):
        torch.manual_seed(0)
        quantised = quantize_dynamic(Mixed(package).eval(), CHOICES[choice](package))
        found.append(quantised(x).detach())
        names = [(name, m._get_name()) for name, m in quantised.named_modules()]
        kinds.append([(name, kind) for name, kind in names if "Quantized" in kind])
    assert kinds[1] == kinds[0]
    assert bool(kinds[0]) == (choice != "none")
    torch.testing.assert_close(found[1], found[0])


def test_a_layer_that_the_user_left_out():
    found = []
    for package in (torch.nn, nn):
        model = Mixed(package)
        model.head[0].qconfig = None
        quantised = quantize_dynamic(model)
        found.append([is_quantised(layer) for layer in quantised.head])
    assert found[0] == found[1] == [False, False, True]


def test_a_class_of_the_user_stays_as_it_is():
    x, found = torch.randn(5, 8), []
    for package in (torch.nn, nn):

        class Twice(package.Linear):
            def forward(self, x):
                return 2 * super().forward(x)

        for choice in (None, {Twice}, {torch.nn.Linear}, {package.Linear}):
            torch.manual_seed(0)
            model = package.Sequential(Twice(8, 4), package.Linear(4, 4)).eval()
            quantised = quantize_dynamic(model, choice)
            assert type(quantised[0]) is Twice
            assert is_quantised(quantised[1]) == (choice != {Twice})
            found.append(quantised(x).detach())
    torch.testing.assert_close(found[4:], found[:4])


def test_by_graph():
    x, found = torch.randn(5, 8), []
    choice = QConfigMapping().set_object_type(torch.nn.Linear, default_dynamic_qconfig)
    for package in (torch.nn, nn):
        torch.manual_seed(0)
        model = package.Sequential(package.Linear(8, 4), package.Tanh(), package.Linear(4, 4))
        quantised = convert_fx(prepare_fx(model.eval(), choice, (x,)))
        assert not torch.equal(quantised(x), model(x))
        found.append(quantised(x))
    torch.testing.assert_close(found[1], found[0])
    choice = QConfigMapping().set_object_type(nn.Linear, default_dynamic_qconfig)
    with pytest.raises(ValueError, match=r"Linear: qconfig: .*set_object_type\(torch\.nn\.Linear"):
        prepare_fx(nn.Sequential(nn.Linear(8, 4)).eval(), choice, (x,))


def test_an_activation_in_the_layer_is_refused():
    model = nn.Sequential(nn.Linear(8, 4, activation="tanh"))
    for choice in ({nn.Linear}, None):
        with pytest.raises(ValueError, match=r"Linear: qconfig: .*activation='tanh'.*of its own"):
            quantize_dynamic(model, choice)
