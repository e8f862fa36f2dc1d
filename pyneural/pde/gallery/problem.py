"""What each problem of the gallery gives: equation, domain, conditions, reference, recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.nn import MLP
from pyneural.pde.condition import Condition
from pyneural.pde.coordinates import call_with_coordinates
from pyneural.pde.domains import Box
from pyneural.pde.equation import Equation
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network

_TEST_POINTS = 4096

Constant = TypeVar("Constant", bound=float | Tensor)


@dataclass(frozen=True)
class Recipe:
    """A network and a training that reach a stated error; ``models.solve`` follows it.

    The network is that of ``Problem.network``, in float64. It is trained by Levenberg and
    Marquardt's method, with new collocation points where the residual is large every ten steps;
    before it those of ``Problem.easier``, with whose weights it begins.

    Args:
        hidden: widths of the hidden layers.
        error: relative L2 error that the training reached with seed 0.
        steps: of Levenberg-Marquardt.
        activation: of the hidden layers.
        input_scale: inputs of the network go from minus this to it. With ``"sin"`` it is the
            frequency of the first layer (omega_0 of Sitzmann et al. 2020, arXiv:2006.09661), for
            solutions of many waves.
        points: collocation points at the start.
        most: number to which they grow.
        condition_points: points of all soft conditions together.
        hard: whether the conditions are built into the network, see ``Problem.hard``.
        weights: of the loss terms, by name; 1 where not given.
        windows: parts of the time, solved one after the other; see ``models.TimeWindows``.
    """

    hidden: tuple[int, ...]
    error: float
    steps: int
    activation: str = "tanh"
    input_scale: float = 1.0
    points: int = 2000
    most: int = 10_000
    condition_points: int = 400
    hard: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    windows: int = 1


class Problem(Equation):
    """An equation with its domain, conditions and solution, ready to be solved.

    A subclass writes ``residual`` and ``conditions``, and ``exact`` where there is an exact
    solution; otherwise it has its own ``test_grid``. ``GALLERY`` has all of them by name.

    Attributes:
        domain: where the equation holds.
        recipe: network and training, with the error that they reach.
        formula: the equation in one line.
        reference: what the values of ``test_grid`` are.
        counts: points of the test grid along each coordinate.
        truth: right values of constants that are learned, by name.
        section: coordinates that are fixed where the solution is drawn, with their values; one or
            two are free.

    >>> from pyneural.pde.gallery import Heat
    >>> heat = Heat()
    >>> points, u = heat.test_grid()
    >>> points.shape, u.shape
    (torch.Size([10201, 2]), torch.Size([10201, 1]))
    """

    domain: Box
    recipe: Recipe
    formula: ClassVar[str]
    reference: ClassVar[str] = "the exact solution"
    counts: tuple[int, ...]
    truth: Mapping[str, float] = {}
    section: Mapping[str, float] = {}

    def conditions(self, points: int = 100, **drawing: Any) -> dict[str, Condition]:
        """Soft conditions by name, on as many points together; ``drawing`` as of ``Box``."""
        raise NotImplementedError(f"{type(self).__name__}.conditions: write it in the subclass")

    def hard(self, network: Network) -> Hard:
        """The network with the conditions built in.

        Raises:
            ValueError: there is no such form of this problem.
        """
        raise ValueError(
            f"{type(self).__name__}.hard: expected a problem whose conditions can be built into "
            "the network, got one that has soft ones only; use conditions()"
        )

    def easier(self) -> Sequence[Problem]:
        """Problems of the same network to solve before, each with the weights of the last one."""
        return ()

    def window(self, domain: Box, start: Callable[..., Tensor]) -> Hard:
        """A new network of a part of the time, which begins with a state, for ``Recipe.windows``.

        Raises:
            ValueError: there is no such form of this problem.
        """
        raise ValueError(
            f"{type(self).__name__}.window: expected a problem on a ring, got another; write it in "
            "the subclass, or train models.TimeWindows with your own"
        )

    def network(self, hidden: Sequence[int] | None = None) -> torch.nn.Module:
        """A network with new weights, of the recipe's widths where none are given."""
        recipe, sizes = self.recipe, (len(self.inputs), len(self.outputs))
        hidden = recipe.hidden if hidden is None else hidden
        inputs = input_range(*self.domain.range, recipe.input_scale)
        return MLP(sizes[0], hidden, sizes[1], recipe.activation, input_range=inputs)

    def exact(self, *args: Any, **kwargs: Any) -> Tensor:
        """Exact solution as a function of coordinates, [N] or [N, O]."""
        raise NotImplementedError(
            f"{type(self).__name__}.exact: there is none; test_grid() gives the reference"
        )

    def solution(self, points: Tensor) -> Tensor:
        """Exact solution at points [N, D], [N, O]; NotImplementedError where there is none."""
        if type(self).exact is Problem.exact:
            self.exact()  # says that there is none
        where = f"{type(self).__name__}.exact"
        value = call_with_coordinates(self.exact, self.domain.names, points, where)
        return value[:, None] if value.dim() == 1 else value

    def test_grid(self) -> tuple[Tensor, Tensor]:
        """Points [N, D] and the solution there [N, O] that a network is measured with, float64.

        The values are NaN where the reference does not know an output.
        """
        points = self.domain.grid(*self.counts, dtype=torch.float64)
        return points, self.solution(points)

    def section_grid(self) -> tuple[Tensor, Tensor]:
        """Points and solution, as ``test_grid``, where the solution is drawn.

        The section through the domain has ``counts`` points along the coordinates that are free.
        """
        names = self.domain.names
        free = [name for name in names if name not in self.section]
        if len(free) == len(names):
            return self.test_grid()
        counts = [self.counts[names.index(name)] if name in free else 1 for name in names]
        points = self.domain.grid(*counts, dtype=torch.float64)
        for name, value in self.section.items():
            points[:, names.index(name)] = value
        return points, self.solution(points)


