"""What a PINN is trained with where nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pyneural.models.physics.checks import RESIDUAL
from pyneural.training import LBFGS, Adam, LevenbergMarquardt, Phase
from pyneural.training.callbacks import AdaptivePoints, Callback, Resample

MOST_PARAMETERS = 5000  # whose matrix is factorised in a fraction of a second
_STEPS, _ADAM_STEPS, _LBFGS_STEPS = 500, 1000, 5000


def default_phases(
    pinn: Any, *, in_batches: bool = False, callbacks: Sequence[Callback] = ()
) -> tuple[list[Phase], list[Callback]]:
    """The phases of a training, and callbacks beside those given.

    Which solver for P trained numbers, N residuals, and data with noise:

    ==================================  ===================================================
    P up to 5,000, float64              ``LevenbergMarquardt``: nearest to the limits of
                                        the network; new points every ten steps
    the same, N < P                     ``LevenbergMarquardt``, which then takes a matrix
                                        of N x N
    P above 5,000, float64              ``Adam``, then ``LBFGS``
    float32                             ``Adam``, then ``LBFGS``: rounding of the second
                                        derivatives, 1e-6 or so, is what remains of any
                                        solver; ``network.double()`` is the way on
    mini-batches, or weights that are   ``Adam`` alone: the others compare values of one
    learned                             loss, and leave such weights as they are
    a loss that is no sum of squares    ``SSBroyden`` up to 5,000, above ``LBFGS``
    noise                               as above: the least squares are then those of the
                                        data. Stop at the noise, with fewer parameters than
                                        data or ``EarlyStopping`` on data held back
    ==================================  ===================================================

    Args:
        pinn: a ``PINN``.
        in_batches: whether its steps take some of the points each.
        callbacks: that the user gives; one that draws points replaces the default.

    >>> from pyneural import models, nn, pde
    >>> burgers = pde.Burgers()
    >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range).double()
    >>> conditions = burgers.conditions(20, dtype=torch.float64)
    >>> pinn = models.PINN(network, conditions, equation=burgers, points=50)
    >>> [phase.name for phase in default_phases(pinn)[0]]
    ['Levenberg-Marquardt']
    """
    trained = [parameter for parameter in pinn.parameters() if parameter.requires_grad]
    if in_batches or pinn.maximised():
        return [Adam(_LBFGS_STEPS)], []
    small = sum(parameter.numel() for parameter in trained) <= MOST_PARAMETERS
    if not small or any(parameter.dtype != torch.float64 for parameter in trained):
        return [Adam(_ADAM_STEPS), LBFGS(_LBFGS_STEPS)], []
    redraws = pinn.equation is not None and pinn.source.redraws
    given = any(isinstance(callback, Resample) for callback in callbacks)
    follows = redraws and not given and not pinn.weights.of_points(RESIDUAL)
    return [LevenbergMarquardt(_STEPS)], [AdaptivePoints()] if follows else []
