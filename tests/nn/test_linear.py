"""Linear beside torch.nn.Linear, and its activation."""

from __future__ import annotations

import pytest
import torch

from pyneural import nn
from pyneural.ops.activations import VALUES
from tests.nn import parity

CASES = parity.cases(torch.nn.Linear, nn.Linear)


@pytest.mark.filterwarnings("ignore:Full backward hook")  # one case gives x by its name
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", parity.CHECKS, ids=parity.name)
def test_parity(check, case):
    check(case)


def test_compiles_in_one_graph():
    parity.check_compile(CASES[0])


def test_distributed(tmp_path):
    parity.check_distributed(CASES[0], f"file://{tmp_path / 'rendezvous'}")


@pytest.mark.parametrize("activation", VALUES)
def test_activation_follows(activation):
    torch.manual_seed(0)
    layer = nn.Linear(5, 3, activation=activation, dtype=torch.float64)
    x = torch.randn(2, 7, 5, dtype=torch.float64)
    plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), VALUES[activation](plain))


def test_repr_is_torchs_and_names_the_activation():
    assert repr(nn.Linear(2, 3)) == repr(torch.nn.Linear(2, 3))
    assert repr(nn.Linear(2, 3, activation="sin")).endswith("bias=True, activation='sin')")


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_counted_exactly(bias):
    count = sum(p.numel() for p in nn.Linear(784, 128, bias).parameters())
    assert count == 784 * 128 + 128 * bias


def test_unknown_activation():
    with pytest.raises(ValueError, match=r"Linear: activation: expected one of tanh, .* 'swish'"):
        nn.Linear(5, 4, activation="swish")
