"""Weights of the loss terms of a PINN, live: numbers, functions of the step, learned ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.models.physics.description import digest
from pyneural.training.callbacks import Callback
from pyneural.training.checks import check
from pyneural.training.weights import Weight, ascending, number

Given = float | Tensor | Callable[[int], float]


class Weights(MutableMapping[str, Any]):
    """What the terms of a loss are multiplied with, by name; each may be given anew at any time.

    A weight is a number, a function of the number of steps done, or a ``torch.nn.Parameter``, over
    which the loss is maximised. A tensor or parameter [N] has a weight for each of the N points of
    the term, which are then in the term itself. That of a system of equations may be a tuple, with
    one for each. Asked for, it is the present value.

    Args:
        terms: receives a number or parameter for each term.
        names: of the terms.
        learned: receives the parameters.
        equations: the term that may have a tuple, and what counts its equations.
        points: counts the points of a term by its name; None where no term has points.

    >>> terms, learned = {}, torch.nn.ParameterDict()
    >>> weights = Weights(terms, ("data", "residual"), learned, ("residual", lambda: 2))
    >>> weights.update({"data": lambda step: 1 + step / 10, "residual": (1, 5)})
    >>> weights.at(5), weights["data"], weights["residual"]
    (True, 1.5, (1.0, 5.0))
    """

    def __init__(
        self,
        terms: dict[str, Weight],
        names: Sequence[str],
        learned: torch.nn.ParameterDict,
        equations: tuple[str, Callable[[], int]] | None = None,
        points: Callable[[str], int] | None = None,
    ) -> None:
        self._terms, self._learned, self._equations = terms, learned, equations
        self._points = points or (lambda name: 0)
        self._given: dict[str, list[Given]] = {name: [1.0] for name in names}
        self._several: dict[str, tuple[Weight, ...]] = {}  # those of single equations or points
        self._tuples: set[str] = set()  # terms with a weight for each equation
        self._step = 0
        terms.update(dict.fromkeys(names, 1.0))

    def __getitem__(self, name: str) -> Any:
        if name in self._several and name not in self._tuples:
            return self._several[name][0]
        return self._several.get(name, self._terms[name])

    def __setitem__(self, name: str, given: Given | Sequence[Given]) -> None:
        names = ", ".join(self._given)
        check(name in self._given, "PINN: weights", f"names of {names}", repr(name))
        several = isinstance(given, Sequence)
        one_each: list[Given] = list(given) if isinstance(given, Sequence) else [given]
        if several:
            term, count = self._equations or ("", lambda: 1)
            good = name == term and len(one_each) == count()
            expected = f"one, or for a system one for each of its {count()} equations"
            check(good, f"PINN: weights[{name!r}]", expected, f"{len(one_each)} weights")
        before = self._given[name]
        self._given[name] = one_each
        try:
            values = self._values(name)
        except ValueError:
            self._given[name] = before
            raise
        self._several.pop(name, None)
        self._tuples = (self._tuples - {name}) | ({name} if several else set())
        self._take(name, values)
        self._learned.clear()
        for key, each in self._given.items():
            for index, one in enumerate(each):
                if isinstance(one, torch.nn.Parameter):
                    self._learned[f"{key}[{index}]" if key in self._tuples else key] = one

    def __delitem__(self, name: str) -> None:
        self[name] = 1.0

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __repr__(self) -> str:
        return repr(dict(self))

    def at(self, step: int) -> bool:
        """Gives the functions a number of steps done; whether a weight has changed."""
        self._step, changed = step, False
        for name, given in self._given.items():
            if any(map(callable, given)):
                values, before = self._values(name), self._several.get(name, (self._terms[name],))
                changed |= any(a is not b and a != b for a, b in zip(values, before, strict=True))
                self._take(name, values)
        return changed

    def inside(
        self, name: str, rows: Tensor | None = None, importance: Tensor | None = None
    ) -> dict[str, Any]:
        """The argument ``weights`` of a term's loss: a list or a tensor [N], which ascend.

        Args:
            name: of the term.
            rows: numbers of the points of a batch; None for all.
            importance: further weights of these points, [N], that all are multiplied with.

        Returns:
            empty where the term has a weight as a whole.
        """
        if name not in self._several:
            return {} if importance is None else {"weights": importance}
        each = [ascending(weight) for weight in self._several[name]]
        if rows is not None:
            each = [w[rows] if isinstance(w, Tensor) and w.dim() else w for w in each]
        if importance is not None:
            each = [weight * importance for weight in each]
        return {"weights": each if name in self._tuples else each[0]}

    def of_points(self, name: str) -> bool:
        """Whether a term has weights of its single points."""
        return any(isinstance(w, Tensor) and w.dim() > 0 for w in self._several.get(name, ()))

    def numbers(self) -> dict[str, float | list[float]]:
        """The weights of terms, or of all equations of one, that are plain numbers."""
        kinds = self.described()
        plain = [n for n, each in kinds.items() if not any(isinstance(one, str) for one in each)]
        return {n: kinds[n] if n in self._several else kinds[n][0] for n in plain}

    def described(self) -> dict[str, list[Any]]:
        """Numbers as they are now, and the kinds of other weights, by name."""
        kinds = {}
        for name, given in self._given.items():
            values = self._several.get(name, (self._terms[name],))
            kinds[name] = [
                "function" if callable(one) else _described(value)
                for one, value in zip(given, values, strict=True)
            ]
        return kinds

    def _take(self, name: str, values: Sequence[Weight]) -> None:
        of_points = any(isinstance(value, Tensor) and value.dim() for value in values)
        inside = of_points or name in self._tuples
        self._terms[name] = 1.0 if inside else values[0]
        if inside:
            self._several[name] = tuple(values)

    def _values(self, name: str) -> list[Weight]:
        where = f"PINN: weights[{name!r}]"
        return [self._value(where, name, given) for given in self._given[name]]

    def _value(self, where: str, name: str, given: Given) -> Weight:
        if isinstance(given, Tensor) and given.dim() > 0:
            count = self._points(name)
            expected, got = f"a tensor or parameter [] or [{count}]", list(given.shape)
            check(got == [count], where, expected, got, "one weight for each point of the term")
        if isinstance(given, torch.nn.Parameter):
            good, got = bool((given.detach() > 0).all()), given.detach().tolist()
            remedy = "write torch.nn.Parameter(torch.ones(()))"
            check(good, where, "a parameter that begins above 0", got, remedy)
            return given
        fixed = not (isinstance(given, Tensor) and given.requires_grad)
        remedy = "write torch.nn.Parameter(weight) to learn it, else weight.detach()"
        check(fixed, where, "a number, function or parameter", "a tensor with a gradient", remedy)
        if isinstance(given, Tensor) and given.dim() > 0:
            good = bool((given.isfinite() & (given >= 0)).all())
            check(good, where, "finite numbers >= 0", given.min().item())
            return given
        value = number(given(self._step) if callable(given) else given)
        expected = "a finite number >= 0" + (f" at step {self._step}" if callable(given) else "")
        check(math.isfinite(value) and value >= 0, where, expected, value)
        return value


def _described(weight: Weight) -> Any:
    if isinstance(weight, torch.nn.Parameter):
        return "learned"
    return f"points {digest([weight])}" if isinstance(weight, Tensor) else weight


class FollowSteps(Callback):
    """Tells the weights of a PINN the step, and keeps those that are numbers in checkpoints.

    Causal weights are taken anew where it is time, at the beginning too.
    """

    def on_train_begin(self) -> None:
        """The step with which the training begins or goes on."""
        self._tell()

    def on_train_batch_end(self) -> None:
        """The next step."""
        self._tell()

    def state_dict(self) -> dict[str, Any]:
        """The weights that are numbers."""
        return {"weights": self.run.model.weights.numbers()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.run.model.weights.update(state["weights"])

    def _tell(self) -> None:
        model, step = self.run.model, self.run.steps
        changed = model.weights.at(step)
        if model.causal is not None and step % model.causal.every == 0:
            model.update_causal()
            changed = True
        if changed:
            self.run.objective_changed()
