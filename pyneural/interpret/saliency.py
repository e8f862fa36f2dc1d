"""Saliency: the gradient of an output with respect to the input."""

from __future__ import annotations

import torch

from pyneural.interpret.arguments import Inputs, Target, as_inputs
from pyneural.interpret.scores import Score, as_given, left_as_found


def saliency(model: torch.nn.Module, x: Inputs, target: Target = None) -> Inputs:
    """The gradient of one output with respect to each element of the input.

        a = dF(x) / dx

    It says what a small change of each element does, in units of F over units of x. Simonyan et al.
    show its magnitude; the sign is kept here: ``saliency(model, x, 3).abs()``.

    Args:
        model: any module; it is evaluated in evaluation mode and left as it was.
        x: inputs [N, ...]; several tensors as a tuple, for a model that is called with them. A
            sample's output must not depend on other samples.
        target: which number of the output F is: its index, a tuple of indices where a sample has
            outputs of several dimensions, or a tensor of them, one for each sample: [N] or [N, D].
            None where there is only one.

    Returns:
        a, in the shape of x.

    Raises:
        ArgumentError: x that is no finite float32 or float64, a target that is not in the output, a
            model in half precision, detached from x or with an output that is not finite.

    Source: Simonyan, Vedaldi, Zisserman, arXiv:1312.6034 (2013).

    >>> class Square(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.square().sum(1)
    >>> saliency(Square(), torch.tensor([[1.0, 3.0]]))
    tensor([[2., 6.]])
    """
    xs = as_inputs("saliency", x)
    score = Score("saliency", model, target, len(xs[0]))
    with left_as_found(model, *xs):
        return as_given(score.gradients(xs), x)
