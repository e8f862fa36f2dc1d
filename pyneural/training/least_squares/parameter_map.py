"""From a kernel's parameters to the trained ones: identity, selection, and the chain rule.

Letters: M numbers in kappa, the tensors that a kernel takes, one after the other; T numbers in
theta, the trained parameters; S = dkappa / dtheta [M, T]. S is never stored as a whole: most
tensors of a kernel are parameters, and the others depend on few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from pyneural.memory import as_text, available_memory
from pyneural.ops.graph import leaves
from pyneural.training.checks import check
from pyneural.training.least_squares.along_path import derivatives_along

_CHUNK = 1 << 22  # numbers of a batch of unit vectors


@dataclass(frozen=True)
class _Run:
    """Rows of S that are unit vectors: kappa[first : first + count] is a part of theta."""

    first: int
    at: int  # in theta
    count: int

    @property
    def rows(self) -> slice:
        return slice(self.first, self.first + self.count)

    @property
    def columns(self) -> slice:
        return slice(self.at, self.at + self.count)


@dataclass(frozen=True)
class _Block:
    """Rows of S of one tensor of the kernel that was computed from parameters."""

    tensor: Tensor
    leaves: list[Tensor]  # parameters
    rows: slice
    columns: Tensor  # those of theta that the leaves are, [C]
    matrix: Tensor  # [rows, C]
    is_linear: bool  # whether the matrix is the same everywhere


class ParameterMap:
    """What the tensors of a kernel are as functions of the trained parameters.

    Frozen tensors and those of other parameters are constants, tied ones add up.

    Args:
        tensors: of the kernel, in its order; with the graphs of those that are no parameters.
        parameters: the trained ones.

    >>> w, log_nu = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.zeros(1))
    >>> kernel = ParameterMap([w, log_nu.exp(), torch.ones(1)], [log_nu, w])
    >>> kernel.pull(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist()
    [3.0, 1.0, 2.0]
    """

    def __init__(self, tensors: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
        sizes = [p.numel() for p in parameters]
        self.size = sum(sizes)
        self._parameters = list(parameters)
        self._at = dict(zip(map(id, parameters), accumulate(sizes, initial=0), strict=False))
        self._runs: list[_Run] = []
        self._blocks: list[_Block] = []
        self.kernel_size = 0
        for tensor in tensors:
            self._add(tensor)

    @property
    def touched(self) -> int:
        """How many numbers of theta the kernel depends on, at most."""
        return sum(run.count for run in self._runs) + sum(len(b.columns) for b in self._blocks)

    @property
    def block_bytes(self) -> int:
        """Memory of the derivatives of computed tensors, and of the largest one's products."""
        products = [8 * len(b.columns) * (len(b.matrix) + self.kernel_size + 2 * self.size)
                    for b in self._blocks]  # fmt: skip
        held = sum(b.matrix.numel() * b.matrix.element_size() for b in self._blocks)
        return held + max(products, default=0)

    def pull(self, vectors: Tensor) -> Tensor:
        """S^T times vectors, [M, ...] to [T, ...]."""
        if self._is_identity:
            return vectors
        found = vectors.new_zeros(self.size, *vectors.shape[1:])
        for run in self._runs:
            found[run.columns] += vectors[run.rows]
        for block in self._blocks:
            of_block = vectors[block.rows].flatten(1) if vectors.dim() > 1 else vectors[block.rows]
            product = block.matrix.to(vectors).T @ of_block
            found.index_add_(0, block.columns, product.view(-1, *vectors.shape[1:]))
        return found

    def push(self, directions: Tensor) -> Tensor:
        """The path of kappa that a path of theta is, [K, T] to [K, M]: its derivatives at 0."""
        if self._is_identity:
            return directions
        found = directions.new_zeros(len(directions), self.kernel_size)
        for run in self._runs:
            found[:, run.rows] = directions[:, run.columns]
        for block in self._blocks:
            if block.is_linear or len(directions) == 1:
                matrix = block.matrix.to(directions)
                found[:, block.rows] = directions[:, block.columns] @ matrix.T
                continue
            of_leaves = [
                directions[:, self._columns(leaf)].view(-1, *leaf.shape).to(leaf)
                for leaf in block.leaves
            ]
            orders = derivatives_along(block.tensor, block.leaves, of_leaves)
            found[:, block.rows] = torch.stack(orders).flatten(1).to(found)
        return found

    def gram(self, matrix: Tensor) -> Tensor:
        """S^T A S of a symmetric A, [M, M] to [T, T]; A may be overwritten."""
        if self._is_identity:
            return matrix
        if self._changes_few:
            return self._change_few(matrix)
        found = matrix.new_zeros(self.size, self.size)
        for a in self._runs:
            for b in self._runs:
                found[a.columns, b.columns] += matrix[a.rows, b.rows]
        for block in self._blocks:
            rows = block.matrix.to(matrix).T @ matrix[block.rows]  # [C, M]
            for run in self._runs:
                part = rows[:, run.rows]
                found[:, run.columns].index_add_(0, block.columns, part)
                found[run.columns].index_add_(1, block.columns, part.T)
            for other in self._blocks:
                part = rows[:, other.rows] @ other.matrix.to(matrix)
                square = matrix.new_zeros(len(block.columns), self.size)
                found.index_add_(0, block.columns, square.index_add_(1, other.columns, part))
        return found

    @property
    def _is_identity(self) -> bool:
        return self._runs == [_Run(0, 0, self.size)] and self.kernel_size == self.size

    @property
    def _changes_few(self) -> bool:
        """Whether S is the identity but for some rows and the same columns."""
        if self.kernel_size != self.size or any(run.first != run.at for run in self._runs):
            return False
        columns = {c for block in self._blocks for c in block.columns.tolist()}
        rows = {r for block in self._blocks for r in range(self.size)[block.rows]}
        # Rows of frozen tensors are in none of them, nor columns that the kernel does not read.
        covered = sum(run.count for run in self._runs) + len(rows) == self.size
        return covered and columns == rows and 0 < 4 * len(rows) <= self.size

    def _change_few(self, matrix: Tensor) -> Tensor:
        """S^T A S where these rows and columns alone change, in the memory of A."""
        every = torch.arange(self.size, device=matrix.device)
        kept = torch.cat([every[block.rows] for block in self._blocks])
        at = torch.empty_like(every).index_put_(
            (kept,), torch.arange(len(kept), device=every.device)
        )
        part = matrix.new_zeros(len(kept), len(kept))  # of S
        first = 0
        for block in self._blocks:
            rows = slice(first, first := first + len(block.matrix))
            part[rows, at[block.columns]] = block.matrix.to(matrix)
        matrix[kept] = part.T @ matrix[kept]
        matrix[:, kept] = matrix[:, kept] @ part
        return matrix

    def _columns(self, parameter: Tensor) -> slice:
        at = self._at[id(parameter)]
        return slice(at, at + parameter.numel())

    def _add(self, tensor: Tensor) -> None:
        first, count = self.kernel_size, tensor.numel()
        self.kernel_size += count
        at = self._at.get(id(tensor))
        if at is not None:
            last = self._runs[-1] if self._runs else None
            if last is not None and last.rows.stop == first and last.columns.stop == at:
                self._runs[-1] = _Run(last.first, last.at, last.count + count)
            else:
                self._runs.append(_Run(first, at, count))
            return
        found = [leaf for leaf in leaves(tensor) if id(leaf) in self._at]
        if found:
            _check_memory(tensor, found)
            every = torch.arange(self.size, device=tensor.device)
            columns = torch.cat([every[self._columns(leaf)] for leaf in found])
            rows, matrix = slice(first, first + count), _jacobian(tensor, found)
            is_linear = self._is_linear(tensor, found)
            self._blocks.append(_Block(tensor, found, rows, columns, matrix, is_linear))

    def _is_linear(self, tensor: Tensor, found: Sequence[Tensor]) -> bool:
        """Whether the derivative of a tensor was computed without the parameters."""
        with torch.enable_grad():
            w = torch.zeros_like(tensor).requires_grad_()
            options = {"create_graph": True, "materialize_grads": True}
            grads = torch.autograd.grad(tensor, found, w, **options)
        return not any(id(leaf) in self._at for grad in grads for leaf in leaves(grad))


def _check_memory(tensor: Tensor, found: Sequence[Tensor]) -> None:
    """MemoryError where the derivative of a tensor by some leaves would not fit into the memory."""
    numbers, columns = tensor.numel(), sum(leaf.numel() for leaf in found)
    needed, available = numbers * columns * tensor.element_size(), available_memory(tensor.device)
    check(
        available is None or needed <= available, "least_squares: parameters",
        f"derivatives of computed weights that fit into the {as_text(available or 0)} of memory "
        "that are free", f"{as_text(needed)} for the {numbers} numbers of a tensor "
        f"{list(tensor.shape)} computed from {columns} parameters", "make it a parameter itself, "
        "without weight_norm or a like parametrisation, or use Adam or LBFGS", MemoryError,
    )  # fmt: skip


def batched_gradients(values: Tensor, parameters: Sequence[Tensor], vectors: Tensor) -> Tensor:
    """The gradients of sum(vector * values) for each of some vectors, [B, ...] to [B, C].

    C are the numbers of the parameters one after the other; the graph is kept.
    """
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    try:
        grads = torch.autograd.grad(values, parameters, vectors, is_grads_batched=True, **options)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # an operation without a batched backward; any other error recurs
        each = [
            torch.autograd.grad(values, parameters, v, materialize_grads=True, **options)
            for v in vectors
        ]
        grads = tuple(torch.stack(of_one) for of_one in zip(*each, strict=True))
    pairs = zip(grads, parameters, strict=True)
    count = len(vectors)
    parts = [
        vectors.new_zeros(count, p.numel()) if g is None else g.reshape(count, -1) for g, p in pairs
    ]
    return torch.cat(parts, 1)


def unit_vectors(rows: Tensor, like: Tensor) -> Tensor:
    """One at each of some rows of a tensor's numbers, zeros elsewhere, [rows, *like]."""
    units = torch.zeros(len(rows), like.numel(), dtype=like.dtype, device=like.device)
    return units.scatter_(1, rows[:, None], 1.0).view(-1, *like.shape)


def _jacobian(tensor: Tensor, found: Sequence[Tensor]) -> Tensor:
    """D tensor / d leaves, [numel, the sum of theirs]."""
    count = tensor.numel()
    chunks = torch.arange(count, device=tensor.device).split(max(1, _CHUNK // count))
    parts = [batched_gradients(tensor, found, unit_vectors(rows, tensor)) for rows in chunks]
    return torch.cat(parts)
