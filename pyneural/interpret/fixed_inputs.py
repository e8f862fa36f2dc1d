"""A model with some inputs that are held fixed while the others are explained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_argument, check_tensor


class FixedInputs(torch.nn.Module):
    """A model that is called with further inputs, as the lengths of series, which stay as they are.

        G(x) = F(x, c)

    Methods that ask for several copies of the batch at a time get the fixed inputs as often.

    Args:
        model: F, called with the inputs of G and then c.
        fixed: c, tensors [N, ...] of any dtype, of the samples that are explained.

    Raises:
        ArgumentError: no tensors or different numbers of samples; a call with rows that are not
            those of the samples, once or several times in turn.

    >>> from pyneural import interpret
    >>> class Last(torch.nn.Module):
    ...     def forward(self, x, lengths):
    ...         return x[torch.arange(len(x)), lengths - 1]
    >>> model = FixedInputs(Last(), torch.tensor([3, 1]))
    >>> interpret.integrated_gradients(model, torch.ones(2, 3)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    def __init__(self, model: torch.nn.Module, *fixed: Tensor) -> None:
        super().__init__()
        where = "FixedInputs: fixed"
        check_argument(len(fixed) > 0, where, "a tensor or several", "none", "call the model")
        for part in fixed:
            check_tensor(where, part)
        got = [list(part.shape) for part in fixed]
        good = all(shape and shape[0] == got[0][0] > 0 for shape in got)
        check_argument(good, where, "[N, ...] of the same samples", got, "give one for each")
        self.model, self.fixed = model, fixed

    def forward(self, *x: Tensor) -> Any:
        """The output of the model for inputs of N rows, or of c N."""
        count, rows = len(self.fixed[0]), len(x[0])
        where, remedy = "FixedInputs: x", "give the fixed inputs of these samples"
        expected = f"{count} samples, or so many in turn"
        check_argument(rows % count == 0, where, expected, rows, remedy)
        repeated = (c.repeat(rows // count, *[1] * (c.ndim - 1)) for c in self.fixed)
        return self.model(*x, *(c.to(x[0].device) for c in repeated))
