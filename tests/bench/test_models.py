import json

import pytest
import torch

from bench.__main__ import main
from bench.comparison import relative_error
from bench.models import OPTIMIZERS, OURS, STEP_PEERS, Step, build_eager


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_agree(optimizer):
    step = Step.random(optimizer, torch.float64, "cpu", 3)
    oracle = build_eager(step.double())()
    for implementation in (OURS, *STEP_PEERS[optimizer]):
        if not implementation.compiles:
            assert relative_error(implementation.build(step)(), oracle) < 1e-10


def test_operations_by_hand():
    step = Step.random("adam", torch.float32, "cpu", 0)
    edges = 784 * 128 + 128 * 64 + 64 * 128 + 128 * 784
    assert step.operations() == 2 * 100 * (3 * edges - 784 * 128)


def test_command_prints_tables_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = (
        "models --quick --seconds 0 --case adadelta fit --peers eager --threads 1 --samples 300 "
        "--epochs 2 --rounds 1 --json"
    )
    code = main([*arguments.split(), str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    step, fit = json.loads(path.read_text())["models"]["float32"]["cases"]
    assert step["rows"][OURS.name]["median"] > 0
    assert set(fit["rows"]) == {"pyneural", "torch, loop by hand"}
    assert "loop by hand" in printed
