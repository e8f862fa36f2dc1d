import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench import machine, peak_check
from bench.__main__ import main
from bench.peak_calls import DTYPES, LINES, all_calls
from bench.probes import memory_probe

ROOT = Path(__file__).parents[2]
SMALL = {
    "dense": "9x5x3:relu",
    "masked_dense": "9x5x3:relu:0.5",
    "mlp": "1x3",
    "attention": "1x1x4x8:full",
    "rnn": "2x3x4x5:GRU",
    "kalman": "9x2x1",
    "damped_cholesky": "40",
    "mse_loss": "50",
    "dropout": "50",
    "spline": "50",
    "autoregressive": "9x3x4:spline",
    "continuous_flow": "9x3x4:2",
    "diffusion_sampler": "9x3x4:2",
    "adadelta": "50",
    "adam": "50",
}
KEPT = {"share_of_peak": 0.5, "peak": 1e11, "median": 0.01}


@pytest.fixture(autouse=True)
def unbound(monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)


@pytest.fixture
def small(monkeypatch):
    """All lines of the page, each with one small case."""
    lines = []
    for line in LINES:
        _, _, kind = line.cases[0].partition(":")
        case = f"1x3:{kind}" if line.op == "jet" else SMALL[line.op]
        lines.append(replace(line, cases=(case,)))
    monkeypatch.setattr("bench.peak_calls.LINES", lines)


