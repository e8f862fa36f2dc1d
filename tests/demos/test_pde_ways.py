"""The ways to a solution of Burgers' equation: the demo, and the expansion in the amplitude."""

from __future__ import annotations

import pytest
import torch

from pyneural.demos import pde_ways
from tests.demos.screen import run_demo

pytest.importorskip("matplotlib")


def test_the_demo_prints_cost_and_error_of_each_way(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pde_ways, "GRIDS", ((64, 100), (384, 300)))
    monkeypatch.setattr(pde_ways, "NODES", (25, 100))
    monkeypatch.setattr(pde_ways, "AMPLITUDES", (0.001, 0.01))
    budget = ["--steps", "6", "--looks", "2", "--width", "6", "--points", "100"]
    out = run_demo("pde-ways", tmp_path, capsys, *budget)
    table, amplitudes = out.split("amplitude")
    rows = [line.split() for line in table.splitlines()[4:] if line.strip()]
    errors = {row[0]: float(row[-1]) for row in rows}
    assert errors["linearised"] > 0.5
    assert errors["Cole-Hopf"] > 1e-3 > errors["100"]
    assert errors["pseudo-spectral"] > 0.05
    assert errors["n"] < 0.005
    assert errors["PINN"] < 3
    numbers = [[float(x) for x in line.split()] for line in amplitudes.splitlines()[1:3]]
    for _, linear, predicted, second, third in numbers:
        assert linear == pytest.approx(predicted, rel=0.02)
        assert second == pytest.approx(third, rel=0.02)


def test_the_corrections_solve_their_equations():
    g = torch.Generator().manual_seed(0)
    t, x = torch.rand(2, 20, generator=g, dtype=torch.float64).requires_grad_().unbind()

    def derivative(u, variable):
        return torch.autograd.grad(u.sum(), variable, create_graph=True)[0]

    u, v, w = (f(t, x) for f in (pde_ways.first_order, pde_ways.second_order, pde_ways.third_order))
    for field, source in ((u, 0 * u), (v, u * u / 2), (w, u * v)):
        heat = derivative(field, t) - pde_ways.NU * derivative(derivative(field, x), x)
        assert (heat + derivative(source, x)).abs().max() < 1e-10
    zero = torch.zeros_like(x)
    assert pde_ways.second_order(zero, x).abs().max() == 0
    assert pde_ways.third_order(zero, x).abs().max() < 1e-12
