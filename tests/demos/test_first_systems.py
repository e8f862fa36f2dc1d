"""The demos of perceptrons, activations, connectivity, matrices, approximation and the cost."""

from __future__ import annotations

import pytest
import torch

from pyneural import cli
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")


def test_mlp(tmp_path, capsys):
    out = run_demo("mlp", tmp_path, capsys, "--seed", "1")
    assert value(out, "in all") == "35 parameters"
    assert float(value(out, "forward").split()[0]) < 1e-14
    assert float(value(out, "backward").split()[0]) < 1e-14
    (line,) = [line for line in out.splitlines() if "finite differences" in line]
    assert float(line.split()[0]) < 1e-8


def test_activations(tmp_path, capsys):
    out = run_demo("activations", tmp_path, capsys)
    assert len(value(out, "softmax").split()) == 6
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "sin", "silu", "gelu"):
        assert float(value(out, f"{name}  ").split()[-1]) < 1e-12


@pytest.mark.parametrize("name", ["mlp", "matrices"])
def test_torchs_generator_is_left_alone(name, tmp_path, capsys):
    before = torch.get_rng_state()
    run_demo(name, tmp_path, capsys)
    assert torch.equal(before, torch.get_rng_state())


def test_sparse(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli.load_demo("sparse"), "SIZE", 64)
    out = run_demo("sparse", tmp_path, capsys, "--steps", "30")
    assert value(out, "trainable") == "241 of 769 weights and biases"
    at_absent, *_, at_present = value(out, "change").removesuffix(" at present ones").split()
    assert float(at_absent) == 0 < float(at_present)
    assert out.count(" MiB") == 6


def test_approximation(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli.load_demo("approximation"), "WIDTHS", (1, 2, 8))
    monkeypatch.setattr(cli.load_demo("approximation"), "DEPTHS", (1, 2))
    out = run_demo("approximation", tmp_path, capsys, "--seeds", "1", "--steps", "100")
    rows = [line.split() for line in out.splitlines()]
    table = [
        [float(error) for error in row[1:]] for row in rows if len(row) == 4 and row[0].isdigit()
    ]
    assert len(table) == 2
    assert all(row[2] < 0.1 * row[0] for row in table)


def test_matrices(tmp_path, capsys):
    out = run_demo("matrices", tmp_path, capsys)
    assert "3x5 . 5x2 . 2x1 = 3x1" in out
    assert float(value(out, "without f").split()[0]) < 1e-14
    (line,) = [line for line in out.splitlines() if "all single matrices" in line]
    assert float(line.split()[0]) > 0.1
