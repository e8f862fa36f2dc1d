"""The demos of perceptrons, activations, connectivity, matrices, approximation and the cost."""

from __future__ import annotations

import pytest
import torch

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


@pytest.mark.parametrize("name", ["mlp"])
def test_torchs_generator_is_left_alone(name, tmp_path, capsys):
    before = torch.get_rng_state()
    run_demo(name, tmp_path, capsys)
    assert torch.equal(before, torch.get_rng_state())
