"""Makes pyneural/pde/gallery/cavity.npz: flow in a cavity at several Reynolds numbers.

The stream function psi of the steady flow, u = psi_y and v = -psi_x,

    psi_y (lap psi)_x - psi_x (lap psi)_y = lap lap psi / Re   on (0, 1)^2

is that of the two corners under the lid, where the velocity jumps (Batchelor, 1967, section 4.8:
a plate that scrapes along another one), a polynomial with the rest of the boundary values, and a
series of products of Chebyshev polynomials that are zero with their slopes on the walls (Shen,
1994). Newton's method finds its coefficients, at each Reynolds number from those before it.

Run it with: python build_tools/make_cavity.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev
from scipy import linalg

TARGET = Path(__file__).parents[1] / "pyneural" / "pde" / "gallery" / "cavity.npz"
REYNOLDS = 100, 400, 1000, 3200
BETWEEN = 600, 1400, 2000, 2600  # on the way
POINTS = np.linspace(0, 1, 33)
DEGREES = 40, 50
_E = 1 / (np.pi**2 / 4 - 1)
_C, _A = _E * np.pi / 2, -_E * np.pi**2 / 4


def corner(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Stream function of the corner (0, 1) and its derivatives; L is the Laplacian."""
    d = 1 - y
    r2, angle = x**2 + d**2, np.arctan2(d, x)
    by_x, by_d = -d / r2, x / r2  # of the angle
    g = _C * d + _E * x
    vorticity = 2 * (_C * x - _E * d) / r2
    return {
        "": _A * d + angle * g,
        "x": by_x * g + angle * _E,
        "y": -(_A + by_d * g + angle * _C),
        "L": vorticity,
        "Lx": 2 * _C / r2 - 2 * x / r2 * vorticity,
        "Ly": 2 * _E / r2 + 2 * d / r2 * vorticity,
    }


