"""torch.utils.flop_counter counts the ops as it counts torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from pyneural import nn, ops
from tests.ops.continuous_flows import ContinuousFlow
from tests.ops.diffusion_samplers import DiffusionSampler
from tests.ops.flow_layers import FlowLayer

X = torch.randn(5, 3, 8)


def count(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def trained(model, *inputs):
    def call():
        y = model(*inputs)
        (y[0] if isinstance(y, tuple) else y).sum().backward()

    return count(call)


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda nn: nn.Linear(8, 4),
        lambda nn: nn.Linear(8, 4, bias=False),
        lambda nn: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)),
        lambda nn: nn.Sequential(nn.Linear(8, 200), nn.Linear(200, 4)),
    ],
)
def test_linear_layers_count_as_torchs(make, requires_grad):
    found = []
    for package in (torch.nn, nn):
        model, x = make(package), X.clone().requires_grad_(requires_grad)
        with torch.no_grad():
            forward = count(lambda model=model, x=x: model(x))
        found.append((forward, trained(model, x)))
    assert found[0] == found[1]
    assert found[0][0] > 0


T, N, INPUTS, H = 5, 3, 8, 6


@pytest.mark.parametrize(("name", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers(name, gates):
    layer = getattr(nn, name)(INPUTS, H)
    from_x, from_h = 2 * T * N * gates * H * INPUTS, 2 * T * N * gates * H * H
    assert trained(layer, X) == 2 * from_x + 3 * from_h
    assert trained(layer, X.clone().requires_grad_()) == 3 * from_x + 3 * from_h
    with torch.no_grad():
        assert count(lambda: layer(X)) == from_x + from_h


def test_attention():
    q, k = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 9, 8)
    v = torch.randn(2, 4, 9, 6)
    scores, values = 2 * 2 * 4 * 7 * 9 * 8, 2 * 2 * 4 * 7 * 9 * 6
    assert count(lambda: ops.attention(q, k, v)) == scores + values
    leaves = [t.clone().requires_grad_() for t in (q, k, v)]
    assert trained(ops.attention, *leaves) == 4 * scores + 3 * values
    shared = [k[:, :1], v[:, :1]]
    assert count(lambda: ops.attention(q, *shared)) == scores + values


def test_a_whole_encoder_counts_its_products():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    with torch.no_grad():
        found = count(lambda: layer(X))
    products = 2 * 5 * 3 * (3 * 8 * 8 + 8 * 8 + 2 * 8 * 16)
    assert found == products + 2 * 2 * 3 * 2 * 5 * 5 * 4


def test_sparse_layers_count_their_edges():
    layer = nn.MaskedLinear(nn.random_mask(4, 8, 0.75))
    assert trained(layer, X) == 2 * 2 * 15 * 8
    assert trained(layer, X.clone().requires_grad_()) == 3 * 2 * 15 * 8


@pytest.mark.parametrize("inverse", [False, True])
def test_layers_of_flows_count_their_network_once(inverse):
    layer = FlowLayer.random(3, 2, (8, 6), 10, bins=4, dtype=torch.float32)
    products = 2 * 10 * (5 * 8 + 8 * 6 + 6 * 33)
    assert count(lambda: layer.call(ops.autoregressive, inverse=inverse)) == products
    leaves = layer.leaves()
    found = trained(lambda _: leaves.call(ops.autoregressive, inverse=inverse), None)
    assert found == 3 * products


@pytest.mark.parametrize("with_ladj", [False, True])
@pytest.mark.parametrize("context", [0, 2])
def test_continuous_flows_count_their_evaluations(context, with_ladj):
    flow = ContinuousFlow.random(3, context, 1, (8, 6), 10, dtype=torch.float32)
    options = {"steps": 4, "with_ladj": with_ladj}
    first, between, last = 3 * 8, 8 * 6, 6 * 3
    of_context = 8 * context
    path = 25 * (first + between + last) + with_ladj * 21 * between + of_context
    assert count(lambda: flow.call(**options)) == 2 * 10 * path
    evaluation = 3 * (first + between) + 2 * last
    backward = 24 * evaluation + with_ladj * 20 * 3 * between + 2 * of_context
    found = trained(lambda _: flow.leaves().call(**options), None)
    assert found == 2 * 10 * (2 * path + backward)
    assert count(flow.call) == count(lambda: flow.call(steps=1))


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_samplers_count_their_evaluations(guidance):
    sampler = DiffusionSampler.random(3, 2, (8, 6), 10, steps=4, guidance=guidance)
    evaluation = 3 * 8 + 8 * 6 + 6 * 3
    expected = 2 * 10 * (4 * (2 if guidance else 1) * evaluation + 2 * 8)
    assert count(sampler.call) == expected


def test_jets():
    network, x = nn.MLP(2, [5, 6], 1), torch.rand(10, 2)
    first, rest = 2 * 10 * 2 * 5, 2 * 10 * (5 * 6 + 6 * 1)
    # u, u_t, u_x, u_xx
    with torch.no_grad():
        assert count(lambda: network.jet(x, [(0,), (1, 1)])) == first + 4 * rest
    forward_backward = trained(lambda x: network.jet(x, [(0,), (1, 1)])[1], x)
    assert forward_backward == 2 * first + 3 * 4 * rest
    residual = ops.record_residual(lambda jet, x, c: jet[1, 0])
    assert trained(lambda x: network.jet_loss(x, [(0,), (1, 1)], residual), x) == forward_backward
    plan = (*network._folded(), "tanh", [(0,), (1, 1)])
    jacobian = count(lambda: ops.jet_mlp_jacobian(x, *(p for p in plan)))
    assert jacobian == first + 4 * rest + 3 * (first + 2 * 4 * rest)
    fused = x, *plan, residual
    assert trained(lambda x: ops.jet_mlp_residual(x, *plan, residual), x) == forward_backward
    jacobian = count(lambda: ops.jet_mlp_residual_jacobian(*fused))
    assert jacobian == first + 4 * rest + first + 2 * 4 * rest
    rows = sum(p.numel() for p in network.parameters())
    assert count(lambda: ops.jet_mlp_gram(*fused)) == jacobian + rows * (rows + 1) * 10
    for order, products in ((1, 3), (4, 15)):
        path = torch.zeros(order, rows)
        along = count(lambda path=path: ops.jet_mlp_path(*fused, path=path))
        assert along == (order + 1) * first + products * 4 * rest
    with (
        torch.no_grad()
    ):  # the jet of the inputs goes through the first layer as through the others
        inputs = torch.rand(4, 10, 2)
        assert count(lambda: network.jet(inputs, [(0,), (1, 1)])) == 4 * (first + rest)
    assert trained(lambda x: network.jet_loss(x, [(0,), (1, 1)], residual), inputs) == (
        8 * first + 12 * rest
    )


def test_every_op_with_products_has_a_formula():
    schemas = {schema.name for schema in torch._C._jit_get_all_schemas()}
    names = {n.removeprefix("pyneural::") for n in schemas if n.startswith("pyneural::")}
    elementwise = {
        "dropout", "mse_loss", "mse_loss_backward", "attention_keep", "adadelta_", "adam_",
        "multiply_add_probe", "rational_quadratic_spline", "rational_quadratic_spline_backward",
    }  # fmt: skip
    of_equations = {"residual_loss"}  # what pde puts into compiled graphs, made of other ops
    wanted = {n for n in names if not n.startswith("check_")} - elementwise - of_equations
    found = {n for n in wanted if getattr(torch.ops.pyneural, n) in flop_registry}
    assert found == wanted


def test_kalman_filter_and_smoother():
    """n = p = 1: 9 products in a step of the filter, 8 in one of the smoother."""
    one, y = torch.ones(1, 1), torch.randn(2, 10, 1)
    model = one, one, one, one, torch.zeros(2, 1), one
    assert count(lambda: ops.kalman_filter(y, *model)) == 2 * 2 * 10 * 9
    moments = ops.kalman_filter(y, *model)[1:]
    assert count(lambda: ops.kalman_smoother(one, one, *moments)) == 2 * 2 * 9 * 8
    noise = one.clone().requires_grad_()

    def train():
        moments = ops.kalman_filter(y, *model[:3], noise, *model[4:])[1:]
        ops.kalman_smoother(one, one, *moments)[0].sum().backward()

    assert count(train) == 2 * 2 * (10 * (9 + 15) + 9 * (8 + 17))
