"""The Burgers demos with small budgets, by the command line."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyneural import cli

pytest.importorskip("matplotlib")
SMALL = [
    "--steps",
    "4",
    "--width",
    "6",
    "--points",
    "100",
    "--most-points",
    "120",
    "--beside",
    "20",
]


def value(out: str, name: str) -> str:
    (line,) = [line for line in out.splitlines() if line.strip().startswith(name)]
    return line.strip()[len(name) :].strip()


def test_burgers_prints_the_error_and_writes_the_picture(tmp_path, capsys):
    assert cli.main(["demo", "burgers", "--out", str(tmp_path), *SMALL]) == 0
    out = capsys.readouterr().out
    assert 0 < float(value(out, "relative L2").split()[0]) < 1.5
    assert value(out, "network") == "4 x 6 tanh, 157 parameters"
    assert value(out, "points") == "100 collocation"
    assert re.search(r"Levenberg-Marquardt +4 steps", out)
    assert re.fullmatch(r"Adam and L-BFGS: \S+ after [\d.]+ s", value(out, "beside it"))
    assert {path.name for path in tmp_path.iterdir()} == {"burgers.png", "burgers.safetensors"}
    assert (tmp_path / "burgers.png").read_bytes().startswith(b"\x89PNG")


def test_burgers_comes_near_the_solution(tmp_path, capsys):
    options = ["--steps", "35", "--width", "10", "--points", "600", "--beside", "0"]
    assert cli.main(["demo", "burgers", "--out", str(tmp_path), *options]) == 0
    out = capsys.readouterr().out
    assert float(value(out, "relative L2").split()[0]) < 0.05
    assert "beside it" not in out


def test_boundary_points_alone_fail_inside(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--epochs", "300", "--lbfgs", "300"]
    assert cli.main(["demo", "burgers-boundary-only", *arguments]) == 0
    out = capsys.readouterr().out
    on_points = float(value(out, "on the points").split()[0])
    inside = float(value(out, "in the domain").split()[0])
    assert on_points < 0.02
    assert inside > 0.3
    assert (tmp_path / "burgers-boundary-only.png").exists()


def test_resume_goes_on(tmp_path, capsys):
    start = ["demo", "burgers", "--out", str(tmp_path), *SMALL]
    assert cli.main([*start, "--time-limit", "0"]) == 0
    assert "time limit" in capsys.readouterr().out
    assert cli.main([*start, "--resume"]) == 0
    resumed = capsys.readouterr().out
    assert value(resumed, "resumed") == "after 1 step"
    assert cli.main(["demo", "burgers", "--out", str(tmp_path / "whole"), *SMALL]) == 0
    whole = capsys.readouterr().out
    assert value(resumed, "relative L2") == value(whole, "relative L2")


def test_interrupt_writes_checkpoint_and_picture_and_exits_130(tmp_path):
    command = [sys.executable, "-m", "pyneural.cli", "demo", "burgers", "--out", str(tmp_path)]
    options = ["--width", "6", "--points", "200"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stdout:
            if "computing" in line:
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "interrupted" in out
    assert "--resume" in out
    assert float(value(out, "relative L2").split()[0]) > 0
    assert {path.name for path in tmp_path.iterdir()} == {"burgers.png", "burgers.safetensors"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "{file}/below"], "--out: expected a directory that can be written, got"),
        (["--device", "tpu"], "--device: expected cpu, cuda or cuda:N, got 'tpu'"),
        (["--device", "cuda:99"], "--device: expected an available device (cpu"),
        (["--resume", "--out", "{new}"], "expected a file"),
    ],
)
def test_errors_come_before_training(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    names = {"file": str(tmp_path / "file"), "new": str(tmp_path / "new")}
    arguments = [option.format(**names) for option in options]
    assert cli.main(["demo", "burgers", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("pyneural demo burgers: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--beside", "nan", "expected an integer from 0 to 100,000,000, got 'nan'"),
        ("--beside", "-1", "expected an integer from 0 to 100,000,000, got '-1'"),
        ("--seed", str(2**63), "expected an integer from 0 to 9,223,372,036,854,775,807, got"),
        ("--points", str(10**12), "expected an integer from 1 to 100,000,000, got"),
        ("--order", "5", "expected an integer from 1 to 4, got"),
    ],
)
def test_numbers_out_of_range(capsys, option, value, message):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "burgers", option, value])
    err = capsys.readouterr().err
    assert f"argument {option}: {message}" in err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_directory_without_permission(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert cli.main(["demo", "burgers", "--out", str(tmp_path)]) == 2
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--seed", "--steps", "--points", "--width", "--time-limit"])
def test_numbers_out_of_range_are_refused(capsys, option):
    with pytest.raises(SystemExit):
        cli.main(["demo", "burgers", option, "-3"])
    assert "expected " in capsys.readouterr().err


def test_one_seed_gives_one_result_and_torchs_generator_is_left_alone(tmp_path, capsys):
    import torch

    def error(seed):
        options = ["--out", str(tmp_path), "--seed", seed, *SMALL]
        assert cli.main(["demo", "burgers", *options]) == 0
        return value(capsys.readouterr().out, "relative L2")

    before = torch.get_rng_state()
    assert error("3") == error("3") != error("4")
    assert torch.equal(before, torch.get_rng_state())


def test_importing_the_demos_brings_no_matplotlib():
    code = (
        "import sys; from pyneural import cli; [cli.load_demo(n) for n in cli.demo_names()]; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
