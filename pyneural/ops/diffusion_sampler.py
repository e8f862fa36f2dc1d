"""The whole loop of a diffusion's sampler in one call."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from pyneural.errors import as_argument_error
from pyneural.ops import reference
from pyneural.ops.dropout import draw_seed
from pyneural.ops.registration import register_derivative
from pyneural.ops.transforms import has_no_kernel, is_plain_torch


def diffusion_sampler(
    x: Tensor,
    condition: Tensor | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    shifts: Tensor,
    coefficients: Tensor,
    activation: str = "silu",
    *,
    guidance: float = 0.0,
    seed: Tensor | None = None,
) -> Tensor:
    """All steps of a sampler whose denoiser is a multilayer perceptron.

        x <- a_i x + c_i xi + b_i0 f_i + b_i1 f_(i-1) + ... + b_(i,K-1) f_(i-K+1),  i = 0 .. S - 1
        f_i = f(x, c) + w (f(x, c) - f(x, 0)),  f(x, c) = MLP([x, c]) with W_1 [x, c] + b_1 + s_i
        in the first layer, xi ~ N(0, 1)

    where the network sees the time by the shifts alone: of an embedding e(t) among its inputs they
    are s_i = W_t e(t_i). With K = 1 these are the ancestral sampler and DDIM; values of earlier
    steps, which are 0 before the first, make Adams-Bashforth and Runge-Kutta methods of it. On the
    CPU a block of rows goes through all steps in the cache, on CUDA in one launch. The noise is a
    function of the seed, the row, the step and the column: it depends neither on threads nor on the
    device, and ``torch.manual_seed`` repeats it. Gradients reach all tensors, to any order, through
    plain torch, which keeps every step.

    Args:
        x: at the start, [N, D], float32 or float64; other dtypes are computed by plain torch.
        condition: c, [N, C], or None.
        weights: of the network, as torch.nn.Linear has them, the first [.., D + C], the last
            [D, ..].
        biases: likewise.
        shifts: s, [S, H_1], of the H_1 outputs of the first layer.
        coefficients: a row (a, c, b_0, ..., b_(K-1)) for each step, [S, 2 + K].
        activation: of the hidden layers, as in ``dense``.
        guidance: w, 0 without a condition.
        seed: of the noise, one int64; None to draw it from torch's generator.

    Returns:
        x after the last step, [N, D].

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, a network that does not give as
            many columns as x has, or an unknown activation.

    Source: Song, Meng and Ermon 2020, arXiv:2010.02502; guidance: Ho and Salimans 2022,
        arXiv:2207.12598; noise: Salmon et al. 2011, Philox, and Box and Muller 1958.

    Example:
        >>> one, zero = torch.ones(1, 1), torch.zeros(1)
        >>> euler = torch.tensor([[1.0, 0.0, 0.1]] * 10)  # dx/dt = x from 0 to 1 in ten steps
        >>> diffusion_sampler(one, None, [one], [zero], torch.zeros(10, 1), euler)  # 1.1^10
        tensor([[2.5937]])
    """
    seed = draw_seed(x.device) if seed is None else seed
    arguments = x, condition, weights, biases, shifts, coefficients, seed, activation, guidance
    operands = tree_leaves((x, condition, weights, biases, shifts, coefficients))
    try:
        if not is_plain_torch(*operands):
            return torch.ops.pyneural.diffusion_sampler(*arguments)
    except (ValueError, RuntimeError) as error:
        if not has_no_kernel(operands, (torch.float32, torch.float64)):
            raise as_argument_error(error) from None
    return reference.diffusion_sampler(*arguments)


def _fake(x, *_):
    return x.new_empty(x.shape)


register_derivative("diffusion_sampler", reference.diffusion_sampler, _fake)
