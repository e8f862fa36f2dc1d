import json

import torch

from bench.__main__ import main
from bench.comparison import relative_error
from bench.transformer import OURS, PEERS, Shape, Step, build

SMALL = Shape(width=16, layers=1, heads=2, hidden=8, sequences=3, tokens=5)


def test_steps_agree():
    step = Step.random(SMALL, 0.0, torch.float64, "cpu", 3)
    oracle = build(torch.nn, step.double())()
    for implementation in (OURS, *PEERS):
        if not implementation.compiles:
            assert relative_error(implementation.build(step)(), oracle) < 1e-10


def test_operations_by_hand():
    tokens = 3 * 5
    encoder = tokens * (4 * 16 * 16 + 2 * 16 * 8 + 2 * 5 * 16)
    decoder = tokens * (8 * 16 * 16 + 2 * 16 * 8 + 2 * 2 * 5 * 16)
    assert SMALL.operations() == 2 * 3 * (encoder + decoder)


def test_command_prints_a_table_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = (
        "transformer --layers 1 --dropout 0.1 --quick --seconds 0 --peers eager --threads 1 --json"
    )
    code = main([*arguments.split(), str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    (case,) = json.loads(path.read_text())["transformer"]["float32"]["cases"]
    assert case["dropout"] == 0.1
    assert set(case["rows"]) == {OURS.name, PEERS[0].name, PEERS[1].name}
