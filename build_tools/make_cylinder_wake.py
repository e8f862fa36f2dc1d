"""Makes pyneural/pde/gallery/cylinder_wake.npz: the flow past a cylinder at Re = 100.

Vorticity w and stream function psi outside a circle of diameter 1 in a stream of speed 1, in
xi = log(r) and the angle:

    w_t = (nu (w_xixi + w_aa) - psi_a w_xi + psi_xi w_a) / r^2,  psi_xixi + psi_aa = -r^2 w

Fourier modes in the angle, Chebyshev points in xi, backward differentiation of second order with
the viscous term implicit. Each mode's psi and w are solved together, so that the wall neither lets
the fluid through nor slip. From r = 15 on a growing viscosity dissolves the vortices before they
reach the outer boundary.

Run it with: python build_tools/make_cylinder_wake.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.polynomial import chebyshev

TARGET = Path(__file__).parents[1] / "pyneural" / "pde" / "gallery" / "cylinder_wake.npz"
NU, INNER, OUTER = 0.01, 0.5, 60.0
RADIAL, ANGLES, MODES = 96, 192, 65  # intervals of Chebyshev points; angles; modes in the angle
STEP, SETTLED, WINDOW = 0.005, 120.0, 6.0  # time step, when the data begin, how long they last
POINTS, BETWEEN = 2000, 0.1  # scattered measurements; time between the three fields
X, Y = np.linspace(1, 8, 57), np.linspace(-2, 2, 33)


def differentiation(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points from 1 to -1 and the matrix of d/dx (Trefethen, 2000, ch. 6)."""
    x = np.cos(np.pi * np.arange(n + 1) / n)
    c = np.r_[2, np.ones(n - 1), 2] * (-1.0) ** np.arange(n + 1)
    matrix = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n + 1))
    return x, matrix - np.diag(matrix.sum(1))


def modes(values: np.ndarray) -> np.ndarray:
    """Fourier modes in the angle of values at the angles."""
    return np.fft.rfft(values)[:, :MODES]


