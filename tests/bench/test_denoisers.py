"""bench denoisers: both networks do the same work, the share of the convolutions, the command."""

import json
from functools import partial

import pytest
import torch

from bench import denoisers
from bench.__main__ import main
from bench.comparison import relative_error
from bench.denoisers import OURS, PEERS, Case, Problem, build, convolution_share
from bench.peers.torch_layers import of_torch
from pyneural.models import MLPDenoiser, TransformerDenoiser, UNetDenoiser
from pyneural.models.diffusion.unet import PixelAttention

IMAGE = (1, 4, 4)
SMALL = {
    "mlp": Case("MLP", partial(MLPDenoiser, 3, [8]), (3,), 5),
    "unet": Case("U-Net", partial(UNetDenoiser, IMAGE, 8), IMAGE, 5),
    "attention": Case("attention", partial(PixelAttention, 8, 2), (8, 4, 4), 5, timed=False),
    "transformer": Case("transformer", partial(TransformerDenoiser, IMAGE, 2, 8, 2, 1), IMAGE, 5),
}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_steps_agree(case):
    problem = Problem.random(case, torch.float64, "cpu", 3)
    oracle = build(of_torch, problem.double())()
    for implementation in (OURS, PEERS[0]):
        assert relative_error(implementation.build(problem)(), oracle) < 1e-10


def test_operations_by_hand():
    problem = Problem.random(SMALL["mlp"], torch.float64, "cpu", 3)
    # 16 waves and 3 columns to 8 units to 3; of the first layer no gradient of its input.
    assert problem.operations() == 2 * 5 * (3 * 8 * 3 + 2 * 19 * 8)


def test_share_of_convolutions():
    x = torch.randn(8, 8, 32, 32)
    convolution = torch.nn.Conv2d(8, 8, 3, padding=1)
    assert convolution_share(lambda: convolution(x)) > 0.8
    assert 0.05 < convolution_share(lambda: [convolution(x), torch.randn(200_000)]) < 0.8


def test_command_prints_a_table_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    monkeypatch.setattr(denoisers, "CASES", {"unet8": SMALL["unet"]})
    path = tmp_path / "out.json"
    arguments = "denoisers --case unet8 --quick --seconds 0 --peers eager --threads 1 --json"
    code = main([*arguments.split(), str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    (case,) = json.loads(path.read_text())["denoisers"]["float32"]["cases"]
    assert set(case["rows"]) == {OURS.name, PEERS[0].name}
    assert set(case["convolution_share"]) == {OURS.name, PEERS[0].name}
    assert "share of torch's convolutions: pyneural" in printed
