"""Diagonal of the neural tangent kernel of residuals, by the jets of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.nn import MLP
from pyneural.nn.plain import is_plain_affine
from pyneural.ops import Derivative

_ELEMENTS = 1 << 22  # of the Jacobian that is held at once
Residuals = Callable[[Any], Sequence[Tensor]]  # of a network; one row a point each


def kernel_means(network: torch.nn.Module, residuals: Residuals) -> list[float]:
    """Mean over the points of the kernel's diagonal, for each residual.

        k = (1 / N) tr K = (1 / N) sum_n sum_o |dr_o(x_n) / dtheta|^2

    with theta the trained parameters of the network. For an ``nn.MLP`` whose residuals are made
    point by point this is the Jacobian of its jets (``ops.jet_mlp_jacobian``), on as many points at
    a time as there is memory for; else a backward pass for each row.

    Args:
        network: gives ``jet(x, derivatives)``.
        residuals: gives them, [N] or [N, O] each, for a network.

    >>> from pyneural.pde import Burgers
    >>> burgers, network = Burgers(), MLP(2, [8], 1)
    >>> points = burgers.domain.sample(9)
    >>> (k,) = kernel_means(network, lambda u: burgers.residuals(u, points))
    >>> k > 0
    True
    """
    if isinstance(network, MLP) and all(map(is_plain_affine, network.layers)):
        tape = _Tape(network)
        columns = [_columns(part) for part in residuals(tape)]
        if all(_is_by_point(column, tape) for part in columns for column in part):
            return [sum(_by_jacobian(column, network, tape) for column in p) for p in columns]
    parameters = [p for p in network.parameters() if p.requires_grad]
    with torch.enable_grad():
        columns = [_columns(part) for part in residuals(network)]
        return [sum(_by_rows(column, parameters) for column in part) for part in columns]


class _Call(NamedTuple):
    """What the residuals asked the network for: points [M, D] and channels [M, O] of their jets."""

    x: Tensor
    derivatives: tuple[Derivative, ...]
    channels: tuple[Tensor, ...]


class _Tape:
    """A network that notes what it is asked for, and whose answers are independent variables."""

    def __init__(self, network: MLP) -> None:
        self.network, self.calls = network, list[_Call]()
        self.in_features, self.out_features = network.in_features, network.out_features

    def __call__(self, x: Tensor) -> Tensor:
        return self.jet(x, ())[0]

    def jet(self, x: Tensor, derivatives: Sequence[Derivative]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            found = self.network.jet(x, derivatives) if derivatives else (self.network(x),)
        channels = tuple(channel.detach().requires_grad_() for channel in found)
        self.calls.append(_Call(x.detach(), tuple(derivatives), channels))
        return channels

    @property
    def variables(self) -> list[Tensor]:
        return [channel for call in self.calls for channel in call.channels]


def _columns(residual: Tensor) -> list[Tensor]:
    """The residuals of each output, [N]."""
    return [residual] if residual.dim() == 1 else list(residual.unbind(1))


def _slopes(column: Tensor, tape: _Tape, factors: Tensor) -> list[Tensor]:
    """Gradients of sum_n factors_n r_n for the variables, [M, O] each."""
    if not column.requires_grad:
        return [torch.zeros_like(variable) for variable in tape.variables]
    total = torch.dot(column, factors)
    return list(
        torch.autograd.grad(
            total, tape.variables, retain_graph=True, materialize_grads=True, allow_unused=True
        )
    )


def _is_by_point(column: Tensor, tape: _Tape) -> bool:
    """Whether r_n depends on rows n, n + N, n + 2 N, ... of the variables alone."""
    count = len(column)
    if any(len(variable) % count for variable in tape.variables):
        return False
    signs = torch.where(torch.arange(count, device=column.device) * 7 % 11 < 5, 1.0, -0.5)
    signs = signs.to(column)  # any factors that differ
    plain = _slopes(column, tape, torch.ones_like(signs))
    signed = _slopes(column, tape, signs)
    return all(
        torch.allclose(a * signs.repeat(len(a) // count)[:, None], b, rtol=1e-4, atol=1e-12)
        for a, b in zip(plain, signed, strict=True)
    )


def _by_jacobian(column: Tensor, network: MLP, tape: _Tape) -> float:
    """(1 / N) sum_n |dr_n/dtheta|^2 by the chain rule through the variables."""
    count, outputs = len(column), network.out_features
    slopes = iter(_slopes(column, tape, torch.ones_like(column)))
    by_call = [torch.cat([next(slopes) for _ in call.channels], 1) for call in tape.calls]
    trained = torch.cat([torch.full((p.numel(),), p.requires_grad) for p in network.parameters()])
    channels = sum(len(c.channels) * (len(c.x) // count) for c in tape.calls) * outputs
    size = max(1, _ELEMENTS // (channels * len(trained)))
    total = 0.0
    with torch.no_grad():
        for start in range(0, count, size):
            rows: Any = 0.0  # of the Jacobian of the residuals, [size, P]
            for call, weights in zip(tape.calls, by_call, strict=True):  # weights [M, (1 + K) O]
                for first in range(start, len(call.x), count):
                    chosen = slice(first, first + min(size, count - start))
                    jacobian = network.jet_jacobian(call.x[chosen], call.derivatives)
                    rows = rows + torch.einsum("nk,nkp->np", weights[chosen], jacobian)
            total += float((rows * trained.to(rows)).square().sum())
    return total / count


def _by_rows(column: Tensor, parameters: Sequence[Tensor]) -> float:
    """(1 / N) sum_n |dr_n/dtheta|^2, a backward pass for each n."""
    if not column.requires_grad:
        return 0.0
    total = 0.0
    for row in column:
        found = torch.autograd.grad(row, parameters, retain_graph=True, allow_unused=True)
        total += sum(float(g.square().sum()) for g in found if g is not None)
    return total / len(column)
