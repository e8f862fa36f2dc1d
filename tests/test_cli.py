"""The command line: what each command prints and returns."""

import argparse
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

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
        NEXT = "pyneural demo two-words --count 2: more of it"
        OPTIONS: ClassVar = {"--count": {"type": int, "default": 0}}
        raises = None
        interrupted = False

        @staticmethod
        def run(args: argparse.Namespace) -> object:
            from matplotlib.figure import Figure

            if Demo.raises:
                raise Demo.raises
            args.interrupted = Demo.interrupted
            drawn = float(torch.rand(()))
            print(f"count {args.count}, seed {args.seed}, drawn {drawn}")
            return Figure()

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


def test_demo_gets_its_options_and_seed_and_its_figure_is_written(demo, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    before = torch.get_rng_state()
    command = ["demo", "two-words", "--out", str(tmp_path), "--count", "7", "--seed", "3"]
    assert cli.main(command) == 0
    drawn = float(torch.rand((), generator=torch.Generator().manual_seed(3)))
    picture = tmp_path / "two-words.png"
    expected = [f"count 7, seed 3, drawn {drawn}", f"  picture       {picture}"]
    expected.append(f"  try next      {demo.NEXT}")
    assert capsys.readouterr().out.splitlines() == expected
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert torch.equal(before, torch.get_rng_state())


def test_an_interrupted_demo_may_still_have_a_figure(demo, tmp_path):
    pytest.importorskip("matplotlib")
    demo.interrupted = True
    assert cli.main(["demo", "two-words", "--out", str(tmp_path)]) == cli.INTERRUPTED
    assert (tmp_path / "two-words.png").exists()


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


@pytest.fixture
def several(monkeypatch):
    """Three demos in the place of all: one that is good, one that fails, one without a picture."""

    def demo(run):
        body = {
            "SYSTEMS": ("S99",),
            "SUMMARY": "",
            "NEXT": "",
            "OPTIONS": {"--count": {"type": int}},
            "QUICK": ("--count", "3"),
            "run": staticmethod(run),
            "__doc__": "",
        }
        return type("Demo", (), body)

    def good(args):
        from matplotlib.figure import Figure

        print(f"count {args.count}")
        return Figure()

    def bad(args):
        raise RuntimeError("it broke\nbadly")

    demos = {"bad": demo(bad), "good": demo(good), "none": demo(lambda args: None)}
    monkeypatch.setattr(cli, "demo_names", lambda: list(demos))
    for name, module in demos.items():
        monkeypatch.setitem(sys.modules, f"pyneural.demos.{name}", module)
    return demos


def test_all_demos_run_whichever_fails(several, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["demo", "--all", "--quick", "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    told = {line.split()[0]: line.split(" s ")[1].strip() for line in lines[:3]}
    assert told == {
        "bad": "failed: RuntimeError: it broke", "good": "ok", "none": "failed: no picture",
    }  # fmt: skip
    assert lines[-1].startswith("3 demos in ")
    assert lines[-1].endswith(" s, failed: bad, none")
    assert (tmp_path / "good.png").exists()
    assert (tmp_path / "good.txt").read_text().startswith("count 3\n")


def test_all_demos_without_quick_have_their_defaults(several, tmp_path):
    pytest.importorskip("matplotlib")
    del several["bad"], several["none"]
    assert cli.main(["demo", "--all", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "good.txt").read_text().startswith("count None\n")


def test_arguments_that_a_demo_refuses_are_its_failure(several, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    several["good"].QUICK = ("--epochs", "3")
    assert cli.main(["demo", "--all", "--quick", "--out", str(tmp_path)]) == 1
    assert "failed: exit status 2" in capsys.readouterr().out.splitlines()[1]


def test_ctrl_c_ends_all_demos_at_once(several, tmp_path, capsys):
    def stopped(args):
        raise KeyboardInterrupt

    several["bad"].run = staticmethod(stopped)
    assert cli.main(["demo", "--all", "--out", str(tmp_path)]) == cli.INTERRUPTED
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["demo"], ["demo", "--all", "mlp"], ["demo", "--out", "x", "mlp"]]
)
def test_either_a_name_or_all(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "NAME or --all" in capsys.readouterr().err


@pytest.mark.parametrize("name", cli.demo_names())
def test_quick_arguments_are_options_of_the_demo(name, tmp_path, monkeypatch):
    from pyneural.demos import _options

    seen = []
    monkeypatch.setattr(_options, "show", lambda demo, name, args: seen.append(args))
    module = cli.load_demo(name)
    cli.show_demo(module, name, [*getattr(module, "QUICK", ()), "--out", str(tmp_path)])
    assert seen[0].out == str(tmp_path)


def test_list_fits_80_columns(capsys):
    cli.main(["list"])
    assert all(len(line) < 80 for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("name", cli.demo_names())
def test_what_to_try_next_is_a_command(name, monkeypatch):
    from pyneural.demos import _options

    seen = []
    monkeypatch.setattr(_options, "show", lambda demo, name, args: seen.append(name))
    command, what = cli.load_demo(name).NEXT.split(": ")
    program, *arguments = command.split()
    assert program == "pyneural"
    assert cli.main(arguments) == 0
    assert arguments[0] == "demo"
    assert seen == [arguments[1]] != [name] or len(arguments) > 2
    assert what
    assert len(f"  try next      {command}: {what}") < 80


VIEWER = """\
#!/bin/sh
echo "$1" > {opened}
{then}
"""


@pytest.mark.parametrize(
    ("then", "display", "told"),
    [
        ("exit 0", ":9", None),
        ("sleep 5", ":9", None),  # a program that stays until its window is closed
        ("exit 3", ":9", "not opened, as xdg-open cannot open it"),
        ("exit 0", "", "not opened, as there is no screen"),
    ],
)
def test_show_opens_the_picture(demo, tmp_path, monkeypatch, capsys, then, display, told):
    pytest.importorskip("matplotlib")
    from pyneural.demos import _screen

    opened, viewer = tmp_path / "opened", tmp_path / "xdg-open"
    viewer.write_text(VIEWER.format(opened=opened, then=then))
    viewer.chmod(0o755)
    stays = then.startswith("sleep")
    monkeypatch.setattr(_screen, "_BEGINS", 0.1 if stays else 60.0)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DISPLAY": display}
    show = functools.partial(_screen.show_picture, environ=environ, platform="linux")
    monkeypatch.setattr("pyneural.demos._options.show_picture", show)
    assert cli.main(["demo", "two-words", "--out", str(tmp_path), "--show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if "opened" in line] == [told][: told is not None]
    for _ in range(600 if display else 0):  # until the program that stays has begun
        if opened.exists() and opened.read_text().endswith("\n"):
            break
        time.sleep(0.1)
    assert opened.exists() == bool(display)
    if display:
        assert opened.read_text().strip() == str(tmp_path / "two-words.png")


@pytest.mark.parametrize(
    ("environ", "platform"),
    [
        ({"SSH_CONNECTION": "1"}, "darwin"),
        ({}, "linux"),
        ({"DISPLAY": ""}, "linux"),
        ({"DISPLAY": ":0", "PATH": ""}, "linux"),
    ],
)
def test_nothing_is_started_where_there_is_no_screen(environ, platform):
    from pyneural.demos import _screen

    assert "there is no " in _screen.show_picture(Path("a.png"), environ, platform)


@pytest.mark.parametrize("name", cli.demo_names())
def test_each_demo_keeps_the_protocol(name):
    module = cli.load_demo(name)
    assert all(system.startswith("S") for system in module.SYSTEMS)
    assert "\n" not in module.SUMMARY
    assert all(len(line) < 80 for line in module.__doc__.splitlines())
    assert callable(module.run)


def test_import_brings_nothing_else():
    code = (
        "import sys, pyneural.cli; "
        "print(*sorted(name for name in sys.modules if name.startswith(('pyneural', 'torch'))))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    # An editable installation has a module of its own.
    modules = [name for name in result.stdout.split() if not name.startswith("__editable__")]
    assert modules == ["pyneural", "pyneural.cli"]
    assert result.stderr == ""


def test_import_of_all_leaves_the_compiler_alone():
    code = "import sys, pyneural.models, pyneural.pde; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture(scope="module")
def built_for_another_torch(tmp_path_factory):
    """A folder with pyneural as it looks after torch was replaced."""
    folder = tmp_path_factory.mktemp("site")
    package = Path(pyneural.__file__).parent
    shutil.copytree(package, folder / "pyneural", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyneural" / "_build.json").write_text('{"torch": "1.9.0", "cuda": null}')
    return folder


@pytest.mark.parametrize("arguments", [["info"], ["list"], ["demo", "burgers"]])
def test_kernels_for_another_torch_are_one_line(built_for_another_torch, arguments):
    command = [sys.executable, "-m", "pyneural.cli", *arguments]
    result = subprocess.run(command, cwd=built_for_another_torch, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    program = " ".join(["pyneural", *arguments])
    assert result.stderr.startswith(f"{program}: pyneural was built for torch 1.9.0, but torch ")
    assert result.stderr.count("\n") == 1


def test_help_needs_no_kernels(built_for_another_torch):
    command = [sys.executable, "-m", "pyneural.cli", "--help"]
    result = subprocess.run(command, cwd=built_for_another_torch, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_parts_come_when_asked_for():
    assert pyneural.nn.__name__ == "pyneural.nn"
    with pytest.raises(AttributeError, match="no attribute 'layer'"):
        _ = pyneural.layer
    assert all(importlib.util.find_spec(f"pyneural.{name}") for name in pyneural.__all__)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pyneural {pyneural.__version__}\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes of a shell")
@pytest.mark.parametrize(
    ("command", "reader"),
    [
        ("--version", "head -1 > /dev/null"),
        ("--version", "true"),
        ("demo --help", "head -c 3 > /dev/null"),
        ("demo --help", "true"),
        ("info", "true"),
        ("list", "head -1 > /dev/null"),
        ("list", "true"),
    ],
)
def test_a_closed_pipe_ends_quietly(command, reader):
    line = f"{{ sleep 0.1; {sys.executable} -m pyneural.cli {command}; echo $? >&2; }} | {reader}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr in ("0\n", f"{cli.CLOSED_PIPE}\n")
