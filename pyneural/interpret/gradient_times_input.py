"""Gradient times input: the first order of a Taylor series around zero."""

from __future__ import annotations

import torch

from pyneural.interpret.arguments import Inputs, Target, as_inputs
from pyneural.interpret.scores import Score, as_given, left_as_found


def gradient_times_input(model: torch.nn.Module, x: Inputs, target: Target = None) -> Inputs:
    """The gradient of one output times the input.

        a = x dF(x) / dx

    In units of F. Of a network without biases whose activations are piecewise linear, the sum of a
    is F. Elements that are zero get zero, whatever the network has learned: see ``interpret`` on
    its randomisation test.

    Args:
        model: as of ``saliency``.
        x: as of ``saliency``.
        target: as of ``saliency``.

    Returns:
        a, in the shape of x.

    Raises:
        ArgumentError: as of ``saliency``.

    Source: Shrikumar et al., arXiv:1605.01713 (2016).

    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> x = torch.rand(3, 2)
    >>> torch.allclose(gradient_times_input(layer, x).sum(1, keepdim=True), layer(x))
    True
    """
    xs = as_inputs("gradient_times_input", x)
    score = Score("gradient_times_input", model, target, len(xs[0]))
    with left_as_found(model, *xs):
        found = zip(score.gradients(xs), xs, strict=True)
        return as_given(tuple(gradient * part.detach() for gradient, part in found), x)
