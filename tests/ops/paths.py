"""Residuals along paths of parameters, for the tests, with their exact derivatives.

These come from torch's own functions: by interpolation of the residuals at places on the path, and
by nested forward mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain

import torch

from pyneural import ops
from pyneural.ops import Laplacian, LinearOperator, record_residual
from pyneural.ops.jet.derivatives import encode
from tests.ops.jet_oracle import forward_jet, nested_jet
from tests.ops.networks import Network

ORDERS = (1, 2, 3, 4)


def along(network, coefficients, path) -> Callable:
    """tau to the network and the coefficients at that place of the path."""
    parameters = [*chain.from_iterable(zip(network.weights, network.biases, strict=True))]
    parameters.append(coefficients)

    def at(tau):
        offset, moved = 0, []
        for p in parameters:
            part = path[:, offset : offset + p.numel()]
            offset += p.numel()
            series = [tau**j / math.factorial(j) * v for j, v in enumerate(part, 1)]
            moved.append(p + sum(series).view_as(p))
        *layers, factors = moved
        return network.of([network.x, *layers[::2], *layers[1::2]]), factors

    return at


def residuals(case, jet, x, coefficients, columns):
    """[E, N] of a case's residual, evaluated on tensors."""
    arguments = jet.movedim(2, 1), x.T if x.dim() == 2 else None, coefficients
    results = case.residual(*arguments, *(() if columns is None else (columns,)))
    several = results if isinstance(results, tuple) else (results,)
    return torch.stack([r.expand(x.shape[-2]) for r in several])


def interpolated(function, radius=0.15, count=22):
    """Derivatives 1 to 4 at 0 of the polynomial that interpolates a function at Chebyshev's nodes.

    Where the function is analytic around the interval, the error falls like a power of the number
    of nodes: that of central differences without their choice of a step.
    """
    nodes = torch.cos(math.pi * (torch.arange(count).double() + 0.5) / count)
    values = torch.stack([function(radius * float(node)) for node in nodes])
    degrees = torch.arange(count).double()
    chebyshev = torch.cos(degrees * torch.acos(nodes)[:, None])  # [nodes, degrees]
    scale = torch.where(degrees == 0, 1.0, 2.0).double() / count
    coefficients = torch.einsum("nd,n...->d...", chebyshev * scale, values)
    results = []
    for k in ORDERS:
        at_0 = [_chebyshev_derivative(d, k) for d in range(count)]
        results.append(torch.einsum("d,d...->...", torch.tensor(at_0).double(), coefficients))
        results[-1] = results[-1] / radius**k
    return torch.stack(results)


def _chebyshev_derivative(degree, order):
    """The derivative of a Chebyshev polynomial at 0."""
    lower, polynomial = [0.0], [1.0]  # coefficients of powers, from x^0 on
    for d in range(degree):
        higher = [0.0] + [(2 if d else 1) * c for c in polynomial]
        for i, c in enumerate(lower):
            higher[i] -= c
        lower, polynomial = polynomial, higher
        if d == 0:
            lower = [1.0]
    return polynomial[order] * math.factorial(order) if order < len(polynomial) else 0.0


class Case:
    """A residual with what it is called with, and its exact derivatives along a path."""

    def __init__(self, residual, derivatives, widths=(2, 5, 4, 2), *, points=5, count=0, columns=0,
                 has_jet_x=False, activation="tanh", dtype=torch.float64, device="cpu",
                 seed=0):  # fmt: skip
        self.residual, self.derivatives, self.activation = residual, derivatives, activation
        generator = torch.Generator().manual_seed(seed + 1)

        def normal(*shape):
            drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return drawn.to(device, dtype)

        self.network = Network.random(widths, points, dtype, device, seed)
        if has_jet_x:
            channels = 1 + len(ops.input_channels(derivatives))
            x = normal(channels, points, widths[0])
            self.network = self.network.of([x, *self.network.tensors[1:]])
        self.coefficients = normal(count)
        self.columns = normal(columns, points) if columns else None
        size = sum(p.numel() for p in self.network.tensors[1:]) + count
        self.path = 0.4 * normal(4, size)
        self.program = record_residual(residual)

    def found(self, order=4):
        path = self.path[:order]
        return ops.jet_mlp_path(*self.arguments, path=path)

    @property
    def arguments(self):
        options = self.activation, self.derivatives, self.program, self.coefficients, self.columns
        return *self.network.parts, *options

    @property
    def schema(self):
        """The arguments of the op's schema."""
        encoded = encode("", self.derivatives)
        options = self.activation, *map(list, (*encoded, *self.program))
        return *self.network.parts, *options, self.coefficients, self.columns, self.path

    def at(self, tau, jet=nested_jet):
        network, factors = along(self.network, self.coefficients, self.path)(tau)
        values = jet(*network.parts, self.activation, self.derivatives)
        values = torch.stack(tuple(values)) if isinstance(values, tuple) else values
        return residuals(self, values, network.x, factors, self.columns)

    def exact(self):
        return interpolated(lambda tau: self.at(tau).detach())

    def nested(self, order):
        """By nested forward mode."""

        def with_next(function):
            def derivatives(tau):
                values, tangents = torch.func.jvp(function, (tau,), (torch.ones_like(tau),))
                return *values, tangents[-1]

            return derivatives

        def function(tau):
            return (self.at(tau, forward_jet),)

        for _ in range(order):
            function = with_next(function)
        return torch.stack(function(torch.zeros((), dtype=torch.float64))[1:])


def burgers(jet, x, c):
    return jet[1, 0] + jet[0, 0] * jet[2, 1] - c[0] * jet[3, 0] * x[1], jet[0, 1] * jet[3, 1]


def of_columns(jet, x, c, r):
    return jet[1, 0] * r[0] - c[1] * jet[2, 1] / (2 + r[1] ** 2) + c[0], jet[0, 0] ** 2 - r[1]


CASES = {
    "a system": lambda **o: Case(burgers, ((0,), (1,), (1, 1)), count=1, **o),
    "columns": lambda **o: Case(of_columns, ((0,), (0, 1)), count=2, columns=2, **o),
    "a jet of the inputs": lambda **o: Case(
        of_columns, ((0,), (0, 1)), count=2, columns=2, has_jet_x=True, **o
    ),
    "fourth order": lambda **o: Case(
        lambda jet, x, c: jet[1, 0] + jet[2, 1] * jet[0, 0], ((0, 0, 1, 1), (0, 1, 1)), **o
    ),
    "a Laplacian": lambda **o: Case(
        lambda jet, x, c: jet[1, 0] - x[0], (Laplacian(0, 1),), (2, 6, 2), **o
    ),
    "an operator": lambda **o: Case(
        lambda jet, x, c: jet[1, 1] * jet[2, 0],
        (LinearOperator({(0,): 1, (1, 1): -0.3}), (1,)), **o
    ),
    "the value": lambda **o: Case(lambda jet, x, c: jet[0, 0] * x[0] - 1, (), (2, 4, 1), **o),
    "one layer": lambda **o: Case(burgers, ((0,), (1,), (1, 1)), (2, 2), count=1, **o),
    "one layer of a jet": lambda **o: Case(
        of_columns, ((0,), (0, 1)), (3, 2), count=2, columns=2, has_jet_x=True, **o
    ),
    "no network": lambda **o: Case(lambda jet, x, c: c[0] * c[1] ** 2, (), count=2, **o),
}  # fmt: skip
