"""Any module as the network of equations, conditions and PINN; hard conditions in one pass."""

from __future__ import annotations

import pytest
import torch

from pyneural import nn, ops
from pyneural.models import PINN
from pyneural.ops.jet import mean_square
from pyneural.pde import Box, Burgers, Dirichlet, Equation, Hard, Initial, Neumann, Periodic
from pyneural.training import Adam


class Heat(Equation):
    inputs, outputs = "tx", "u"

    def __init__(self):
        super().__init__()
        self.nu = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def residual(self, u, x):
        return u.t - self.nu * u.xx + u * u.x - torch.sin(x)


class Plain(torch.nn.Module):
    """A network whose losses are not fused."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)

    def jet(self, x, derivatives):
        return nn.jet(self.network, x, derivatives)


def layers(inputs=2):
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, 6), torch.nn.Tanh(), torch.nn.Linear(6, 6), torch.nn.Tanh(),
        torch.nn.Linear(6, 1),
    )  # fmt: skip


def embedded():
    return torch.nn.Sequential(nn.PeriodicEmbedding("tx", {"x": 2.0}), nn.MLP(3, [6, 6], 1))


def hard(network):
    amplitude = torch.nn.Parameter(torch.tensor(0.7))
    return Hard(network, "tx", lambda x: -amplitude * torch.sin(torch.pi * x),
                lambda t, x: t * torch.exp(x))  # fmt: skip


NETWORKS = {
    "sequential": layers,
    "embedding": embedded,
    "hard": lambda: hard(nn.MLP(2, [6, 6], 1)),
    "hard of an embedding": lambda: hard(embedded()),
    "hard of hard": lambda: Hard(hard(layers()), "tx", 0.0, lambda x: 1 - x**2),
    "scaled": lambda: nn.Scaled(
        hard(embedded()), scale=2.0, shift=torch.nn.Parameter(torch.ones(()))
    ),
    "PirateNet": lambda: nn.PirateNet("tx", 6, blocks=1, nonlinearity=0.5),
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_losses_equal_those_by_plain_evaluation(make, nested, monkeypatch):
    network, heat = make().double(), Heat()
    x = torch.rand(6, 2, dtype=torch.float64)
    fused = []
    real = ops.jet_mlp_loss
    monkeypatch.setattr(mean_square, "jet_mlp_loss", lambda *a: fused.append(a) or real(*a))
    u, u_t, u_x, u_xx = (nested(network, x, i)[:, 0] for i in ((), (0,), (1,), (1, 1)))
    expected = (u_t - heat.nu * u_xx + u * u_x - torch.sin(x[:, 1])).square().mean()
    parameters = [*network.parameters(), heat.nu]
    loss = heat.loss(network, x)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-12)
    ours, theirs = (
        torch.autograd.grad(value, parameters, materialize_grads=True) for value in (loss, expected)
    )
    for mine, yours in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-9, atol=1e-11)
    assert len(fused) == (0 if "Pirate" in type(network).__name__ else 1)


def test_conditions_take_any_module():
    box, network = Box(t=(0, 1), x=(-1, 1)), layers()
    wrapped = Plain(network)
    for condition in (
        Initial(box, lambda x: torch.sin(x), 5),
        Initial(box, 0.0, 5, order=1),
        Dirichlet(box, 0.0, 6),
        Neumann(box, 1.0, 6),
        Periodic(box, "x", 5),
    ):
        torch.testing.assert_close(condition.loss(network), condition.loss(wrapped))
    periodic = Periodic(box, "x", 5, order=3).loss(embedded().double().float())
    assert float(periodic.detach()) < 1e-6


def test_a_pinn_trains_any_module():
    burgers, network = Burgers(), layers()
    pinn = PINN(network, burgers.conditions(20), equation=burgers, points=50)
    before = float(sum(pinn.losses().values()).detach())
    pinn.fit([Adam(20)], progress=False)
    assert float(sum(pinn.losses().values()).detach()) < before
    assert pinn.predict(burgers.domain.sample(7)).shape == (7, 1)


def test_a_network_for_each_output():
    class System(Equation):
        inputs, outputs = "tx", "uv"

        def residual(self, u, v):
            return u.t - v.x, v.xx + u * v

    network = nn.Joined([nn.MLP(2, [5], 1), nn.MLP(1, [5], 1)], [None, (1,)])
    x = torch.rand(5, 2)
    torch.testing.assert_close(System().loss(network, x), System().loss(Plain(network), x))
    with pytest.raises(ValueError, match=r"expected 2 outputs \(u, v\), got 1"):
        System().loss(layers(), x)


@pytest.mark.parametrize(
    "network",
    [
        embedded(),
        torch.nn.Sequential(hard(layers()), torch.nn.Identity()),
        nn.Scaled(embedded()),
        nn.Joined([embedded()]),
        nn.PirateNet("tx", 6),
        Plain(hard(layers())),
    ],
    ids=["sequential", "sequential of hard", "scaled", "joined", "PirateNet", "user's"],
)
def test_names_of_inputs_are_compared_through_compositions(network):
    class Swapped(Equation):
        inputs, outputs = "xt", "u"

        def residual(self, u):
            return u.t - u.xx

    with pytest.raises(ValueError, match=r"Swapped: network: expected the inputs x, t.*got t, x"):
        Swapped().loss(network, torch.rand(3, 2))
    box = Box(x=(-1, 1), t=(0, 1))
    with pytest.raises(ValueError, match=r"Dirichlet: network: .*got t, x"):
        Dirichlet(box, 0.0, 4).loss(network)


def test_kinks_in_lift_and_distance_are_refused():
    network = Hard(nn.MLP(1, [4], 1), "x", lift=lambda x: torch.relu(x), distance=1.0)
    with pytest.raises(ValueError, match="relu: expected first derivatives only"):
        network.jet(torch.rand(3, 1), [(0, 0)])


def test_a_network_whose_last_layer_was_replaced():
    network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    network, x = network.double(), torch.rand(5, 2, dtype=torch.float64)
    heat = Heat()
    heat.loss(network, x)
    network[2] = torch.nn.Linear(4, 2).double()
    with pytest.raises(ValueError, match=r"expected 1 outputs \(u\), got 2"):
        heat.loss(network, x)


class Doubled(nn.MLP):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    network = nn.MLP(2, [6], 1)
    network.register_forward_hook(lambda module, inputs, u: 2 * u)
    return network


def with_own_forward():
    network = nn.MLP(2, [6], 1)
    inner = network.forward
    network.forward = lambda x: 2 * inner(x)
    return network


@pytest.mark.parametrize("make", [lambda: Doubled(2, [6], 1), hooked, with_own_forward])
def test_an_mlp_that_does_more_than_its_layers(make):
    network, x = make().double(), torch.rand(5, 2, dtype=torch.float64)
    plain = nn.MLP(2, [6], 1).double()
    plain.load_state_dict(network.state_dict())
    heat, wanted = Heat(), [(0,), (1, 1)]
    expected = [2 * part for part in plain.jet(x, wanted)]
    torch.testing.assert_close(list(network.jet(x, wanted)), expected)
    scaled = nn.Scaled(plain, scale=torch.tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(heat.loss(network, x), heat.loss(scaled, x))
    torch.testing.assert_close(heat.residuals(network, x), heat.residuals(scaled, x))
    with pytest.raises(ValueError, match=r"MLP.jet_jacobian: layers: .*or forward; differentiate"):
        network.jet_jacobian(x, wanted)


def test_the_divergence_of_an_mlp_that_does_more_than_its_layers():
    field, x = Doubled(2, [6], 2).double(), torch.rand(5, 2, dtype=torch.float64)
    jacobians = torch.stack([torch.autograd.functional.jacobian(field, point) for point in x])
    torch.testing.assert_close(field.divergence(x)[1], jacobians.diagonal(dim1=1, dim2=2).sum(1))


@pytest.mark.parametrize("given", [nn.MLP(2, [4], 1), torch.nn.Sequential(nn.MLP(2, [4], 1))])
def test_joined_networks_are_a_list(given):
    with pytest.raises(ValueError, match=r"Joined: networks: expected a list of networks, got .*"):
        nn.Joined(given)
