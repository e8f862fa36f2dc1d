"""A term that a kernel computes but for columns that depend on trained parameters."""

from __future__ import annotations

from itertools import accumulate
from typing import cast

import torch
from torch import Tensor

from pyneural.ops import MeanSquare
from pyneural.ops.graph import leaves
from pyneural.training.least_squares.autograd_term import AutogradTerm
from pyneural.training.least_squares.parameter_map import (
    ParameterMap,
    batched_gradients,
    unit_vectors,
)

_CHUNK = 1 << 22  # numbers of a batch of gradients


class ColumnsTerm(AutogradTerm):
    """A mean square that reads trained fields: coefficients k(x), a lift, a second network.

        dr_en / dtheta = dr_en / dtheta at fixed columns + sum_c (dr_en / dz_cn) (dz_cn / dtheta)

    with the columns z [c, n]. The first part is a kernel's Jacobian. Residuals at a point read the
    columns there alone, so that dr / dz takes a backward pass for each equation. dz / dtheta takes
    one through the fields for each parameter that they have, or for each of their values where
    these are fewer; an ``AutogradTerm`` takes one through all for each residual.
    """

    def jacobian(self) -> Tensor:
        """The transposed Jacobian, [T, R]."""
        square, parameters = self._square, self._source.parameters
        with torch.no_grad():
            kernel = ParameterMap(square.tensors, parameters)
            found = kernel.pull(square.jacobian()[1].double())  # [T, E, N]
        slopes, of_fields = self._slopes(square).double(), self._of_fields(square).double()
        rows = torch.cat([torch.arange(at, at + p.numel()) for at, p in self._fields()])
        found[rows.to(found.device)] += torch.einsum("ecn,tcn->ten", slopes, of_fields)
        return found.flatten(1).mul_((self.weight / square.squares) ** 0.5)

    def gram_bytes(self) -> int:
        """Memory that ``gram`` takes, its results included."""
        columns = cast(Tensor, self._square.columns)
        fields = sum(p.numel() for _, p in self._fields())
        return super().gram_bytes() + 8 * fields * columns.numel()

    @property
    def _square(self) -> MeanSquare:
        return cast(MeanSquare, self._source.square(self.name))

    def _fields(self) -> list[tuple[int, Tensor]]:
        """The parameters that the columns depend on, and where in theta they begin."""
        parameters = self._source.parameters
        reached = {id(leaf) for leaf in leaves(cast(Tensor, self._square.columns))}
        begins = accumulate((p.numel() for p in parameters), initial=0)
        pairs = zip(begins, parameters, strict=False)
        return [(at, p) for at, p in pairs if id(p) in reached]

    @staticmethod
    def _slopes(square: MeanSquare) -> Tensor:
        """The derivatives dr_en / dz_cn, [E, C, N]."""
        with torch.enable_grad():
            columns = cast(Tensor, square.columns).detach().requires_grad_()
            residuals = square._replace(columns=columns).residuals()
            sums = [r.sum() for r in residuals]
        return torch.stack(
            [torch.autograd.grad(each, columns, retain_graph=True)[0] for each in sums]
        )

    def _of_fields(self, square: MeanSquare) -> Tensor:
        """The derivatives dz / dtheta, [those of theta that z depends on, C, N]."""
        columns = cast(Tensor, square.columns)
        fields = [parameter for _, parameter in self._fields()]
        if columns.numel() <= sum(p.numel() for p in fields):
            return self._gradients_of(columns, fields).T.reshape(-1, *columns.shape)
        with torch.enable_grad():
            w = torch.zeros_like(columns).requires_grad_()
            options = {"create_graph": True, "materialize_grads": True}
            grads = torch.autograd.grad(columns, fields, w, **options)
            pulled = torch.cat([grad.flatten() for grad in grads])  # w . dz / dtheta
        return self._gradients_of(pulled, [w]).view(-1, *columns.shape)

    @staticmethod
    def _gradients_of(values: Tensor, by: list[Tensor]) -> Tensor:
        """The derivatives of values by tensors, [numbers of values, those of the tensors]."""
        size = values.numel() + sum(tensor.numel() for tensor in by)
        chunks = torch.arange(values.numel(), device=values.device).split(max(1, _CHUNK // size))
        return torch.cat([batched_gradients(values, by, unit_vectors(c, values)) for c in chunks])