class Wake:
    """The flow; ``advance`` makes one step."""

    def __init__(self) -> None:
        s, d = differentiation(RADIAL)  # s = 1 is the outer boundary
        low, high = np.log(INNER), np.log(OUTER)
        self.xi = low + (s + 1) / 2 * (high - low)
        self.d = d * 2 / (high - low)
        self.r2 = np.exp(2 * self.xi)[:, None]
        self.angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
        self.k = np.arange(MODES)
        far = np.clip((np.exp(self.xi) - 15) / 25, 0, 1)
        self.nu = NU * (1 + 100 * far**2 * (3 - 2 * far))
        self.first, self.others = self._solvers(1.0), self._solvers(1.5)
        size = (RADIAL + 1, len(self.k))
        self.w = np.zeros(size, complex)
        self.psi = np.zeros(size, complex)
        self.psi[:, 1] = -0.5j * ANGLES * (np.exp(self.xi) - INNER**2 * np.exp(-self.xi))
        self.before: tuple[np.ndarray, np.ndarray] | None = None
        # A puff beside the cylinder, which makes the shedding begin early.
        r, a = np.exp(self.xi)[:, None], self.angle
        x, y = r * np.cos(a), r * np.sin(a)
        self.w += modes(0.5 * np.exp(-((x - 1.5) ** 2 + (y - 0.6) ** 2) / 0.1))

    def _solvers(self, factor: float) -> np.ndarray:
        """For each mode the matrix from the right side and psi's outer value to w and psi."""
        n = RADIAL + 1
        second = self.d @ self.d
        found = []
        for k in self.k:
            laplacian = second - k**2 * np.eye(n)
            matrix = np.zeros((2 * n, 2 * n))
            spread = (self.nu / self.r2[:, 0])[:, None]
            matrix[:n, :n] = factor / STEP * np.eye(n) - spread * laplacian
            matrix[n:, :n], matrix[n:, n:] = np.diag(self.r2[:, 0]), laplacian
            right = np.zeros((2 * n, n + 1))
            right[:n, :n] = np.eye(n)
            for row in (0, n - 1, n, 2 * n - 1):
                matrix[row] = right[row] = 0
            matrix[0, 0] = 1  # no vorticity far away
            matrix[2 * n - 1, 2 * n - 1] = 1  # psi = 0 on the wall
            if k:
                matrix[n - 1, n:] = self.d[-1]  # no slip
                matrix[n, n] = right[n, n] = 1  # psi far away
            else:
                matrix[n - 1, :n] = self.d[-1]  # the pressure is the same after one turn
                matrix[n, n:] = self.d[-1]  # no slip
            found.append(np.linalg.solve(matrix, right))
        return np.stack(found)

    def advection(self) -> np.ndarray:
        """-u . grad w, by products at the angles, of which there are three for each two modes."""
        ik = 1j * self.k
        parts = [self.psi * ik, self.d @ self.w, self.d @ self.psi, self.w * ik]
        psi_a, w_xi, psi_xi, w_a = (np.fft.irfft(part, ANGLES) for part in parts)
        return modes((psi_xi * w_a - psi_a * w_xi) / self.r2)

    def advance(self) -> None:
        """One step of STEP."""
        now = self.advection()
        if self.before is None:
            solver, right = self.first, self.w / STEP + now
        else:
            w, then = self.before
            solver, right = self.others, (2 * self.w - 0.5 * w) / STEP + 2 * now - then
        self.before = self.w, now
        stream = np.zeros(len(self.k), complex)
        stream[1] = -0.5j * ANGLES * (OUTER - INNER**2 / OUTER)
        sources = np.concatenate([right, stream[None]]).T.copy()
        # Real and imaginary part as two columns, as the matrices are real.
        solution = (solver @ sources.view(float).reshape(*sources.shape, 2)).view(complex)[..., 0].T
        self.w, self.psi = solution[: RADIAL + 1], solution[RADIAL + 1 :]

    def fields(self) -> list[np.ndarray]:
        """Modes of u, v and p on the grid; p = 0 at the first corner of the written grid."""
        ik, r, a = 1j * self.k, np.sqrt(self.r2), self.angle
        radial = np.fft.irfft(self.psi * ik, ANGLES) / r
        around = -np.fft.irfft(self.d @ self.psi, ANGLES) / r
        u = modes(radial * np.cos(a) - around * np.sin(a))
        v = modes(radial * np.sin(a) + around * np.cos(a))

        def gradient(f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            f_xi, f_a = np.fft.irfft(self.d @ f, ANGLES), np.fft.irfft(f * ik, ANGLES)
            return (
                (f_xi * np.cos(a) - f_a * np.sin(a)) / r,
                (f_xi * np.sin(a) + f_a * np.cos(a)) / r,
            )

        (u_x, u_y), (v_x, v_y) = gradient(u), gradient(v)
        source = modes(2 * self.r2 * (u_x * v_y - u_y * v_x))
        p = np.empty_like(u)
        for k in self.k:
            matrix = self.d @ self.d - k**2 * np.eye(RADIAL + 1)
            right = source[:, k].copy()
            matrix[0] = np.eye(RADIAL + 1)[0]
            right[0] = 0
            matrix[-1] = self.d[-1]  # the wall: p_xi = -nu w_a
            right[-1] = -NU * ik[k] * self.w[-1, k]
            p[:, k] = np.linalg.solve(matrix, right)
        corner = self.at(p, X[:1], Y[:1])[0]
        p[:, 0] -= ANGLES * corner
        return [u, v, p]

    def at(self, field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A field at points, by its Chebyshev and Fourier series."""
        low, high = self.xi[-1], self.xi[0]
        s = 2 * (np.log(np.hypot(x, y)) - low) / (high - low) - 1
        points = np.cos(np.pi * np.arange(RADIAL + 1) / RADIAL)
        series = np.linalg.solve(chebyshev.chebvander(points, RADIAL), field)
        weights = np.where(self.k == 0, 1, 2) / ANGLES
        waves = weights * np.exp(1j * np.outer(np.arctan2(y, x), self.k))
        return ((chebyshev.chebvander(s, RADIAL) @ series) * waves).sum(1).real


def main() -> None:
    """Computes and writes it."""
    wake, steps = Wake(), round(WINDOW / STEP)
    for step in range(round(SETTLED / STEP)):
        wake.advance()
        if step % 2000 == 0:
            lift = wake.at(wake.psi, np.array([1.5]), np.array([0.0]))[0]
            print(f"t = {step * STEP:5.1f}  psi(1.5, 0) = {lift:+.6f}", flush=True)
    rng = np.random.default_rng(0)
    when = np.sort(rng.integers(0, steps + 1, POINTS))
    x, y = rng.uniform(1, 8, POINTS), rng.uniform(-2, 2, POINTS)
    measured = np.empty((POINTS, 5))
    grid = [each.ravel() for each in np.meshgrid(X, Y, indexing="ij")]
    middle, apart = steps // 2, round(BETWEEN / STEP)
    fields = []
    for step in range(steps + 1):
        here = when == step
        wanted = step in (middle - apart, middle, middle + apart)
        if here.any() or wanted:
            found = wake.fields()
            u, v = (wake.at(f, x[here], y[here]) for f in found[:2])
            measured[here] = np.stack([np.full(here.sum(), step * STEP), x[here], y[here], u, v], 1)
            if wanted:
                fields.append(np.stack([wake.at(f, *grid) for f in found], 1))
        wake.advance()
    np.savez_compressed(
        TARGET, measured=measured.astype(np.float32), fields=np.float32(fields),
        times=np.array([middle - apart, middle, middle + apart]) * STEP, x=X, y=Y,
    )  # fmt: skip
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
