import itertools
import json
import math
import platform
import time

import torch

from bench.harness import MIN_ROUNDS, Summary, host_seconds, time_in_turns
from bench.machine import cpu_name, describe, file_name
from bench.probes import copy_bandwidth, multiply_add_probe
from bench.report import keep


def test_summary_is_median_and_quartiles():
    summary = Summary.of([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (summary.minimum, summary.low, summary.median, summary.high) == (1.0, 2.0, 3.0, 4.0)
    assert summary.count == 5
    assert Summary.of([2.0]).high == 2.0


def test_turns_are_interleaved_and_timed(monkeypatch):
    monkeypatch.setattr("bench.harness.TURN_SECONDS", 0.03)
    order = []
    calls = {
        "a": lambda: (order.append("a"), time.sleep(0.002)),
        "b": lambda: (order.append("b"), time.sleep(0.04)),
    }
    samples = time_in_turns(calls, dict.fromkeys(calls, host_seconds), seconds=0.0)
    assert len(samples["b"]) == MIN_ROUNDS
    assert len(samples["a"]) > len(samples["b"])
    assert 0.002 <= Summary.of(samples["a"]).median < Summary.of(samples["b"]).median
    turns = sum(x != y for x, y in itertools.pairwise(order))
    assert turns >= MIN_ROUNDS


def test_probes_give_rates():
    assert copy_bandwidth("cpu", 1 << 22, repeats=2) > 1e8
    assert 1e8 < multiply_add_probe(torch.float32, 1)() < 1e12


def test_results_of_one_machine_share_a_file(tmp_path):
    place = describe("cpu", 2)
    assert file_name(place).endswith("-2-threads.json")
    assert file_name({"device": "NVIDIA H200"}) == "nvidia-h200.json"
    path = tmp_path / "results" / file_name(place)
    keep(path, "jet", "float32", {"machine": place})
    keep(path, "jet", "float64", {"rates": [math.pi], "absent": {"a": "{[", "b": 1}})
    kept = json.loads(path.read_text())["jet"]["float64"]
    assert kept == {"rates": [3.14159], "absent": {"a": "{[", "b": 1}}
    keep(path, "jet", "float64", {"row": {"median": 0.5, "count": 2}})
    assert '{ "median": 0.5, "count": 2 }' in path.read_text()
    assert json.loads(path.read_text())["jet"]["float32"]["machine"]["threads"] == 2


def test_processor_names_tell_generations_apart():
    text = "cpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Xeon\nstepping\t: {}\n\n"
    assert cpu_name(text.format(7) + text.format(4)) == "Xeon family 6 model 85 stepping 7"
    arm = cpu_name("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n")
    assert arm.endswith(" implementer 0x41 part 0xd4f")
    assert cpu_name("") == platform.machine()
