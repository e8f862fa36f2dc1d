"""A dense approximation to the inverse of the Hessian, and its self-scaled updates."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

_BLOCK = 1 << 18  # elements that are changed and multiplied while they lie in the cache


class Curvature(NamedTuple):
    """What an update depends on besides the vectors, and so on no scale of loss or parameters.

    b = s.B s / s.y, h = y.H y / s.y and a = b h - 1 >= 0, B being the inverse of H.
    """

    b: float
    h: float
    size: int  # of the vectors
    first: bool  # whether H is the unit matrix, the scale of which says nothing

    @property
    def a(self) -> float:
        """B h - 1, above zero."""
        return max(self.b * self.h - 1, 1e-300)


Rule = Callable[[Curvature], tuple[float, float]]  # tau and phi


def ssbfgs(at: Curvature) -> tuple[float, float]:
    """Scale and parameter of the self-scaled BFGS update (Al-Baali 1998).

        tau = min(1, 1 / b),  phi = 1;  at first tau = h

    >>> ssbfgs(Curvature(b=2.0, h=3.0, size=5, first=False))
    (0.5, 1.0)
    """
    return at.h if at.first else min(1.0, 1 / at.b), 1.0


def ssbroyden(at: Curvature) -> tuple[float, float]:
    """Scale and parameter of the self-scaled Broyden update (Al-Baali and Khalfan 2005).

        c = sqrt(a / (1 + a)),  rho = min(1, h (1 - c))
        theta = max((rho - 1) / a, min(1 / rho, (1 - b) / b)),  sigma = 1 + a theta
        phi = (1 - theta) / sigma
        tau = min(1, 1 / b) min(sigma^(-1 / (P - 1)), 1 / theta)       where theta > 0
              min(min(1, 1 / b) sigma^(-1 / (P - 1)), sigma)           else
        at first tau = h / sigma

    as Urban, Stefanou and Pons (2025, arXiv:2405.04230) and Kiyani et al. (2025,
    arXiv:2501.16371) have it.

    >>> [round(value, 3) for value in ssbroyden(Curvature(b=2.0, h=3.0, size=5, first=False))]
    [0.261, 4.391]
    """
    b, h, a = at.b, at.h, at.a
    c = math.sqrt(a / (1 + a))
    rho = min(1.0, h / ((1 + a) * (1 + c)))  # h (1 - c), without the difference
    theta = max((rho - 1) / a, min(1 / rho, (1 - b) / b))
    sigma = 1 + a * theta
    phi = (1 - theta) / sigma
    if at.first:
        return h / sigma, phi
    power = sigma ** (-1 / max(at.size - 1, 1))
    least = min(1.0, 1 / b)
    return (least * min(power, 1 / theta) if theta > 0 else min(least * power, sigma)), phi


class InverseHessian:
    """H ~ (d^2 loss / d theta^2)^-1, [P, P] in float64, by updates of the Broyden family.

        H <- 1/tau (H - H y (H y)^T / (y.H y) + phi v v^T) + s s^T / (y.s)
        v = sqrt(y.H y) (s / (y.s) - H y / (y.H y))

    with the step s and the difference y of the gradients. A pass over a matrix that is larger than
    the cache costs more than its arithmetic: an update is written down as two vectors and made in
    the pass that multiplies H next, by blocks of rows that stay in the cache (1.7 times as fast at
    3,000 parameters as to multiply, update and multiply).

    Args:
        size: P.
        device: of the matrix.
        rule: tau and phi.
    """

    def __init__(self, size: int, device: torch.device, rule: Rule) -> None:
        self.rule = rule
        self.matrix = torch.empty(size, size, dtype=torch.float64, device=device)
        self._block = max(1, _BLOCK // size) if device.type == "cpu" else size  # rows
        self.restart()

    def restart(self) -> None:
        """The unit matrix, the scale of which the next update finds."""
        self.matrix.zero_().fill_diagonal_(1.0)
        self.first, self._whole = True, True  # whether no pass was broken off
        self._scale, self._added = 1.0, list[tuple[Tensor, float]]()

    def times(self, *vectors: Tensor) -> list[Tensor]:
        """H times vectors [P], after the update that was written down.

        After an interruption that left half of the rows behind, H begins anew.
        """
        if not self._whole:
            self.restart()
        found: list[list[Tensor]] = [[] for _ in vectors]
        parts = [added.split(self._block) for added, _ in self._added]
        self._whole = False
        for number, rows in enumerate(self.matrix.split(self._block)):
            scale = self._scale
            for part, (added, sign) in zip(parts, self._added, strict=True):
                rows.addr_(part[number], added, beta=scale, alpha=sign)
                scale = 1.0
            for products, vector in zip(found, vectors, strict=True):
                products.append(torch.mv(rows, vector))
        self._added, self._whole = [], True
        return [torch.cat(products) for products in found]

    def update(self, s: Tensor, y: Tensor, decrease: float, gradient: Tensor) -> Tensor | None:
        """Takes over what a step has shown; gives H times the gradient after it.

        Args:
            s: the step, [P], a multiple of -H times the gradient before it.
            y: difference of the gradients, [P], with s.y > 0.
            decrease: s.B s, which for such a step is -alpha s.g.
            gradient: after the step, [P].

        Returns:
            [P]; None where H is not positive definite, by rounding.
        """
        hy, hg = self.times(y, gradient)
        ys, yhy = float(y @ s), float(y @ hy)
        b, h = decrease / ys, yhy / ys
        if not (math.isfinite(b) and math.isfinite(h) and b > 0 and h > 0):
            return None
        tau, phi = self.rule(Curvature(b, h, len(s), self.first))
        # H / tau + [H y, s] [[p, q], [q, r]] [H y, s]^T, as two squares
        p = (phi - 1) / (tau * yhy)
        q = -phi / (tau * ys)
        r = phi * yhy / (tau * ys**2) + 1 / ys
        if not (r > 0 and all(map(math.isfinite, (tau, p, q, r)))):
            return None
        rest = p - q * q / r
        self.first, self._scale = False, 1 / tau
        self._added = [(math.sqrt(r) * (s + q / r * hy), 1.0)]
        self._added.append((math.sqrt(abs(rest)) * hy, math.copysign(1.0, rest)))
        along_hy, along_s = float(hy @ gradient), float(s @ gradient)
        own, other = p * along_hy + q * along_s, q * along_hy + r * along_s
        return hg / tau + own * hy + other * s

    def symmetrise(self) -> None:
        """Makes the matrix exactly symmetric, which rounding may have undone."""
        self.times()
        for begin in range(0, len(self.matrix), self._block):
            rows = self.matrix[begin : begin + self._block, begin:]
            columns = self.matrix[begin:, begin : begin + self._block]
            mean = (rows + columns.T) / 2
            rows.copy_(mean)
            columns.copy_(mean.T)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        self.times()
        return {"matrix": self.matrix, "first": self.first}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.matrix.copy_(state["matrix"])
        self.first, self._whole, self._added = state["first"], True, []