def shares(problem: Problem, points: int, count: int) -> list[int]:
    """Points of each of several conditions, as even as can be.

    Raises:
        ArgumentError: not a whole number, or fewer points than conditions.

    >>> from pyneural.pde.gallery import Heat
    >>> shares(Heat(), 7, 2)
    [4, 3]
    """
    where = f"{type(problem).__name__}.conditions: points"
    points = whole(where, points)
    check_argument(points >= count, where, f"at least {count}", points, "ask for more")
    return [(points + count - 1 - i) // count for i in range(count)]


def input_range(
    low: Sequence[float] | Tensor, high: Sequence[float] | Tensor, scale: float
) -> tuple[list[float], list[float]]:
    """Bounds of inputs for which a network that maps them to [-1, 1] maps low, high to -+scale.

    >>> input_range([0.0], [2.0], 4)
    ([0.75], [1.25])
    """
    pairs = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    if scale == 1:
        return [a for a, _ in pairs], [b for _, b in pairs]
    middles = [((a + b) / 2, (b - a) / 2 / scale) for a, b in pairs]
    return [m - half for m, half in middles], [m + half for m, half in middles]


def sobol_grid(problem: Problem) -> tuple[Tensor, Tensor]:
    """Points of a Sobol sequence and the exact solution there, where a grid has too many."""
    generator = torch.Generator().manual_seed(0)
    points = problem.domain.sample(
        _TEST_POINTS, sampling="sobol", generator=generator, dtype=torch.float64
    )
    return points, problem.solution(points)


def positive(where: str, value: Constant, noun: str = "a number") -> Constant:
    """The value of a constant, which may be learned; ValueError unless it is positive.

    >>> positive("Heat: alpha", -1.0)
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: Heat: alpha: expected a number > 0, got -1.0; correct it
    """
    finite(where, value)
    check_argument(number(value) > 0, where, f"{noun} > 0", number(value))
    return value


def finite(where: str, value: Constant) -> Constant:
    """The value of a constant, which may be learned; ValueError unless it is one finite number.

    >>> finite("Lorenz: rho", math.nan)
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: Lorenz: rho: expected a finite number, got nan; correct it
    """
    if isinstance(value, Tensor):
        good, got = value.numel() == 1 and not value.is_complex(), f"{value.dtype}"
        check_argument(good, where, "one real number", f"{got} {list(value.shape)}")
    else:
        good = isinstance(value, Real) and not isinstance(value, bool)
        check_argument(good, where, "a number", repr(value))
    check_argument(math.isfinite(number(value)), where, "a finite number", number(value))
    return value


def number(value: float | Tensor) -> float:
    """The present value of a constant that may be learned."""
    return float(value.detach() if isinstance(value, Tensor) else value)
