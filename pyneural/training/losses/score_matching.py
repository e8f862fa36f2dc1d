"""Exact score matching: a density's gradient learnt from samples alone."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import nn, ops
from pyneural.errors import ArgumentError


def score_matching_loss(network: nn.MLP, x: Tensor, *, energy: bool = False) -> Tensor:
    """1/2 |s(x)|^2 + tr(ds/dx) of each sample, for a network of the score s = grad log p.

    Its mean over samples of p is, but for a constant, half the mean squared difference to the
    score of p; the normalisation of p is not needed. The network is the score itself, with the
    trace by ``ops.mlp_divergence``, or an energy E with p ~ exp(-E),

        s = -grad E:  1/2 |grad E|^2 - Laplacian(E),

    whose Laplacian travels through the network as one channel. Nothing is estimated by random
    projections, so that nothing is noisy.

    Args:
        network: from D inputs to the D components of the score, or to one energy.
        x: samples, [N, D].
        energy: whether the network is an energy; its activation must then be smooth.

    Returns:
        [N]; its mean is the loss.

    Raises:
        ArgumentError: a network of another number of inputs or outputs.

    Hyvärinen 2005, "Estimation of non-normalized statistical models by score matching", eq. 4.

    Example:
        >>> score = nn.MLP(2, [], 2)  # of a standard normal distribution: s = -x
        >>> _ = score.load_state_dict({"layers.0.weight": -torch.eye(2), "layers.0.bias":
        ...     torch.zeros(2)})
        >>> score_matching_loss(score, torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
        tensor([-2.0000,  0.5000], grad_fn=<AddBackward0>)
    """
    if not energy:
        score, divergence = network.divergence(x)
        return 0.5 * (score**2).sum(1) + divergence
    if network.out_features != 1:
        raise ArgumentError(
            "score_matching_loss: network: expected one output with energy=True, got "
            f"{network.out_features}; leave energy out where the network is the score"
        )
    inputs = range(network.in_features)
    _, *gradient, laplacian = network.jet(x, [*((i,) for i in inputs), ops.Laplacian(*inputs)])
    return 0.5 * (torch.cat(gradient, 1) ** 2).sum(1) - laplacian[:, 0]
