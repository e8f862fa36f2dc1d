"""What terms must give, by torch.autograd from ``losses`` and the residuals themselves."""

from __future__ import annotations

import numpy as np
import torch

from pyneural.models.physics.checks import RESIDUAL


def trained(model):
    """The parameters over which the loss is minimised."""
    over = {*map(id, model.maximised())}
    return [p for p in model.parameters() if p.requires_grad and id(p) not in over]


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


def gradient(value, parameters):
    grads = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
    return flat(grads)


def residuals(model, name, batch=None):
    """Weighted residuals of a term, [R], equations or outputs one after the other."""
    if name == RESIDUAL:
        points = model.collocated(batch)
        parts = model.equation.residuals(model.network, points)
    else:
        parts = dict(model.named_conditions())[name].residuals(model.network)
        parts = [column for part in parts for column in part.unbind(1)]
    count = len(parts[0])
    weights = model.weights[name]
    each = weights if isinstance(weights, tuple) else [weights] * len(parts)
    roots = []
    for weight in each:
        weight = torch.as_tensor(weight, dtype=torch.float64).detach()
        roots.append((weight / count).sqrt() * torch.ones(count, dtype=torch.float64))
    return torch.cat([root * part for root, part in zip(roots, parts, strict=True)])


def jacobian(values, parameters):
    """J^T [T, R], one backward pass a residual."""
    return torch.stack([gradient(value, parameters) for value in values], 1)


def path(function, parameters, directions, width=0.12, nodes=26):
    """Derivatives at 0 along the path, from a polynomial through values at Chebyshev's nodes."""
    start = flat(parameters)
    at = width * np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    values = []
    for tau in at:
        moved, factor = start.clone(), 1.0
        for k, direction in enumerate(directions, 1):
            factor *= tau / k
            moved += factor * direction
        assign(parameters, moved)
        values.append(function().detach().double().numpy())
    assign(parameters, start)
    fit = np.polynomial.chebyshev.chebfit(at / width, np.array(values), nodes - 6)
    found = []
    for k in range(1, len(directions) + 1):
        derived = np.polynomial.chebyshev.chebder(fit, k)
        found.append(np.polynomial.chebyshev.chebval(0.0, derived) / width**k)
    return torch.as_tensor(np.stack(found))


@torch.no_grad()
def assign(parameters, theta):
    parts = theta.split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))
