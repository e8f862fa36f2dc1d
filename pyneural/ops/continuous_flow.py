"""A whole continuous flow in one call.

Its autograd is in ``csrc/continuous_flow/continuous_flow_autograd.cpp``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from pyneural.errors import ArgumentError, as_argument_error, whole
from pyneural.ode.odeint import IntegrationError
from pyneural.ops import reference
from pyneural.ops.registration import empty_gradients, register_derivative, register_reference
from pyneural.ops.transforms import has_no_kernel, is_plain_torch


def continuous_flow(
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    frequencies: Sequence[float] = (),
    activation: str = "elu",
    *,
    start: float = 0.0,
    end: float = 1.0,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    steps: int | None = None,
    max_steps: int = 1000,
    with_ladj: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Flow along a field that is a multilayer perceptron, and its log-determinant.

        dx/dt = u(t, x, c),  u = MLP([cos(w_1 t), ..., sin(w_1 t), ..., x, c])
        y = x(end) of x(start) = x,  ladj = log |det dy/dx| = int_start^end tr(du/dx) dt

    By the method of Dormand and Prince, with steps of controlled error or equal ones, as
    ``ode.odeint`` has it; the trace is exact, as in ``mlp_divergence``, and its error is tolerated
    100 times as much as that of x. On the CPU a block of about 48 rows goes through all its steps
    in the cache, with steps of its own. The gradient is the exact one of the numbers that were
    computed, with the lengths of the steps held fixed; the backward takes the steps again, so that
    memory holds only what was given. Gradients reach x, context, weights and biases, to any order:
    the first backward is a kernel, further ones are torch's own. Other devices call ``odeint``.

    Args:
        x: [N, D], float32 or float64; other dtypes are computed by plain torch.
        context: c, [N, C], or None.
        weights: of the network, as torch.nn.Linear has them, with one or two hidden layers; the
            first [.., 2 F + D + C], the last [D, ..].
        biases: likewise.
        frequencies: w, F angular frequencies by which the network sees the time; none where it
            does not.
        activation: of the hidden layers, as in ``dense``.
        start: first time.
        end: last time, also one before the first.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step.
        steps: number of equal steps; None for the adaptive method.
        max_steps: of the adaptive method, rejected ones included.
        with_ladj: whether there is the log-determinant, which takes as long as y.

    Returns:
        y [N, D], and ladj [N] or None.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, networks that are no field or of
            another depth, an unknown activation, or numbers that are none for an integration.
        IntegrationError: as of ``ode.odeint``.

    Source: Chen et al. 2018, arXiv:1806.07366, eq. 8; time as in Grathwohl et al. 2018,
        arXiv:1810.01367, and zuko; gradient as in Zhuang et al. 2020, "Adaptive checkpoint adjoint
        method for gradient estimation in neural ODE".

    Example:
        >>> x, one = torch.tensor([[1.0], [2.0]]), torch.ones(1, 1)
        >>> weights, biases = [one, one], [torch.zeros(1)] * 2  # dx/dt = x
        >>> y, ladj = continuous_flow(x, None, weights, biases, activation="linear")
        >>> torch.allclose(y, x * torch.e, atol=1e-4), ladj
        (True, tensor([1.0000, 1.0000]))
    """
    if steps is not None and whole("continuous_flow: steps", steps) < 1:
        raise ArgumentError(
            f"continuous_flow: steps: expected None or a number above 0, got {steps}; such as 20"
        )
    numbers = map(float, (start, end, rtol, atol))
    y, ladj = _call(
        x, context, weights, biases, list(map(float, frequencies)), activation, *numbers,
        int(steps or 0), whole("continuous_flow: max_steps", max_steps), with_ladj,
    )  # fmt: skip
    return y, ladj if with_ladj else None


def _call(*arguments):
    operands = tree_leaves(arguments[:4])
    try:
        if not is_plain_torch(*operands):
            return torch.ops.pyneural.continuous_flow(*arguments)
    except (ValueError, RuntimeError) as error:
        if not has_no_kernel(operands, (torch.float32, torch.float64)):
            # By its message: what a kernel raises are torch's own errors.
            if type(error) is RuntimeError and str(error).startswith("continuous_flow: "):
                raise IntegrationError(str(error)) from None
            raise as_argument_error(error) from None
    return reference.continuous_flow(*arguments)


def _fake(x, context, weights, biases, *options):
    return x.new_empty(x.shape), x.new_empty(x.shape[:1] if options[-1] else 0)


def _fake_backward(grad_y, grad_ladj, x, context, weights, biases, *options):
    parameters = sum(p.numel() for p in (*weights, *biases))
    shapes = x.shape, 0 if context is None else context.shape, parameters
    return tuple(empty_gradients(x, shapes, options[-1]))


register_reference("continuous_flow", reference.continuous_flow, _fake)
register_derivative("continuous_flow_backward", reference.continuous_flow_backward, _fake_backward)
