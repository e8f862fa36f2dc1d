"""PINNs of all kinds, small, in float64."""

from __future__ import annotations

import math

import torch

from pyneural import models, nn, pde

BOX = pde.Box(t=(0, 1), x=(-1, 1))
DTYPE = torch.float64


class Burgers(pde.Equation):
    inputs, outputs, domain = "tx", "u", BOX

    def residual(self, u, x):
        return u.t + u * u.x - 0.1 * u.xx - torch.sin(x)


class Learned(Burgers):
    """With coefficients to learn, one of them by its logarithm."""

    def __init__(self):
        super().__init__()
        self.speed = number(0.8)
        self.log_nu = number(-2.0)

    def residual(self, u):
        return u.t + self.speed * u * u.x - torch.exp(self.log_nu) * u.xx


class Field(Burgers):
    """With a field of coefficients that is a network."""

    def __init__(self, width=3):
        super().__init__()
        self.k = nn.MLP(1, [width], 1).double()

    def residual(self, u, x):
        return u.t - self.k(x[:, None])[:, 0] * u.xx


class Clamped(Burgers):
    """With an operation that programs do not have."""

    def residual(self, u):
        return u.t - torch.atan(u.x) - 0.1 * u.xx


class System(pde.Equation):
    inputs, outputs, domain = "tx", "uv", BOX

    def residual(self, u, v):
        return u.t - v.x + 0.5 * u.xx, v.t + u * u.x, u.x - v


class Low(torch.nn.Module):
    """A fixed matrix and one of low rank that is trained, for torch's parametrisations."""

    def __init__(self, rows, columns):
        super().__init__()
        self.a = torch.nn.Parameter(torch.randn(rows, 1, dtype=DTYPE) / 2)
        self.b = torch.nn.Parameter(torch.randn(1, columns, dtype=DTYPE) / 2)

    def forward(self, weight):
        return weight.detach() + self.a @ self.b


def number(value):
    return torch.nn.Parameter(torch.tensor(value, dtype=DTYPE))


def mlp(outputs=1, inputs=2, **options):
    network = nn.MLP(inputs, [5, 4], outputs, **options).double()
    for layer in network.layers:
        torch.nn.init.normal_(layer.bias, std=0.3)
    return network


def drawing():
    return {"generator": torch.Generator().manual_seed(0), "dtype": DTYPE}


def conditions(domain=BOX, value=None):
    value = (lambda x: -torch.sin(math.pi * x)) if value is None else value
    return {
        "initial": pde.Initial(domain, value, 7, output=0, **drawing()),
        "slope": pde.Neumann(domain, 0.5, 4, output=0, **drawing()),
    }


def pinn(network=None, equation=None, given=None, points=11, **options):
    equation = Burgers() if equation is None else equation
    network = mlp(len(equation.outputs)) if network is None else network
    given = conditions() if given is None else given
    return models.PINN(network, given, equation=equation, points=points, **options)


def factorized():
    layers = [nn.FactorizedLinear(2, 5), torch.nn.Tanh(), nn.FactorizedLinear(5, 4),
              torch.nn.Tanh(), nn.FactorizedLinear(4, 1)]  # fmt: skip
    return torch.nn.Sequential(*layers).double()


def low_rank():
    network = mlp()
    torch.nn.utils.parametrize.register_parametrization(network.layers[1], "weight", Low(4, 5))
    network.layers[1].parametrizations.weight.original.requires_grad_(False)
    return network


def weight_norm():
    network = mlp()
    torch.nn.utils.parametrizations.weight_norm(network.layers[1])
    return network


def frozen(*layers):
    network = mlp()
    for layer in layers:
        network.layers[layer].requires_grad_(False)
    return network


def tied():
    network = nn.MLP(2, [5, 5, 5], 1).double()
    network.layers[2].weight = network.layers[1].weight
    return network


def hard(**options):
    lift = options.pop("lift", lambda x: -torch.sin(math.pi * x))
    return pde.Hard(mlp(**options), "tx", lift=lift, distance=lambda t, x: t * (1 - x**2))


def embedded():
    first = nn.PeriodicEmbedding("tx", {"x": 2.0})
    return torch.nn.Sequential(first, mlp(inputs=3))


def fourier():
    return torch.nn.Sequential(nn.FourierFeatures(2, 3), mlp(inputs=6)).double()


def learned_lift():
    c = number(0.7)
    return hard(lift=lambda x: c * x)


def unknown_values():
    c = number(0.4)
    return conditions(value=lambda x: c * torch.cos(x) + c**3)


def robin():
    h = number(1.5)
    part = {"domain": BOX, "part": "x_high", **drawing()}
    return {"robin": pde.Operator(lambda u: u.n + torch.exp(h) * (u - 1), 5, **part)}


def integral():
    nodes = torch.rand(3, 6, 2, dtype=DTYPE)
    weights = torch.full((6,), 1 / 6, dtype=DTYPE)
    mass = pde.Operator(lambda u: u**2, nodes, inputs="tx", quadrature=weights, value=0.3)
    return {"mass": mass, **conditions()}


def periodic():
    return {"ring": pde.Periodic(BOX, "x", 5, **drawing()), **conditions()}


FAR = pde.Box(t=(2020, 2021), x=(-1, 1))


class FarBurgers(Burgers):
    domain = FAR


# Which terms a kernel computes.
FUSED = {
    "plain": lambda: pinn(),
    "input_range": lambda: pinn(mlp(input_range=BOX.range)),
    "far from zero": lambda: pinn(mlp(input_range=FAR.range), FarBurgers(), conditions(FAR)),
    "hard": lambda: pinn(hard(), given={}),
    "hard with a range": lambda: pinn(hard(input_range=BOX.range), given={}),
    "periodic embedding": lambda: pinn(embedded()),
    "Fourier features": lambda: pinn(fourier()),
    "scaled": lambda: pinn(nn.Scaled(mlp(), input_range=BOX.range, scale=3.0, shift=1.0).double()),
    "learned scale": lambda: pinn(nn.Scaled(mlp(), scale=number(3.0), shift=1.0).double()),
    "system": lambda: pinn(equation=System()),
    "coefficients": lambda: pinn(mlp(input_range=BOX.range), Learned()),
    "Robin": lambda: pinn(given=robin()),
    "frozen": lambda: pinn(frozen(0)),
    "mostly frozen": lambda: pinn(frozen(0, 1)),
    "tied": lambda: pinn(tied()),
    "factorized": lambda: pinn(factorized()),
    "low rank": lambda: pinn(low_rank()),
    "weight norm": lambda: pinn(weight_norm()),
    "integral": lambda: pinn(given=integral()),
    "ring": lambda: pinn(given=periodic()),
    "ring of a range": lambda: pinn(mlp(input_range=BOX.range), given=periodic()),
    "sequential": lambda: pinn(torch.nn.Sequential(*_sequential()).double()),
}
# Those that a kernel computes but for trained columns.
FIELDS = {
    "learned lift": lambda: pinn(learned_lift(), given={}),
    "joined": lambda: pinn(nn.Joined([mlp(), mlp()]), System()),
    "field": lambda: pinn(equation=Field()),  # of fewer parameters than there are points
    "wide field": lambda: pinn(equation=Field(20)),
    "unknown values": lambda: pinn(given=unknown_values()),
}
OTHERS = {
    "another function": lambda: pinn(equation=Clamped()),
    "modified": lambda: pinn(nn.ModifiedMLP(2, 4, layers=2).double()),
}


def _sequential():
    return torch.nn.Linear(2, 5), torch.nn.SiLU(), torch.nn.Linear(5, 1)
