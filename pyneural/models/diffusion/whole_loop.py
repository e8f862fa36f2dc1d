"""Sampling of a plain ``MLPDenoiser``: all steps in one call of ``ops.diffusion_sampler``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import nn, ops
from pyneural.models.diffusion.denoiser import MLPDenoiser
from pyneural.models.diffusion.denoising_model import DenoisingModel
from pyneural.nn.plain import has_only_its_forward, is_plain_affine
from pyneural.ops.transforms import by_autocast, has_no_kernel, is_plain_torch


def sample_in_one_call(
    model: DenoisingModel,
    x: Tensor,
    times: Sequence[float],
    coefficients: Tensor,
    c: Tensor | None,
    guidance: float,
) -> Tensor | None:
    """The x at the end of all steps, or None where the denoiser must be called step by step.

    It must where the denoiser is another, or does more than its weights say: a model, a network or
    a layer that is changed, of a subclass, hooked or parametrised, as under autocast and where
    torch transforms or records what is called.

    Args:
        model: whose denoiser it is.
        x: noise, [N, D].
        times: that the denoiser is told at each of S steps.
        coefficients: of the steps, [S, 2 + K], as ``ops.diffusion_sampler`` has them.
        c: conditions, [N, C].
        guidance: w, as in ``sample``.
    """
    network = _plain_network(model)
    if network is None:
        return None
    denoiser: Any = model.denoiser
    layers: Any = list(network.layers)
    weights, biases = [one.weight for one in layers], [one.bias for one in layers]
    given = [x, *weights, *biases, *([] if c is None else [c])]
    fits = (
        all(bias is not None for bias in biases)
        and denoiser.condition == (0 if c is None else c.shape[1])
        and not by_autocast(x.device.type)
        and x.device.type in ("cpu", "cuda")
        and len({tensor.dtype for tensor in given}) == 1
        and not is_plain_torch(*given)
        and not has_no_kernel(given, (torch.float32, torch.float64))
    )
    if not fits:
        return None
    of_time, of_inputs = weights[0].tensor_split([2 * len(denoiser.frequencies)], 1)
    shifts = denoiser.embed(x.new_tensor(times)) @ of_time.T
    return ops.diffusion_sampler(
        x, c, [of_inputs, *weights[1:]], biases, shifts, coefficients.to(x), network.activation,
        guidance=0.0 if c is None else float(guidance),
    )  # fmt: skip


def _plain_network(model: DenoisingModel) -> nn.MLP | None:
    """The network of a denoiser, where calling the model is calling it and nothing else."""
    cls, denoiser = type(model), model.denoiser
    if cls.forward is not DenoisingModel.forward or cls.guided is not DenoisingModel.guided:
        return None
    if "guided" in model.__dict__ or type(denoiser) is not MLPDenoiser:
        return None
    network = denoiser.network
    if type(network) is not nn.MLP or network.has_input_range:
        return None
    called = model, denoiser, network
    if not all(map(has_only_its_forward, called)) or not all(map(is_plain_affine, network.layers)):
        return None
    return network
