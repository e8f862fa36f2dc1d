"""nn.Linear beside torch.nn.Linear, over the inputs of PyTorch's own module tests."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.testing._internal.common_modules import module_db

from pyneural import nn
from pyneural.ops.activations import VALUES
from tests.tolerances import FLOAT64_GRADIENT, assert_close

FLOAT32 = 1e-5  # two summations of float32 in different orders, through second derivatives
INFO = next(info for info in module_db if info.module_cls is torch.nn.Linear)


def pairs():
    """(torch's layer, ours with its parameters, arguments, keywords) of each input."""
    for dtype in (torch.float64, torch.float32):
        for sample in INFO.module_inputs_func(
            INFO, device="cpu", dtype=dtype, requires_grad=True, training=True
        ):
            options = sample.constructor_input
            theirs = torch.nn.Linear(*options.args, **options.kwargs).to(dtype)
            ours = nn.Linear(*options.args, **options.kwargs).to(dtype)
            ours.load_state_dict(theirs.state_dict())
            yield theirs, ours, sample.forward_input.args, sample.forward_input.kwargs


PAIRS = list(pairs())


@pytest.mark.parametrize("case", range(len(PAIRS)))
def test_torchs_own_inputs(case):
    theirs, ours, args, kwargs = PAIRS[case]
    results = []
    for layer in (theirs, ours):
        leaves = [a.detach().clone().requires_grad_() for a in args]
        y = layer(*leaves, **kwargs)
        tensors = [*leaves, *layer.parameters()]
        grads = torch.autograd.grad(y.square().sum(), tensors, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in grads), tensors)
        results.append([y, *grads, *second])
    for a, b in zip(*results, strict=True):
        assert_close(b, a, FLOAT64_GRADIENT if a.dtype == torch.float64 else FLOAT32)


def test_same_start_under_a_seed_and_state_both_ways():
    torch.manual_seed(3)
    theirs = torch.nn.Linear(5, 4)
    torch.manual_seed(3)
    ours = nn.Linear(5, 4, activation="relu")
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert isinstance(ours, torch.nn.Linear)


@pytest.mark.parametrize("activation", VALUES)
def test_activation(activation):
    layer, x = nn.Linear(5, 4, activation=activation), torch.randn(7, 5)
    exact = VALUES[activation](torch.nn.functional.linear(x, layer.weight, layer.bias))
    torch.testing.assert_close(layer(x), exact)


def test_unknown_activation():
    with pytest.raises(ValueError, match=r"Linear: activation: expected one of tanh, .* 'swish'"):
        nn.Linear(5, 4, activation="swish")


def test_repr():
    plain = "Linear(in_features=2, out_features=3, bias=True"
    assert repr(nn.Linear(2, 3)) == f"{plain})"
    assert repr(nn.Linear(2, 3, activation="relu")) == f"{plain}, activation='relu')"


def test_what_torch_does_with_modules():
    layer, x = nn.Linear(5, 4, activation="tanh").double(), torch.randn(7, 5).double()
    exact = layer(x)
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same(x), exact)
    doubled = {name: 2 * value for name, value in layer.state_dict().items()}
    found = torch.func.functional_call(layer, doubled, x)
    linear = torch.nn.functional.linear(x, doubled["weight"], doubled["bias"])
    torch.testing.assert_close(found, torch.tanh(linear))
    seen = []
    layer.register_forward_hook(lambda module, args, output: seen.append(output))
    layer.register_full_backward_hook(lambda module, grads, outputs: seen.append(outputs[0]))
    layer(x).sum().backward()
    assert torch.equal(seen[0], exact)
    assert len(seen) == 2
    torch.nn.utils.parametrizations.weight_norm(layer)
    torch.testing.assert_close(layer(x), exact)
    compiled = torch.compile(nn.Linear(5, 4, activation="silu"), fullgraph=True)
    assert compiled(x.float()).shape == (7, 4)
