"""What a Fourier problem is made of: variables that evolve, constraints, constant coefficients."""

from __future__ import annotations

import torch

from pyneural.pde.spectral.splitting import constant_coefficients
from pyneural.pde.spectral.system import Rule, System, initial_values


class FourierForm:
    """An equation with periodic initial values, checked and sorted.

    Args:
        system: the equation.
        initial: function of the coordinates in space, or None where nothing evolves.

    Attributes:
        variables: all that evolves: the index of an output, and an order in time.
        needed: their names.
        is_complex: whether fields are complex.
        coefficients: of each channel in each equation; None where it is not a constant.
        evolving: indices of the equations with derivatives in time.
        constraints: indices of the others.
        dynamic: indices of the outputs that have derivatives in time.
        algebraic: indices of the others.

    Raises:
        ValueError: an equation or data of another form.
    """

    def __init__(self, system: System, initial: Rule | None) -> None:
        self.system, self.initial, self.domain = system, initial, system.domain
        if not 1 <= len(system.spatial) <= 3:
            raise ValueError(
                f"Fourier: domain: expected 1 to 3 coordinates in space, got "
                f"{', '.join(system.spatial) or 'none'}; see pyneural.ode for none"
            )
        self.variables = [  # output and order in time of all that evolves
            (output, order)
            for output, highest in enumerate(system.time_orders)
            for order in range(highest)
        ]
        names = [system.outputs[j] + ("_" + "t" * a if a else "") for j, a in self.variables]
        if (initial is None) != (not self.variables):
            raise ValueError(
                f"Fourier: initial: expected {'a function' if names else 'none'} for the variables "
                f"that evolve ({', '.join(names) or 'none'}), got "
                f"{'none' if initial is None else 'one'}; correct it"
            )
        self.needed = ", ".join(names)
        with torch.no_grad():
            self.is_complex = self._checked_initial() | system.is_complex()
            self._check_periodic()
            self.coefficients = constant_coefficients(system, self.is_complex)
        self._sort()

    def _checked_initial(self) -> bool:
        """Whether the fields are complex; ValueError where their values at two ends differ."""
        if self.initial is None:
            return False
        domain, system = self.domain, self.system
        g = torch.Generator().manual_seed(0)
        points = domain.sample(64, generator=g, dtype=torch.float64)
        columns = {name: points[:, domain.index(name)] for name in system.spatial}
        values = initial_values(system, self.initial, columns, len(self.variables), self.needed)
        for name in system.spatial:
            column = domain.index(name)
            ends = [
                initial_values(
                    system, self.initial, columns | {name: torch.full_like(columns[name], end)},
                    len(self.variables), self.needed,
                )
                for end in (float(domain.low[column]), float(domain.high[column]))
            ]  # fmt: skip
            jump = float((ends[0] - ends[1]).abs().max())
            if jump > 1e-8 * float(values.abs().max()):
                raise ValueError(
                    f"Fourier: initial: expected values that are periodic in {name}, got a "
                    f"difference of {jump:.2g} between the ends of {domain}; use "
                    "spectral.Chebyshev with boundary conditions, or widen the domain"
                )
        return values.is_complex()

    def _check_periodic(self) -> None:
        """ValueError where a coefficient or a source differs at two ends."""
        domain, system = self.domain, self.system
        g = torch.Generator().manual_seed(0)
        points = domain.sample(64, generator=g, dtype=torch.float64)
        columns = dict(zip(domain.names, points.T, strict=True))
        values = list(torch.rand(len(system.channels), 64, generator=g, dtype=torch.float64))
        for name in system.spatial:
            column = domain.index(name)
            low, high = (
                torch.stack([
                    torch.as_tensor(r).expand(64) + 0j
                    for r in system.residuals(
                        values, columns | {name: torch.full_like(columns[name], end)}
                    )
                ])
                for end in (float(domain.low[column]), float(domain.high[column]))
            )  # fmt: skip
            jump = float((low - high).abs().max())
            if jump > 1e-8 * float(low.abs().max()):
                raise ValueError(
                    f"Fourier: equation: expected coefficients and sources that are periodic in "
                    f"{name}, got a difference of {jump:.2g} between the ends of {domain}; use "
                    "spectral.Chebyshev with boundary conditions, or another domain"
                )

    def _sort(self) -> None:
        """Which equations are of evolution; refuses those that are not of the form above."""
        system, channels = self.system, self.system.channels
        highest = [c.time > 0 and c.time == system.time_orders[c.output] for c in channels]
        evolving: list[int] = []
        constraints: list[int] = []
        for equation, row in enumerate(self.coefficients):
            in_time = [c for c, top in zip(row, highest, strict=True) if top]
            if None in in_time:
                raise ValueError(
                    f"Fourier: equation: expected constant coefficients of the highest derivatives "
                    f"in time, got others in equation {equation + 1}; divide it by them"
                )
            (evolving if any(in_time) else constraints).append(equation)
        self.evolving, self.constraints = evolving, constraints
        self.dynamic = [j for j, order in enumerate(system.time_orders) if order]
        self.algebraic = [j for j, order in enumerate(system.time_orders) if not order]
        if len(self.evolving) != len(self.dynamic):
            raise ValueError(
                f"Fourier: equation: expected {len(self.dynamic)} equations with derivatives in "
                f"time, one for each output that has any, got {len(self.evolving)}; "
                "combine equations so that each has its own"
            )
        for equation in constraints:
            own = [
                c for c, channel in zip(self.coefficients[equation], channels, strict=True)
                if channel.output in self.algebraic
            ]  # fmt: skip
            if None in own or not any(own):
                names = ", ".join(system.outputs[j] for j in self.algebraic)
                raise ValueError(
                    f"Fourier: equation: expected equation {equation + 1}, which has no derivative "
                    f"in time, to be linear in {names} with constant coefficients, got "
                    f"{'none of them' if not any(c for c in own if c is not None) else 'another'}; "
                    "for an incompressible flow write p.laplacian = ..., for a steady nonlinear "
                    "problem use spectral.Chebyshev, or march it in time"
                )