class Recorder(TorchDispatchMode):
    """Notes the ops of ours that are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        namespace, _, name = func._schema.name.partition("::")
        if namespace == "pyneural":
            self.names.add(name)
        return func(*args, **(kwargs or {}))


def test_work_by_hand():
    first = {call.key: call for call in all_calls("float32")}
    count = lambda *key: first[key].prepare(0).amount  # noqa: E731
    assert count("dense", "100x784x128:relu", False) == 2 * 100 * 784 * 128
    assert count("dense", "100x784x128:relu", True) == 6 * 100 * 784 * 128
    products = 2 * 20 + 7 * 20 * 20 + 20
    assert count("mlp", "8x20", False) == 2 * 10_000 * products
    assert count("mlp", "8x20", True) == 6 * 10_000 * products
    first_layer, others = 2 * 64, 3 * 64 * 64 + 64
    assert count("jet", "4x64:derivatives", False) == 2 * 10_000 * (first_layer + 4 * others)
    assert count("jet", "4x64:loss", True) == 6 * 10_000 * (first_layer + 3 * others)
    parameters = 2 * 64 + 64 + 3 * (64 * 64 + 64) + 64 + 1
    assert count("jet", "4x64:jacobian", False) == 200 * 4 * parameters * 4
    parameters = 2 * 20 + 20 + 3 * (20 * 20 + 20) + 20 + 1
    assert count("jet", "4x20:gram", False) == parameters * (parameters + 1) * 2000
    for op, forward, backward in (("mse_loss", 2, 5), ("dropout", 2, 4)):
        assert count(op, str(1 << 23), False) == forward * 4 << 23
        assert count(op, str(1 << 23), True) == backward * 4 << 23
    assert count("adadelta", str(1 << 23), False) == 7 * 4 << 23
    assert count("adam", str(1 << 23), False) == 7 * 4 << 23


def test_every_folder_of_an_op_has_a_line():
    folders = {path.name for path in (ROOT / "csrc").iterdir() if path.is_dir()}
    assert {line.op for line in LINES} == folders - {"common"}


def test_every_op_is_timed(small):
    schemas = {schema.name for schema in torch._C._jit_get_all_schemas()}
    names = {name.removeprefix("pyneural::") for name in schemas if name.startswith("pyneural::")}
    elsewhere = {
        "multiply_add_probe",  # the measure itself
        "attention_keep",  # shows which weights dropout keeps
        "attention_mask_backward",  # of a mask that is learnt
        "jet_mlp_path",  # as many products as some residuals
        "jet_mlp_residual",  # a part of the loss
        "jet_mlp_residual_backward",  # likewise
        "jet_mlp_residual_jacobian",  # a part of the Gram matrix
        "autoregressive_nll",  # forward and backward of the layers
        "autoregressive_nll_with_gradients",  # likewise
        "residual_loss",  # of pde, for compiled graphs
        "kalman_smoother_backward",  # of a loss of smoothed states; a likelihood has the filter's
    }
    recorder = Recorder()
    for dtype in ("float32", "float64"):
        for call in all_calls(dtype):
            run = call.prepare(0).call
            with recorder:
                run()
    wanted = {name for name in names if not name.startswith("check_")} - elsewhere
    assert wanted - recorder.names == set()


def test_calls_are_told_apart():
    for dtype in DTYPES:
        keys = [call.key for call in all_calls(dtype)]
        assert len(keys) == len(set(keys)) > 0


def test_command_prints_a_page_and_keeps_json(tmp_path, capsys, monkeypatch, small):
    monkeypatch.setattr("bench.machine.load_before", lambda: 3.5)
    monkeypatch.setattr("bench.probes.copy_bandwidth", lambda device: 1e10)
    monkeypatch.setattr("bench.probes.memory_probe", partial(memory_probe, 1 << 20))
    path = tmp_path / "out.json"
    arguments = "peak --op jet adadelta --dtype float64 float32 --seconds 0 --threads 1 --json"
    for _ in range(2):  # the second time in place of the first
        assert main([*arguments.split(), str(path)]) == 0
    kept = json.loads(path.read_text())["peak"]
    assert kept.keys() == {"float32", "float64"}
    for entry in kept.values():
        assert {"commit", "date", "versions", "instruction_set"} <= entry["machine"].keys()
        assert entry["remark"] == "the machine is busy (load 3.5): the figures are not reliable"
        assert [case["op"] for case in entry["cases"]] == ["jet"] * 5 + ["adadelta"]
        assert all(case["share_of_peak"] > 0 for case in entry["cases"])
        assert entry["cases"][0]["share_of_peak"] < 1.05
    out = capsys.readouterr().out
    assert "share of the memory bandwidth" in out
    assert "jet  1 x 3 loss" in out


def test_options_that_contradict(capsys):
    assert main(["peak", "--check", "--json"]) == 2
    assert main(["peak", "--op", "jet", "--json"]) == 2
    assert "name a FILE" in capsys.readouterr().out


class Machine:
    """Made-up kept shares, and a machine with made-up ones."""

    def __init__(self, path, monkeypatch):
        self.path, self.tries = path, []
        self.share = lambda call, number: 0.5
        self.peak = lambda call, number: 1e11
        self.probe = 1e11
        monkeypatch.setattr(peak_check, "measure", self.measure)
        monkeypatch.setattr(peak_check, "PAUSE", 0.0)
        monkeypatch.setattr("bench.probes.multiply_add_probe", lambda *_: lambda: self.probe)
        self.keep()

    def keep(self, dtypes=("float32", "float64"), **changes):
        place = {**machine.describe("cpu", 2), **changes}
        entries = {}
        for dtype in dtypes:
            cases = [
                {"op": c.op, "case": c.case, "backward": c.backward, "limit": c.limit, **KEPT}
                for c in all_calls(dtype)
            ]
            entries[dtype] = {"machine": place, "cases": cases}
        self.path.write_text(json.dumps({"dense": {}, "peak": entries}))

    def measure(self, call, *_):
        self.tries.append((call.dtype, *call.key))
        number = self.tries.count(self.tries[-1])
        return {"share_of_peak": self.share(call, number), "peak": self.peak(call, number)}

    def check(self, *arguments):
        return main(["peak", "--check", str(self.path), *arguments])


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    return Machine(tmp_path / "kept.json", monkeypatch)


def is_slow(call):
    return call.key == ("dense", "100x784x128:relu", True) and call.dtype == "float64"


def test_check_passes(made_up, capsys):
    made_up.share = lambda call, number: 0.41
    assert made_up.check() == 0
    calls = [(call.dtype, *call.key) for dtype in DTYPES[:2] for call in all_calls(dtype)]
    assert made_up.tries == calls  # one try of each
    assert f"{len(calls)} reach at least 80% of the kept share" in capsys.readouterr().out


def test_check_fails_and_says_where(made_up, capsys):
    made_up.share = lambda call, number: 0.39 if is_slow(call) else 0.5
    assert made_up.check() == 1
    assert made_up.tries.count(("float64", "dense", "100x784x128:relu", True)) == peak_check.TRIES
    out = capsys.readouterr().out
    assert "1 FELL" in out
    line = next(line for line in out.splitlines() if line.startswith("dense"))
    wanted = "dense 100 x 784 x 128 relu, with gradients, float64 50.0% 39.0%"
    assert " ".join(line.split()) == wanted
    assert "python -m bench peak --json" in out
    assert made_up.check("--op", "attention") == 0
    assert made_up.check("--dtype", "float32") == 0


def test_check_takes_the_best_of_several_tries(made_up):
    made_up.share = lambda call, number: 0.45 if number == peak_check.TRIES else 0.2
    assert made_up.check("--op", "jet") == 0


def test_check_spreads_tries_over_time(made_up):
    made_up.share = lambda call, number: 0.45 if number == 2 else 0.2
    assert made_up.check("--op", "mlp", "--dtype", "float32") == 0
    assert made_up.tries[:6] == made_up.tries[6:]


def test_a_busy_machine_is_not_judged(made_up, capsys):
    made_up.probe = 0.8e11
    assert made_up.check() == 0
    assert made_up.tries == []
    assert "not judged: the machine is busy or slow" in capsys.readouterr().out


@pytest.mark.parametrize(("quiet", "status"), [(3, 0), (4, 1)])
def test_tries_on_a_busy_machine_are_no_evidence(made_up, capsys, quiet, status):
    made_up.share = lambda call, number: 0.2 if is_slow(call) else 0.5
    made_up.peak = lambda call, number: 1e11 if number <= quiet else 0.8e11
    assert made_up.check() == status
    assert ("1 not judged" in capsys.readouterr().out) == (status == 0)


def test_patience_ends(made_up, monkeypatch):
    monkeypatch.setattr(peak_check, "PATIENCE", -1.0)
    made_up.share = lambda call, number: 0.2
    assert made_up.check() == 0
    assert made_up.tries == []


@pytest.mark.parametrize(
    "changes", [{"cpu": "another"}, {"instruction_set": "neon"}, {"threads": 64}]
)
def test_nothing_is_kept_of_this_processor(made_up, capsys, changes):
    made_up.keep(**changes)
    assert made_up.check() == 0
    assert "none are kept for" in capsys.readouterr().out
    assert made_up.tries == []


def test_nothing_is_kept_at_all(made_up, capsys):
    made_up.path.unlink()
    assert made_up.check() == 0
    assert "none are kept for" in capsys.readouterr().out


def test_long_calls_are_left_out(made_up):
    entries = json.loads(made_up.path.read_text())["peak"]
    first, second, *others = entries["float64"]["cases"]
    first["median"] = 2 * peak_check.LONGEST
    judged, unknown = peak_check.to_judge(entries, ["float64"], ["dense"])
    assert judged[0].call.key == (second["op"], second["case"], second["backward"])
    assert unknown == 0
    entries["float64"]["cases"] = others
    assert peak_check.to_judge(entries, ["float64"], ["dense"])[1] == 2


def test_what_has_no_kept_share_is_said(made_up, capsys):
    kept = json.loads(made_up.path.read_text())
    del kept["peak"]["float32"]["cases"][:2]
    made_up.path.write_text(json.dumps(kept))
    assert made_up.check() == 0
    assert "nothing is kept of 2 more" in capsys.readouterr().out
