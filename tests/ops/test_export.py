"""Models of the ops' layers through torch.export and AOTInductor."""

from __future__ import annotations

import pytest
import torch

from pyneural import nn


class Model(torch.nn.Module):
    """Each op that a forward may hold, once."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 8, activation="gelu")
        self.mlp = nn.MLP(8, [16], 8, "tanh")
        self.masked = nn.MaskedLinear(nn.random_mask(8, 8, sparsity=0.5), activation="relu")
        self.rnn = nn.GRU(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.masked(self.mlp(self.dense(x)))
        x = self.rnn(x[:, None])[0]
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.fixture
def exported():
    model, x = Model().eval(), torch.randn(5, 6)
    return model, x, torch.export.export(model, (x,))


def test_export(exported, tmp_path):
    model, x, program = exported
    assert torch.equal(program.module()(x), model(x))
    torch.export.save(program, tmp_path / "model.pt2")
    assert torch.equal(torch.export.load(tmp_path / "model.pt2").module()(x), model(x))
    names = {str(node.target) for node in program.graph.nodes}
    for op in ("dense", "mlp", "masked_dense", "rnn", "attention"):
        assert f"pyneural.{op}.default" in names


def test_aot_inductor(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("CI", "1")  # where an op may have no decomposition beside its kernel
    model, x, program = exported
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "m.pt2"))
    compiled = torch._inductor.aoti_load_package(path)
    torch.testing.assert_close(compiled(x), model(x))
