"""The command line: `pyneural --version`, `info`, `list`, `demo NAME`, `demo --all`, `compare`.

A demo is a module of `pyneural.demos`; its name is that of the file, with "-" for "_". It defines
`SYSTEMS` (identifiers of the systems that it shows), `SUMMARY` (one line), `NEXT` (a command, a
colon, and what it shows), `run(args)`, which returns the figure to write to NAME.png, `OPTIONS` if
it has more than `--seed`, `--out` and `--show`, and `QUICK`, the arguments that `pyneural demo
--all --quick` gives it, if it takes long.
"""

from __future__ import annotations

import argparse
import difflib
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pyneural import __version__

INTERRUPTED, CLOSED_PIPE = 130, 141  # as of a process that SIGINT or SIGPIPE ended


def demo_names() -> list[str]:
    """Names of all demos, in alphabetical order.

    Example:
        >>> "burgers" in demo_names()
        True
    """
    files = (Path(__file__).parent / "demos").glob("[!_]*.py")
    return sorted(file.stem.replace("_", "-") for file in files)


def load_demo(name: str) -> ModuleType:
    """The module of the demo with this name."""
    return import_module(f"pyneural.demos.{name.replace('-', '_')}")


def list_demos() -> int:
    """Prints systems, name and summary of each demo."""
    demos = {name: load_demo(name) for name in demo_names()}
    rows = [(", ".join(demo.SYSTEMS), name, demo.SUMMARY) for name, demo in demos.items()]
    _print_table(sorted(rows))
    return 0


def show_info() -> int:
    """Prints versions, instruction sets, CUDA and threads."""
    import torch

    from pyneural import _loader

    _loader.load()
    from pyneural import _C

    build = _C.build_info()
    if build["cuda"] is None:
        torch_cuda = torch.version.cuda
        cuda = f"not built (torch has CUDA {torch_cuda})" if torch_cuda else "not built"
    elif torch.cuda.is_available():
        cuda = f"built with {build['cuda']}, {torch.cuda.get_device_name()}"
    else:
        cuda = f"built with {build['cuda']}, no device"
    rows = [
        ("pyneural", build["pyneural"]),
        ("torch", f"{torch.__version__} (built against {build['torch']})"),
        ("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        ("compiler", build["compiler"]),
        ("CPU kernels", f"{_loader.loaded_isa()} (built: {', '.join(build['isas'])})"),
        ("CUDA kernels", cuda),
        ("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processors"),
    ]
    _print_table(rows)
    return 0


def run_demo(name: str, arguments: Sequence[str], traceback: bool) -> int:
    """Runs a demo; prints an error as one line on stderr, or with its traceback if asked for."""
    if name not in demo_names():
        near = difflib.get_close_matches(name, demo_names())
        hint = f"did you mean {' or '.join(near)}?" if near else "see `pyneural list`"
        return _fail("pyneural demo", ValueError(f"there is no demo {name!r}; {hint}"))
    program = f"pyneural demo {name}"
    try:
        show_demo(load_demo(name), name, arguments)
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if traceback:
            raise
        return _fail(program, error)


def run_comparison(arguments: Sequence[str]) -> int:
    """Compares generative models; prints an error as one line on stderr."""
    try:
        from pyneural.experiments.comparison import command

        command.main(arguments)
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (ValueError, OSError, ImportError) as error:
        return _fail("pyneural compare", error)


def show_demo(demo: ModuleType, name: str, arguments: Sequence[str]) -> Path | None:
    """Runs a demo with the arguments of a command line; the picture that it wrote, if it did."""
    from pyneural.demos import _options

    parser = argparse.ArgumentParser(
        prog=f"pyneural demo {name}",
        usage="%(prog)s [options]",
        description=demo.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, keywords in (_options.COMMON | getattr(demo, "OPTIONS", {})).items():
        parser.add_argument(option, **keywords)
    return _options.show(demo, name, parser.parse_args(arguments))


def run_all_demos(out: str, quick: bool) -> int:
    """Runs all demos; exit code 1 if one of them failed."""
    try:
        from pyneural.demos._all import run_all

        return int(run_all(demo_names(), load_demo, show_demo, out, quick=quick) > 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (OSError, ImportError) as error:
        return _fail("pyneural demo --all", error)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all options except those of the demos."""
    parser = argparse.ArgumentParser(
        prog="pyneural",
        description="Neural networks for physical scientists on hand-written kernels.",
    )
    parser.add_argument("--version", action="version", version=f"pyneural {__version__}")
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    commands.add_parser("info", help="versions, instruction sets, CUDA, threads")
    commands.add_parser("list", help="the demos")
    comparison = "train generative models on your data and say which one is right"
    commands.add_parser("compare", help=comparison)
    demo = commands.add_parser(
        "demo",
        help="run a demo, or all of them",
        usage="pyneural demo [--traceback] NAME [options of the demo]\n"
        "       pyneural demo --all [--quick] [--out DIR]",
    )
    demo.add_argument("--traceback", action="store_true", help="show where an error was raised")
    demo.add_argument("--all", action="store_true", help="run all demos, in alphabetical order")
    demo.add_argument("--quick", action="store_true", help="all of them with short trainings")
    demo.add_argument("--out", metavar="DIR", help="output folder of all of them (default: .)")
    demo.add_argument("name", metavar="NAME", nargs="?", help="a name that `pyneural list` shows")
    options = demo.add_argument(
        "arguments", metavar="...", nargs=argparse.REMAINDER, help="see `pyneural demo NAME --help`"
    )
    options.required = False  # otherwise the error for a missing NAME lists them as well
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; quiet where nobody reads the output."""
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python would flush it again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE


def _run(arguments: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["compare"]:  # whose options are known to its own parser
        return run_comparison(arguments[1:])
    parser = make_parser()
    args = parser.parse_args(arguments)
    if args.command == "demo":
        if args.all and args.name is None:
            return run_all_demos(args.out or ".", args.quick)
        if args.name is None:
            parser.error("demo: expected NAME or --all, got neither; see `pyneural list`")
        if args.all or args.quick or args.out is not None:
            parser.error(
                f"demo: expected either NAME or --all, --quick, --out before it, got {args.name!r} "
                "after these; options of a demo stand after its name"
            )
        return run_demo(args.name, args.arguments, args.traceback)
    try:
        return show_info() if args.command == "info" else list_demos()
    except ImportError as error:
        return _fail(f"pyneural {args.command}", error)


def _print_table(rows: Iterable[Sequence[str]]) -> None:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (map(str.ljust, row, widths) for row in rows)
    print("\n".join("  ".join(line).rstrip() for line in lines))


def _fail(program: str, error: Exception) -> int:
    """Prints one line; exit code 2 for a user's error, 1 for an error of the installation."""
    print(f"{program}: {error}", file=sys.stderr)
    return 1 if isinstance(error, ImportError) else 2


if __name__ == "__main__":
    sys.exit(main())
