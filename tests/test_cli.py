"""The command line: what each command prints and returns."""

import argparse
import importlib.util
import os
import subprocess
import sys
import time

import pytest
import torch

import pyneural
from pyneural import _loader, cli


@pytest.fixture
def demo(monkeypatch):
    """Adds a demo named "two-words" that raises what its test puts into `raises`."""

    class Demo:
        """What the demo shows."""

        SYSTEMS = ("S99",)
        SUMMARY = "A demo for tests."
        raises = None

        @staticmethod
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--seed", type=int, default=0)

        @staticmethod
        def run(args: argparse.Namespace) -> int:
            if Demo.raises:
                raise Demo.raises
            return args.seed

    monkeypatch.setattr(cli, "demo_names", lambda: ["two-words"])
    monkeypatch.setitem(sys.modules, "pyneural.demos.two_words", Demo)
    return Demo


def test_info_tells_versions_set_cuda_and_threads(capsys):
    assert cli.main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = {line[:14].strip(): line[14:] for line in lines}
    assert values["pyneural"] == pyneural.__version__
    assert values["torch"].startswith(torch.__version__)
    assert values["CPU kernels"].startswith(_loader.loaded_isa())
    assert values["threads"].startswith(str(torch.get_num_threads()))
    assert {"python", "compiler", "CUDA kernels"} < values.keys()


def test_list_has_a_line_for_each_demo(demo, capsys):
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out == "S99  two-words  A demo for tests.\n"


def test_demo_gets_its_options_and_gives_the_exit_code(demo):
    assert cli.main(["demo", "two-words", "--seed", "7"]) == 7


def test_help_of_a_demo_shows_its_own_options(demo, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", "two-words", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: pyneural demo two-words")
    assert "What the demo shows." in out


@pytest.mark.parametrize(
    ("name", "hint"), [("two-word", "did you mean two-words?"), ("xyz", "see `pyneural list`")]
)
def test_unknown_demo_is_one_line_with_near_names(demo, capsys, name, hint):
    assert cli.main(["demo", name]) == 2
    assert capsys.readouterr().err == f"pyneural demo: there is no demo '{name}'; {hint}\n"


def test_error_of_the_user_is_one_line(demo, capsys):
    demo.raises = ValueError("--seed: expected 0 or more, got -1")
    assert cli.main(["demo", "two-words"]) == 2
    expected = "pyneural demo two-words: --seed: expected 0 or more, got -1\n"
    assert capsys.readouterr().err == expected
    with pytest.raises(ValueError, match="--seed"):
        cli.main(["demo", "--traceback", "two-words"])


def test_interrupt_gives_130(demo):
    demo.raises = KeyboardInterrupt()
    assert cli.main(["demo", "two-words"]) == cli.INTERRUPTED == 130


@pytest.mark.parametrize("name", cli.demo_names())
def test_each_demo_keeps_the_protocol(name):
    module = cli.load_demo(name)
    assert all(system.startswith("S") for system in module.SYSTEMS)
    assert "\n" not in module.SUMMARY
    assert len(module.SUMMARY) < 80
    module.add_arguments(argparse.ArgumentParser())


def test_help_is_quick_beyond_importing_torch():
    def best_time(*arguments):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best_time("-m", "pyneural.cli", "--help") < best_time("-c", "import torch") + 1


def test_import_brings_nothing_but_torch_and_the_kernels():
    code = (
        "import sys, torch; before = set(sys.modules); import pyneural; "
        "print(*sorted(name for name in set(sys.modules) - before if name.startswith('pyneural')))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}
    )
    assert result.stdout.split() == ["pyneural", "pyneural._C", "pyneural._loader"]
    assert result.stderr == ""


def test_parts_come_when_asked_for():
    assert pyneural.nn.__name__ == "pyneural.nn"
    with pytest.raises(AttributeError, match="no attribute 'layer'"):
        _ = pyneural.layer
    assert all(importlib.util.find_spec(f"pyneural.{name}") for name in pyneural.__all__)
