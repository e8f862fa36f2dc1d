import json
from itertools import islice

import torch

from bench.__main__ import main
from bench.peak import all_measured


def test_every_call_counts_its_operations():
    first, second = islice(all_measured(torch.float32, 0), 2)
    assert (first.operations, second.operations) == (2 * 4096 * 512**2, 6 * 4096 * 512**2)


def test_command_prints_a_page_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    monkeypatch.setattr("bench.peak.JET", ("1x3",))
    path = tmp_path / "out.json"
    arguments = "peak --op jet --dtype float64 --seconds 0 --threads 1 --json"
    assert main([*arguments.split(), str(path)]) == 0
    (case,) = json.loads(path.read_text())["peak"]["float64"]["cases"]
    assert case["op"] == "jet"
    assert 0 < case["share_of_peak"] < 1.05
    assert "jet  1x3" in capsys.readouterr().out
