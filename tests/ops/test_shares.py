"""Threads take shares of the rows as they come; which takes which changes no bit."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pyneural import ops
from tests.ops import (
    test_autoregressive,
    test_autoregressive_nll,
    test_continuous_flow,
    test_jet,
    test_jet_loss,
    test_masked_dense,
    test_mlp,
)
from tests.ops.continuous_flows import ContinuousFlow
from tests.ops.flow_layers import FlowLayer
from tests.ops.networks import Network, gradients
from tests.tolerances import assert_close

ROWS = 3001
SINGLE = torch.float32


def mlp():
    network = Network.random((2, 64, 64, 1), ROWS, SINGLE)
    return test_mlp.evaluate(ops.mlp, network, torch.ones(ROWS, 1), "tanh")


def masked_dense():
    tensors, pattern, _, grad_y = test_masked_dense.arguments(ROWS, 40, 30, 0.3, SINGLE)
    case = tensors, pattern, grad_y, "tanh"
    return test_masked_dense.value_and_gradients(ops.masked_dense, *case)


def autoregressive(inverse):
    layer = FlowLayer.random(7, 2, (64, 64), ROWS, dtype=SINGLE)
    grads = test_autoregressive.gradients_like(layer)
    return test_autoregressive.value_and_gradients(
        ops.autoregressive, layer, grads, inverse=inverse
    )


def autoregressive_nll():
    flow = FlowLayer.random(7, 2, (64, 64), ROWS, dtype=SINGLE)
    return test_autoregressive_nll.loss_and_gradients(ops.autoregressive_nll, flow)


def continuous_flow():
    flow = ContinuousFlow.random(7, 2, 3, (32, 32), ROWS, "elu", SINGLE)
    return test_continuous_flow.value_and_gradients(ops.continuous_flow, flow)


def jet_mlp():
    network = Network.random((2, 33, 20, 1), ROWS, SINGLE).leaves()
    output = torch.stack(ops.jet_mlp(*network.parts, "tanh", test_jet.BURGERS))
    return [output, *gradients(output, network, torch.ones_like(output))]


def jet_mlp_loss(with_x):
    network, coefficients = test_jet_loss.subject(ROWS)  # sums are in double
    case = network, coefficients, test_jet_loss.SYSTEM, with_x
    return test_jet_loss.evaluate(ops.jet_mlp_loss, *case)


def jet_mlp_gram():
    network, coefficients = test_jet_loss.subject(ROWS, SINGLE)
    options = "tanh", test_jet_loss.DERIVATIVES, test_jet_loss.SYSTEM, coefficients
    return [*ops.jet_mlp_gram(*network.parts, *options)]


CASES = {
    "mlp": mlp,
    "masked_dense": masked_dense,
    "autoregressive": partial(autoregressive, inverse=False),
    "autoregressive, inverse": partial(autoregressive, inverse=True),
    "autoregressive_nll": autoregressive_nll,
    "continuous_flow": continuous_flow,
    "jet_mlp": jet_mlp,
    "jet_mlp_loss": partial(jet_mlp_loss, with_x=False),
    "jet_mlp_loss, x": partial(jet_mlp_loss, with_x=True),
    "jet_mlp_gram": jet_mlp_gram,
}


@pytest.mark.parametrize("name", CASES)
def test_same_bits_on_every_run(name, threads):
    run = CASES[name]
    threads(1)
    alone = run()
    # Of more threads than processors, the system lets others go first in every run.
    for count in (2, 3, 7):
        threads(count)
        first = run()
        for one, other in zip(first, alone, strict=True):
            assert_close(one, other, 1e-4)
        for _ in range(6):
            assert all(map(torch.equal, run(), first))
