"""What a PINN is trained with where nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pyneural.models.physics.checks import RESIDUAL
from pyneural.training import LBFGS, Adam, GaussNewtonCG, LevenbergMarquardt, Phase, SSBroyden
from pyneural.training.callbacks import AdaptivePoints, Callback, Resample
from pyneural.training.least_squares import least_squares
from pyneural.training.least_squares.autograd_term import MANY, AutogradTerm

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
    no sum of squares, as with a loss   ``SSBroyden``, up to 5,000
    of one's own; or residuals that no
    kernel knows, a thousand or more
    P above 5,000, float64              ``GaussNewtonCG``, which takes products with J alone
    the same, no sum of squares         ``Adam``, then ``LBFGS``
    float32                             ``Adam``, then ``LBFGS``: rounding of the second
                                        derivatives, 1e-6 or so, is what remains of any
                                        solver; ``network.double()`` is the way on
    mini-batches, or weights that are   ``Adam`` alone: the others compare values of one
    learned                             loss, and leave such weights as they are
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
    double = all(parameter.dtype == torch.float64 for parameter in trained)
    if not double or not _has_squares(pinn, trained):
        if double and small:
            return [SSBroyden(_LBFGS_STEPS)], []
        return [Adam(_ADAM_STEPS), LBFGS(_LBFGS_STEPS)], []
    redraws = pinn.equation is not None and pinn.source.redraws
    given = any(isinstance(callback, Resample) for callback in callbacks)
    follows = redraws and not given and not pinn.weights.of_points(RESIDUAL)
    solver = LevenbergMarquardt(_STEPS) if small else GaussNewtonCG(_STEPS)
    return [solver], [AdaptivePoints()] if follows else []


def _has_squares(pinn: Any, trained: list[torch.nn.Parameter]) -> bool:
    """Whether the Jacobian of all terms of the loss is to be had at the cost of a few passes."""
    try:
        terms = least_squares(pinn, trained)
    except ValueError:  # a loss of one's own, without the residuals that it is made of
        return False
    by_autograd = [term for term in terms if isinstance(term, AutogradTerm)]
    return sum(len(term.residuals()) for term in by_autograd) < MANY
