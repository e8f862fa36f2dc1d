"""FlowJAX on JAX, jit-compiled: flows of the sizes of a problem, with weights of its own.

Its networks are made and initialised differently than zuko's, so that the same weights would not
give the same density. What it computes is as much: an affine or spline transform of each feature by
masked or coupling networks of the same widths.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import torch

from bench.harness import Implementation

BINS, BOUND = 8, 5.0  # those of our NSF


def build(problem: Any) -> Callable[[], Any]:
    """A call that does the work of the problem's case."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import equinox
    import flowjax.bijections
    import flowjax.distributions
    import flowjax.flows
    import jax
    import optax
    import paramax

    case = problem.case
    if case.flow not in ("NSF", "MAF", "RealNVP"):
        raise ImportError(f"FlowJAX has no {case.flow}")
    jax.config.update("jax_enable_x64", problem.x.dtype == torch.float64)
    spline = flowjax.bijections.RationalQuadraticSpline(knots=BINS, interval=BOUND)
    coupling = case.flow == "RealNVP"
    make = flowjax.flows.coupling_flow if coupling else flowjax.flows.masked_autoregressive_flow
    flow = make(
        jax.random.key(0),
        base_dist=flowjax.distributions.StandardNormal((case.features,)),
        transformer=spline if case.flow == "NSF" else flowjax.bijections.Affine(),
        flow_layers=case.transforms,
        nn_width=case.hidden[0],
        nn_depth=len(case.hidden),
        nn_activation=jax.nn.relu,
    )
    x = jax.numpy.asarray(problem.x.numpy())
    is_fixed = {"is_leaf": lambda leaf: isinstance(leaf, paramax.NonTrainable)}
    weights, fixed = equinox.partition(flow, equinox.is_inexact_array, **is_fixed)

    if case.work == "sample":

        @jax.jit
        def sample(weights: Any, z: Any) -> Any:
            bijection = paramax.unwrap(equinox.combine(weights, fixed, **is_fixed)).bijection
            return jax.vmap(bijection.transform)(z)

        return lambda: [jax.block_until_ready(sample(weights, x))]

    optimizer = optax.adam(problem.learning_rate)

    def loss_of(weights: Any, x: Any) -> Any:
        flow = paramax.unwrap(equinox.combine(weights, fixed, **is_fixed))
        return -flow.log_prob(x).mean()

    @jax.jit
    def step(weights: Any, state: Any, x: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(weights, x)
        updates, state = optimizer.update(gradients, state, weights)
        return equinox.apply_updates(weights, updates), state, loss

    state = weights, optimizer.init(weights)

    def train() -> list[Any]:
        nonlocal state
        *state, loss = jax.block_until_ready(step(*state, x))
        return [loss]

    return train


def added(
    problem: Any, calls: dict[str, Any], errors: dict[str, float], absent: dict[str, str]
) -> None:
    """Adds its call to those that were compared with the oracle, where it can be made.

    It has no error to the oracle, as its weights are others; its results are to be finite.
    """
    try:
        call = IMPLEMENTATION.build(problem)
        results = [torch.as_tensor(float(abs(result).max())) for result in call()]
    except Exception as error:  # whatever a peer raises is its reason
        absent[IMPLEMENTATION.name] = f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
        return
    if not all(result.isfinite() for result in results):
        absent[IMPLEMENTATION.name] = "refused, results that are not finite"
        return
    calls[IMPLEMENTATION.name], errors[IMPLEMENTATION.name] = call, math.nan


IMPLEMENTATION = Implementation("FlowJAX, jit, own weights", "jax", build, compiles=True)
