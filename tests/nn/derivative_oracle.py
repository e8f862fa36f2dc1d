"""Derivatives by nested autograd, which share nothing with Taylor mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pyneural.ops import Derivative, LinearOperator
from pyneural.ops.jet.derivatives import partials_of

# Orders 1 to 4, mixed, and operators, of three coordinates.
DERIVATIVES: list[Derivative] = [
    (1, 1),
    (1, 1, 0),
    (1, 1, 0, 2),
    LinearOperator({(1, 1): 1.0, (2, 2): 1.0}),
    LinearOperator({(1,): 1.0, (1, 1): -0.3, (0, 1, 1, 2): 0.2}),
]


def nested(
    function: Callable[[Tensor], Tensor], x: Tensor, derivatives: Sequence[Derivative]
) -> list[Tensor]:
    """(u, *derivatives), [N, O] each, with one reverse pass an order and output."""
    x = x.detach().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):  # torch's others have no second derivatives
        known = {(): function(x)}

    def partial(indices: tuple[int, ...]) -> Tensor:
        indices = tuple(sorted(indices))
        if indices not in known:
            columns = [
                torch.autograd.grad(column.sum(), x, create_graph=True, materialize_grads=True)[0]
                if column.requires_grad
                else torch.zeros_like(x)
                for column in partial(indices[:-1]).unbind(1)
            ]
            known[indices] = torch.stack([column[:, indices[-1]] for column in columns], 1)
        return known[indices]

    return [
        known[()],
        *(sum(c * partial(indices) for indices, c in partials_of(d)) for d in derivatives),
    ]


def assert_jets(
    jets: Sequence[Tensor],
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    derivatives: Sequence[Derivative] = DERIVATIVES,
    limit: float = 1e-10,
) -> None:
    """Fails unless jets are those of nested autograd, to the limit relative to their size."""
    expected = nested(function, x, derivatives)
    for name, mine, theirs in zip([(), *derivatives], jets, expected, strict=True):
        assert mine.shape == theirs.shape, (name, mine.shape, theirs.shape)
        error = (mine - theirs).abs().max() / (1 + theirs.abs().max())
        error = error.detach()
        assert error < limit, (name, float(error))
