"""Runge-Kutta methods as their Butcher tableaus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method of s stages.

        k_i = f(t + c_i h, y + h sum_j a_ij k_j),  y(t + h) = y + h sum_i b_i k_i

    Args:
        name: as it is written in ``odeint``.
        order: p, where the error of a step is O(h^(p + 1)).
        nodes: c, [s].
        stages: a, row i of i numbers, [s].
        weights: b, [s].
        lower: b^ of the embedded method of order p - 1, whose difference to b estimates the error;
            None without one.

    >>> all(abs(sum(row) - c) < 1e-15 for row, c in zip(RK4.stages, RK4.nodes))
    True
    """

    name: str
    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    lower: tuple[float, ...] | None = None

    @property
    def error_weights(self) -> tuple[float, ...]:
        """The b - b^ of the error estimate."""
        lower = self.lower or self.weights
        return tuple(b - b_hat for b, b_hat in zip(self.weights, lower, strict=True))

    @property
    def is_first_same_as_last(self) -> bool:
        """Whether the last stage is the slope at the step's end, so at the next one's start."""
        return (*self.stages[-1], 0) == self.weights


# Kutta 1901, "Beitrag zur näherungsweisen Integration totaler Differentialgleichungen".
RK4 = Tableau(
    name="rk4",
    order=4,
    nodes=(0, 1 / 2, 1 / 2, 1),
    stages=(
        (),
        (1 / 2,),
        (0, 1 / 2),
        (0, 0, 1),
    ),
    weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)

# Dormand and Prince 1980, "A family of embedded Runge-Kutta formulae".
DOPRI5 = Tableau(
    name="dopri5",
    order=5,
    nodes=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    stages=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    weights=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    lower=(5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40),
)

METHODS = {tableau.name: tableau for tableau in (DOPRI5, RK4)}
