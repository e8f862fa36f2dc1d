"""The terms of a model at the parameters as they are, made anew where these have changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.nn.jets.by_definition import ByDefinition, has_wrong_derivatives
from pyneural.ops import GroupedSquare, MeanSquare
from pyneural.training.checks import check

Square = MeanSquare | GroupedSquare
Entry = Square | Callable[[], Tensor]


class Source:
    """What ``model.least_squares(batch)`` gives, kept while the parameters are the same.

    They are where nothing has written to them, as autograd counts it, and none has another value,
    as by way of ``parameter.data``, which it does not see.

    Args:
        model: a ``Trainable``.
        parameters: the trained ones.
        batch: as for ``losses``.
    """

    def __init__(self, model: Any, parameters: Sequence[Tensor], batch: Any) -> None:
        self.model, self.parameters, self.batch = model, list(parameters), batch
        wrong = has_wrong_derivatives(model)
        self._mode: Callable[[], Any] = ByDefinition if wrong else contextlib.nullcontext
        self._theta: Tensor | None = None
        self._versions: list[int] = []
        self._entries: dict[str, Entry] = {}
        self._others: dict[Any, Any] = {}

    @property
    def size(self) -> int:
        """Number T of trained numbers."""
        return sum(p.numel() for p in self.parameters)

    def entries(self) -> dict[str, Entry]:
        """The terms by name, without their weights."""
        theta = torch.cat([p.detach().flatten() for p in self.parameters])
        versions = [p._version for p in self.parameters]
        same = self._theta is not None and torch.equal(theta, self._theta)
        if not same or versions != self._versions:
            with torch.enable_grad(), self._mode():
                self._entries = self.model.least_squares(self.batch)
            self._theta, self._versions = theta, versions
            self._others.clear()
        return self._entries

    def square(self, name: str) -> Square:
        """A term that a kernel computes."""
        entry = self.entries()[name]
        where, kind = f"{type(self.model).__name__}.least_squares", type(entry).__name__
        expected = f"{name!r} as a MeanSquare, as it was before"
        check(isinstance(entry, Square), where, expected, kind, "make the terms anew")
        return entry  # type: ignore[return-value]

    def residuals(self, name: str) -> Tensor:
        """The residuals of any term, [R], whose sum of squares is the term; with their graph."""
        return self.kept(("residuals", name), lambda: self._residuals(name))

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is made once for these values of the parameters."""
        self.entries()
        if key not in self._others:
            self._others[key] = make()
        return self._others[key]

    def gradients(self, residuals: Tensor, vector: Tensor) -> Tensor:
        """J^T vector, [T], of residuals with their graph, which is kept."""
        if not residuals.requires_grad:
            return vector.new_zeros(self.size)
        grads = torch.autograd.grad(
            residuals, self.parameters, vector.to(residuals), retain_graph=True,
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        return torch.cat([grad.flatten() for grad in grads])

    def _residuals(self, name: str) -> Tensor:
        entry = self.entries()[name]
        with torch.enable_grad():
            if isinstance(entry, Square):
                return entry.residuals().flatten() / entry.squares**0.5
            with self._mode():
                found = entry()
        where, got = f"{type(self.model).__name__}.least_squares[{name!r}]", list(found.shape)
        check(found.dim() == 1, where, "residuals [R]", got, "flatten them")
        return found
