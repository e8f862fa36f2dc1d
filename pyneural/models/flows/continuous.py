"""Continuous normalizing flows: the transform is the solution of a differential equation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor as is_mapped
from torch.distributions import constraints

from pyneural import ops
from pyneural.models.flows.columns import check_counts
from pyneural.models.flows.conditioner import MLP, plan_of
from pyneural.models.flows.flow import Bounds, Flow
from pyneural.models.flows.lazy import LazyTransform, standard_normal, with_context
from pyneural.models.flows.transforms import FlowTransform
from pyneural.ode import odeint
from pyneural.ops.reference.continuous_flow import LADJ_SCALE
from pyneural.ops.transforms import by_torch_func


class FFJTransform(LazyTransform):
    """y = x(1) with dx/dt = u(t, x, c), x(0) = x: free-form, as u is any network.

        log |det dy/dx| = int_0^1 tr(du/dx) dt

    The network sees the time as cos(k pi t) and sin(k pi t), k = 1, ..., F. The inverse is the same
    equation backwards in time.

    Args:
        features: number of features D.
        context: number of context features C.
        freqs: number F of frequencies.
        atol: absolute tolerance of ``odeint``.
        rtol: relative tolerance of ``odeint``.
        exact: whether the trace is exact, or e^T (du/dx) e with a random e that is the same along
            the path: unbiased, but noisy.
        network: further arguments of the network, ``conditioner.MLP``; its activation is
            ``torch.nn.ELU`` unless given.

    Sources: Chen et al. 2018, arXiv:1806.07366, eq. 8; Grathwohl et al. 2018, arXiv:1810.01367.

    >>> transform, x = FFJTransform(3, context=4)(torch.zeros(4)), torch.randn(5, 3)
    >>> torch.allclose(transform.inv(transform(x)), x, atol=1e-4)
    True
    """

    times: Tensor
    freqs: Tensor

    def __init__(
        self,
        features: int,
        context: int = 0,
        freqs: int = 3,
        atol: float = 1e-6,
        rtol: float = 1e-5,
        exact: bool = True,
        **network: Any,
    ) -> None:
        super().__init__()
        network.setdefault("activation", nn.ELU)
        self.ode = MLP(features + context + 2 * freqs, features, **network)
        self.register_buffer("times", torch.tensor([0.0, 1.0]))
        self.register_buffer("freqs", torch.arange(1, freqs + 1) * torch.pi)
        self.atol, self.rtol, self.exact = atol, rtol, exact

    def forward(self, c: Tensor | None = None) -> FreeFormJacobianTransform:
        """f(. | c)."""
        return FreeFormJacobianTransform(self, c)

    def network_arguments(self, x: Tensor) -> dict[str, Any] | None:
        """Weights, biases, frequencies and activation for ``ops.continuous_flow``.

        None where there is no kernel: for another device or dtype than it has, for a network that
        is more than linear layers and one activation, or of another depth, and for an ensemble by
        ``torch.func.vmap``, whose buffers have no single value.
        """
        plan = plan_of(self.ode)
        on_cpu = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
        if plan is None or not on_cpu or self.times.requires_grad or self.freqs.requires_grad:
            return None
        if len(plan.linears) not in (2, 3) or any(map(is_mapped, (self.times, self.freqs))):
            return None
        return {
            "weights": plan.weights,
            "biases": plan.biases,
            "frequencies": self.freqs.tolist(),
            "activation": plan.activation,
        }

    def extra_repr(self) -> str:
        """The tolerances, and how the trace is computed."""
        return f"(atol): {self.atol}\n(rtol): {self.rtol}\n(exact): {self.exact}"


class FreeFormJacobianTransform(FlowTransform):
    """An ``FFJTransform`` given its context.

    Args:
        module: the network and how it is integrated.
        c: context, [..., C]; None without one.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, module: FFJTransform, c: Tensor | None) -> None:
        super().__init__()
        self.module, self.c = module, c

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x(1) and the integral of the trace."""
        return self._integrate_with_ladj(x, self.module.times)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """x(0) and minus the integral of the trace."""
        return self._integrate_with_ladj(y, self.module.times.flip(0))

    def _call(self, x: Tensor) -> Tensor:
        return self._integrate(x, self.module.times)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._integrate(y, self.module.times.flip(0))

    def _integrate(self, x: Tensor, times: Tensor) -> Tensor:
        x, c, shape = self._rows(x)
        solved = self._by_kernel(x, c, times, with_ladj=False)
        if solved is not None:
            return solved[0].view(shape)
        field = _Field(self.module, c)
        return odeint(field.value, x, times, **self._tolerances())[-1].view(shape)

    def _integrate_with_ladj(self, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        x, c, shape = self._rows(x)
        solved = self._by_kernel(x, c, times, with_ladj=True) if self.module.exact else None
        if solved is not None:
            return solved[0].view(shape), solved[1].view(shape[:-1])
        field = _Field(self.module, c)
        noise = None if self.module.exact else torch.randn_like(x)

        def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            u, trace = field.value_and_trace(t, state[0], noise)
            return u, LADJ_SCALE * trace

        y, ladj = odeint(rates, (x, torch.zeros_like(x[:, 0])), times, **self._tolerances())
        return y[-1].view(shape), ladj[-1].view(shape[:-1]) / LADJ_SCALE

    def _by_kernel(self, x: Tensor, c: Tensor | None, times: Tensor, with_ladj: bool) -> Any:
        """The whole integration in one call, or None."""
        network = self.module.network_arguments(x)
        if network is None:
            return None
        start, end = times.tolist()
        options = {**network, **self._tolerances(), "start": start, "end": end}
        return ops.continuous_flow(x, c, **options, with_ladj=with_ladj)

    def _tolerances(self) -> dict[str, Any]:
        return {"atol": self.module.atol, "rtol": self.module.rtol}

    def _rows(self, x: Tensor) -> tuple[Tensor, Tensor | None, torch.Size]:
        """Points [N, D] and their contexts [N, C], broadcast, and the shape [..., D]."""
        if self.c is None:
            return x.reshape(-1, x.shape[-1]), None, x.shape
        batch = torch.broadcast_shapes(x.shape[:-1], self.c.shape[:-1])
        x = x.expand(*batch, x.shape[-1])
        c = self.c.expand(*batch, self.c.shape[-1])
        return x.reshape(-1, x.shape[-1]), c.reshape(-1, c.shape[-1]), x.shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Field:
    """u(t, x, c) at points [N, D] of contexts [N, C], and its trace.

    Time and context enter the first layer as a bias, that of the context once for all times.
    """

    def __init__(self, module: FFJTransform, c: Tensor | None) -> None:
        self.module, self.c = module, c
        self.plan = plan_of(module.ode)
        if self.plan is not None:
            self.activation = self.plan.activation
            first, *self.weights = self.plan.weights
            bias, *self.biases = self.plan.biases
            sizes = 2 * len(module.freqs), module.ode.out_features, 0 if c is None else c.shape[1]
            self.of_time, self.of_x, of_c = first.split(sizes, 1)
            self.bias = bias if c is None else ops.dense(c, of_c, bias)  # [H] or [N, H]

    def _time(self, t: Tensor) -> Tensor:
        angles = self.module.freqs * t
        return torch.cat([angles.cos(), angles.sin()])

    def value(self, t: Tensor, x: Tensor) -> Tensor:
        """U, [N, D]."""
        if self.plan is None or self.c is not None:
            time = self._time(t).expand(len(x), -1)
            return self.module.ode(torch.cat([time, with_context(x, self.c)], 1))
        bias = self.bias + self.of_time @ self._time(t)
        return ops.mlp(x, [self.of_x, *self.weights], [bias, *self.biases], self.activation)

    def value_and_trace(self, t: Tensor, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """U and tr(du/dx) [N], or its estimate by noise [N, D]."""
        if self.plan is not None and noise is None:
            bias = self.bias + self.of_time @ self._time(t)
            weights, biases = [self.of_x, *self.weights], [bias, *self.biases]
            return ops.mlp_divergence(x, weights, biases, self.activation)
        return self._by_autograd(t, x, noise)

    def _by_autograd(self, t: Tensor, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same for any network."""
        if by_torch_func():
            return self._by_torch_func(t, x, noise)
        with_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            leaf = x if x.requires_grad else x.detach().requires_grad_()
            u = self.value(t, leaf)
            if noise is not None:
                (row,) = torch.autograd.grad(u, leaf, noise, create_graph=with_graph)
                trace = (row * noise).sum(1)
            else:
                options: Any = {"create_graph": with_graph, "retain_graph": True}
                rows = [torch.autograd.grad(v.sum(), leaf, **options)[0] for v in u.unbind(1)]
                trace = torch.stack([row[:, i] for i, row in enumerate(rows)]).sum(0)
        return (u, trace) if with_graph else (u.detach(), trace.detach())

    def _by_torch_func(self, t: Tensor, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same within ``torch.func.grad`` or ``vmap``, where a tensor cannot become a leaf."""
        u, product, *_ = torch.func.vjp(partial(self.value, t), x)
        if noise is not None:
            return u, (product(noise)[0] * noise).sum(1)
        units = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        rows = [product(unit.expand_as(u))[0] for unit in units]
        return u, torch.stack([row[:, i] for i, row in enumerate(rows)]).sum(0)


class CNF(Flow):
    """Continuous normalizing flow with a free-form Jacobian.

        log p(x | c) = log N(z; 0, 1) + int_0^1 tr(du/dx) dt,  z = x(1), dx/dt = u(t, x, c)

    The log-density is exact but for the tolerance of the integration: the trace of a network with
    up to two hidden layers costs one more product, whatever D is. Sampling and density take the
    same time. Constructor and ``state_dict`` are those of zuko 1.6 but for ``bounds``.

    Args:
        features: number of features D.
        context: number of context features C.
        bounds: intervals of the features, see ``Flow``.
        transform: further arguments of ``FFJTransform``, as ``hidden_features``, ``freqs``,
            ``atol``, ``rtol`` and ``exact``.

    Raises:
        ArgumentError: numbers below 1, or bounds that do not fit.
        IntegrationError: in a call, an equation that became stiff in training.

    Sources: Chen et al. 2018, arXiv:1806.07366; Grathwohl et al. 2018, arXiv:1810.01367.

    >>> flow = CNF(3, context=4, hidden_features=[32, 32])
    >>> density = flow(torch.zeros(5, 4))
    >>> density.log_prob(density.sample()).shape
    torch.Size([5])
    """

    def __init__(
        self,
        features: int,
        context: int = 0,
        *,
        bounds: Bounds | None = None,
        **transform: Any,
    ) -> None:
        check_counts(self, features=features, context=context, freqs=transform.get("freqs", 0))
        super().__init__(
            FFJTransform(features, context, **transform),
            standard_normal(features),
            features=features,
            context=context,
            bounds=bounds,
        )