def corners(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Both corners together."""
    left, right = corner(x, y), corner(1 - x, y)
    return {name: left[name] + (-1 if name.endswith("x") else 1) * right[name] for name in left}


def fitted(values: np.ndarray, degree: int) -> np.ndarray:
    """Chebyshev coefficients of values at the points of ``chebpts``, on [0, 1]."""
    return chebyshev.chebfit(chebyshev.chebpts2(degree + 1), values, degree)


def boundary_polynomial(degree: int) -> np.ndarray:
    """Coefficients [x, y] of what the corners leave: values and slopes on all four walls."""
    s = (chebyshev.chebpts2(degree + 1) + 1) / 2
    zero, one = np.zeros_like(s), np.ones_like(s)
    left, low = corner(1 - zero, s), corners(s, zero)
    # On x = 0 the left corner meets the conditions; on x = 1 it is the mirror image.
    west, west_slope = -left[""], left["x"]
    south, south_slope = -low[""], -low["y"]
    north, north_slope = zero, -one
    hermite = np.array([[1, 0, -3, 2], [0, 1, -2, 1], [0, 0, 3, -2], [0, 0, -1, 1]], float)
    z = (chebyshev.chebpts2(degree + 1) + 1) / 2
    blend = np.array([fitted(np.polyval(h[::-1], z), degree) for h in hermite])
    across = np.array([fitted(f, degree) for f in (west, west_slope, west, -west_slope)])
    along = np.array([fitted(f, degree) for f in (south, south_slope, north, north_slope)])
    # Values and slopes of the functions on the walls at their ends, by the polynomials.
    total = blend.T @ across + along.T @ blend
    ends = np.array([_ends(f) for f in along])  # [4 of y, (value, slope) at x = 0, 1]
    return total - np.einsum("ax,by,ba->xy", blend, blend, ends)


def _ends(coefficients: np.ndarray) -> list[float]:
    slope = 2 * chebyshev.chebder(coefficients)
    found = []
    for end in (-1, 1):
        found += [chebyshev.chebval(end, coefficients), chebyshev.chebval(end, slope)]
    return found


def shen(degree: int) -> np.ndarray:
    """Chebyshev coefficients [n, degree + 1] of functions that are zero with slope at both ends."""
    n = degree - 3
    basis = np.zeros((n, degree + 1))
    for k in range(n):
        basis[k, [k, k + 2, k + 4]] = 1, -2 * (k + 2) / (k + 3), (k + 1) / (k + 3)
        basis[k] /= (k + 1.0) ** 3.5
    return basis


def tables(coefficients: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """Values and four derivatives in x of series [n, degree + 1], [n, points] each."""
    found = []
    for order in range(5):
        derived = chebyshev.chebder(coefficients, order, axis=1) * 2.0**order
        found.append(chebyshev.chebval(2 * x - 1, derived.T))
    return found


class Cavity:
    """The flow with series up to a degree; ``solve`` is Newton's method."""

    def __init__(self, degree: int) -> None:
        self.degree, self.n = degree, degree - 3
        nodes, weights = np.polynomial.legendre.leggauss(degree + 24)
        self.nodes = (nodes + 1) / 2
        self.basis = shen(degree)
        x, y = np.meshgrid(self.nodes, self.nodes, indexing="ij")
        self.known = {k: v.ravel() for k, v in corners(x, y).items()}
        lift = boundary_polynomial(degree)
        identity = tables(np.eye(degree + 1), self.nodes)
        one = [t.T for t in tables(self.basis, self.nodes)]  # [points, n]
        self.test = one[0].T * weights
        self.operators = {}
        for name, parts in _PARTS.items():
            self.operators[name] = sum(c * np.kron(one[a], one[b]) for c, a, b in parts)
            smooth = sum(c * identity[a].T @ lift @ identity[b] for c, a, b in parts).ravel()
            self.known[name] = self.known.get(name, 0.0) + smooth
        self.lift = lift
        stiffness = self.tested(self.operators["LL"])
        self.a = linalg.solve(stiffness, -self.tested(self.known["LL"][:, None])[:, 0])  # Stokes

    def tested(self, values: np.ndarray) -> np.ndarray:
        """Integrals with each of the products, [n^2, K], of values at the nodes [points^2, K]."""
        q = len(self.nodes)
        found = np.tensordot(self.test, values.reshape(q, q, -1), 1)
        return np.tensordot(self.test, found, (1, 1)).swapaxes(0, 1).reshape(self.n**2, -1)

    def solve(self, reynolds: float) -> None:
        """The flow at a Reynolds number, from the present one."""
        m = self.operators
        for _ in range(20):
            psi = {name: self.known[name] + m[name] @ self.a for name in _PARTS}
            residual = psi["y"] * psi["Lx"] - psi["x"] * psi["Ly"] - psi["LL"] / reynolds
            jacobian = psi["Lx"][:, None] * m["y"] + psi["y"][:, None] * m["Lx"]
            jacobian -= psi["Ly"][:, None] * m["x"] + psi["x"][:, None] * m["Ly"]
            jacobian -= m["LL"] / reynolds
            right = -self.tested(residual[:, None])[:, 0]
            step = linalg.solve(self.tested(jacobian), right, overwrite_a=True)
            self.a = self.a + step
            if abs(step).max() < 1e-9 * abs(self.a).max():
                return
        raise RuntimeError(f"no convergence at Re = {reynolds}")

    def velocity(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """U and v on the grid of x and y, [X, Y, 2]."""
        series = self.basis.T @ self.a.reshape(self.n, self.n) @ self.basis + self.lift
        by_x, by_y = (tables(np.eye(self.degree + 1), each) for each in (x, y))
        with np.errstate(divide="ignore", invalid="ignore"):
            known = corners(*np.meshgrid(x, y, indexing="ij"))
        u = by_x[0].T @ series @ by_y[1] + known["y"]
        v = -(by_x[1].T @ series @ by_y[0] + known["x"])
        return np.stack([u, v], -1)


_PARTS = {
    "x": [(1, 1, 0)],
    "y": [(1, 0, 1)],
    "Lx": [(1, 3, 0), (1, 1, 2)],
    "Ly": [(1, 2, 1), (1, 0, 3)],
    "LL": [(1, 4, 0), (2, 2, 2), (1, 0, 4)],
}


def main() -> None:
    """Writes the file and prints by how much the solutions of both degrees differ."""
    fields: dict[int, np.ndarray] = {}
    for degree in DEGREES:
        cavity = Cavity(degree)
        for reynolds in sorted(REYNOLDS + BETWEEN):
            cavity.solve(reynolds)
            if reynolds in BETWEEN:
                continue
            found = cavity.velocity(POINTS, POINTS)
            if reynolds in fields:
                inside = np.s_[1:-1, 1:-1]
                change = (found - fields[reynolds])[inside]
                print(
                    reynolds, "largest difference", abs(change).max(), "relative L2",
                    np.linalg.norm(change) / np.linalg.norm(found[inside]), flush=True,
                )  # fmt: skip
            fields[reynolds] = found
        np.savez_compressed(TARGET, **{f"re_{key}": field for key, field in fields.items()})


if __name__ == "__main__":
    main()
