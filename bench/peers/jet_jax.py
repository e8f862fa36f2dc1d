"""JAX jit: derivatives of u by reverse mode, by jvp, by ``jax.experimental.jet``, and by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench.burgers import NU, Problem
from bench.harness import Implementation


def network(x: Any, parameters: Sequence[tuple[Any, Any]]) -> Any:
    """The MLP with tanh, [..., 2] -> [..., 1]."""
    import jax.numpy as jnp

    for weight, bias in parameters[:-1]:
        x = jnp.tanh(x @ weight.T + bias)
    weight, bias = parameters[-1]
    return x @ weight.T + bias


def reverse_channels(x: Any, parameters: Any) -> tuple[Any, ...]:
    """Reverse over reverse mode, one point at a time under vmap."""
    import jax

    def u_of(t: Any, x: Any) -> Any:
        return network(jax.numpy.stack([t, x]), parameters)[0]

    def at_point(point: Any) -> tuple[Any, ...]:
        t, x = point
        u, (u_t, u_x) = jax.value_and_grad(u_of, (0, 1))(t, x)
        return u, u_t, u_x, jax.grad(jax.grad(u_of, 1), 1)(t, x)

    return jax.vmap(at_point)(x)


def jvp_channels(x: Any, parameters: Any) -> tuple[Any, ...]:
    """Forward over forward mode on the whole batch."""
    import jax

    def u_of(points: Any) -> Any:
        return network(points, parameters)

    e_t, e_x = (jax.numpy.zeros_like(x).at[:, i].set(1) for i in range(2))
    _, u_t = jax.jvp(u_of, (x,), (e_t,))
    (u, u_x), (_, u_xx) = jax.jvp(lambda p: jax.jvp(u_of, (p,), (e_x,)), (x,), (e_x,))
    return u, u_t, u_x, u_xx


def jet_channels(x: Any, parameters: Any) -> tuple[Any, ...]:
    """Taylor mode of JAX along x, forward mode along t."""
    import jax
    from jax.experimental.jet import jet

    def u_of(points: Any) -> Any:
        return network(points, parameters)

    zero = jax.numpy.zeros_like(x)
    _, u_t = jax.jvp(u_of, (x,), (zero.at[:, 0].set(1),))
    u, (u_x, u_xx) = jet(u_of, (x,), ((zero.at[:, 1].set(1), zero),))
    return u, u_t, u_x, u_xx


def taylor_channels(x: Any, parameters: Any) -> tuple[Any, ...]:
    """The formulas of ``jet_taylor.taylor_loss``."""
    import jax.numpy as jnp

    weight, bias = parameters[0]
    z = x @ weight.T + bias
    z_t, z_x, z_xx = weight[:, 0], weight[:, 1], 0.0
    for weight, bias in parameters[1:]:
        a = jnp.tanh(z)
        slope = 1 - a * a
        a_t, a_x, a_xx = slope * z_t, slope * z_x, slope * (z_xx - 2 * a * z_x * z_x)
        z, z_t, z_x, z_xx = (a @ weight.T + bias, *(c @ weight.T for c in (a_t, a_x, a_xx)))
    return z, z_t, z_x, z_xx


def import_jax(problem: Problem) -> Any:
    """JAX on the problem's device, in full precision."""
    # It reads these when it is imported: no card memory taken in advance, no search for one.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not problem.x.is_cuda:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    if problem.x.is_cuda and jax.default_backend() != "gpu":
        raise ImportError("jax without CUDA")
    jax.config.update("jax_enable_x64", True)
    # Not plain TF32: all others compute in full float32.
    jax.config.update("jax_default_matmul_precision", "highest")
    return jax


def build(
    channels: Callable[[Any, Any], tuple[Any, ...]], problem: Problem
) -> Callable[[], tuple[Any, Sequence[Any]]]:
    jax = import_jax(problem)

    def loss(parameters: Any, x: Any) -> Any:
        u, u_t, u_x, u_xx = channels(x, parameters)
        return ((u_t + u * u_x - NU * u_xx) ** 2).mean()

    arrays = [jax.numpy.asarray(p.detach().cpu().numpy()) for p in problem.parameters]
    count = len(problem.weights)
    parameters = list(zip(arrays[:count], arrays[count:], strict=True))
    x = jax.numpy.asarray(problem.x.cpu().numpy())
    function = jax.jit(jax.value_and_grad(loss))

    def call() -> tuple[Any, Sequence[Any]]:
        value, gradients = jax.block_until_ready(function(parameters, x))
        weights, biases = zip(*gradients, strict=True)
        return value, [*weights, *biases]

    return call


IMPLEMENTATIONS = [
    Implementation(
        f"JAX jit, {name}", "jax", partial(build, channels), compiles=True, device_clock=False
    )
    for name, channels in (
        ("reverse", reverse_channels),
        ("jvp", jvp_channels),
        ("jet", jet_channels),
        ("Taylor", taylor_channels),
    )
]
