"""Quantisation by torch.ao: what is quantised is right, and what is not says so."""

from __future__ import annotations

import pytest
import torch
from torch.ao.quantization import quantize_dynamic

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


def test_what_is_not_chosen_says_so():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), torch.nn.Linear(4, 2))
    with pytest.warns(UserWarning, match=r"Linear: qconfig: not chosen.*nn\.Linear"):
        quantize_dynamic(model)
    with pytest.warns(UserWarning, match="LSTM: qconfig: not chosen"):
        quantize_dynamic(First(nn.LSTM(8, 4)), {torch.nn.LSTM})


def test_an_activation_in_the_layer_is_refused():
    model = nn.Sequential(nn.Linear(8, 4, activation="tanh"))
    with pytest.raises(ValueError, match=r"Linear: qconfig: .*activation='tanh'.*layer of its own"):
        quantize_dynamic(model, {nn.Linear})
