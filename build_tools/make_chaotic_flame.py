"""Makes pyneural/pde/gallery/chaotic_flame.npz: Kuramoto and Sivashinsky's equation, chaotic.

Errors grow in it by orders of magnitude, so that steps have to be too short for a solution on
demand. The file has u at the times and places of the test grid, without the last place, which is
the first one again. The solution at half as many steps is compared with it.

Run it with: python build_tools/make_chaotic_flame.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pyneural.pde.gallery import ChaoticKuramotoSivashinsky
from pyneural.pde.spectral import Fourier

TARGET = Path(__file__).parents[1] / "pyneural" / "pde" / "gallery" / "chaotic_flame.npz"
MODES, STEPS = 576, 64_000


def main() -> None:
    """Writes the file and prints by how much both solutions differ."""
    problem = ChaoticKuramotoSivashinsky()
    points = problem.domain.grid(*problem.counts, dtype=torch.float64)
    times = points[:, 0].unique()
    places = points[: problem.counts[1] - 1, 1:]
    solver = Fourier(problem, problem.domain, problem.initial)
    with torch.no_grad():
        coarse, fine = (
            solver.solve(MODES * k // 4, STEPS // (5 - k), times).values(places)[..., 0]
            for k in (3, 4)
        )
    print("relative L2 difference", float((coarse - fine).norm() / fine.norm()))
    np.savez(TARGET, u=fine.numpy())


if __name__ == "__main__":
    main()
