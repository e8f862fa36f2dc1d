"""What a build of pyneural finds on the machine: torch, the C++ compiler, the CUDA compiler.

Every function returns what it found or raises `BuildError`, whose text is one line: what is wrong
and what to do about it.
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

MINIMUM_TORCH = (2, 11)
MINIMUM_SETUPTOOLS = (77,)
# What torch's headers ask for, which are C++20.
MINIMUM_COMPILER = {"gcc": (11, 3), "clang": (14, 0), "Apple clang": (15, 0)}
MEMORY_OF_JOB = 2 * 2**30  # bytes that gcc takes for all kernels of an instruction set
# Before it a kernel took 4 KB of parameters; those of ours take up to 18.
MINIMUM_CUDA = (12, 1)

Run = Callable[[list[str]], str]


class BuildError(Exception):
    """A build that cannot go on; the text is one line with the remedy."""


class Compiler(NamedTuple):
    """The C++ compiler: its command, kind ("gcc", "clang", "Apple clang") and version."""

    command: str
    kind: str
    version: tuple[int, ...]


class Jobs(NamedTuple):
    """How many processors a build may use, and how many files fit the memory at a time."""

    processors: int
    at_a_time: int


class CudaToolkit(NamedTuple):
    """The CUDA compiler's folder and version."""

    home: Path
    version: tuple[int, ...]


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return result.stdout + result.stderr


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _target_folders(prefix: Path) -> Iterator[str]:
    """The package folders of the environment that is installed into."""
    yield from site.getsitepackages([str(prefix)])
    config = prefix / "pyvenv.cfg"
    closed = config.exists() and not re.search(
        r"^include-system-site-packages\s*=\s*true", config.read_text(), re.MULTILINE | re.I
    )
    if not closed:
        yield site.getusersitepackages()
        yield from site.getsitepackages([sys.base_prefix])


def import_torch() -> ModuleType:
    """The torch of the environment that is installed into, also from an isolated build.

    pip's isolation hides the environment's packages but runs its interpreter, so that the prefix
    still leads to them. They go last on the path: what the build asks for itself stays in front.
    """
    folders = [folder for folder in _target_folders(Path(sys.prefix)) if folder not in sys.path]
    sys.path.extend(folders)
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BuildError(
            f"there is no torch in {sys.prefix}; install it first (pip install torch), and where "
            "the tool builds in an environment of its own (uv, build) add --no-build-isolation"
        ) from None
    check_torch(torch.__version__)
    return torch


def check_torch(version: str) -> None:
    """Refuses a torch older than the oldest that the sources build against."""
    found = _version(re.match(r"\d+\.\d+", version)[0])
    if found < MINIMUM_TORCH:
        raise BuildError(
            f"torch {version} is too old, {_dotted(MINIMUM_TORCH)} or newer is needed; "
            "pip install --upgrade torch"
        )


def check_setuptools(version: str) -> None:
    """Refuses a setuptools that cannot read pyproject.toml, which it would tell at length."""
    if _version(re.match(r"\d+", version)[0]) < MINIMUM_SETUPTOOLS:
        raise BuildError(
            f"setuptools {version} is too old, {_dotted(MINIMUM_SETUPTOOLS)} or newer is needed; "
            f"pip install --upgrade 'setuptools>={_dotted(MINIMUM_SETUPTOOLS)}'"
        )


def find_compiler(
    environ: Mapping[str, str] = os.environ, which: Callable = shutil.which, run: Run = _run
) -> Compiler:
    """The C++ compiler: `CXX` where set, else the first of c++, g++ and clang++."""
    candidates = [environ["CXX"]] if environ.get("CXX") else ["c++", "g++", "clang++"]
    # CXX may hold a launcher or options as well ("ccache g++").
    command = next((name for name in candidates if which(name.split()[0])), None)
    if command is None:
        raise BuildError(
            f"found no C++ compiler ({', '.join(candidates)}); install one "
            "(Debian: apt-get install g++, macOS: xcode-select --install) or point CXX at it"
        )
    try:
        banner = run([*command.split(), "--version"])
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"the C++ compiler {command} does not run ({error}); see CXX") from None
    if match := re.search(r"(Apple )?clang version (\d+(?:\.\d+)*)", banner):
        kind = f"{match[1] or ''}clang"
    elif match := re.search(r"(\b)[^\n]*\(.*\) (\d+\.\d+(?:\.\d+)?)", banner):
        kind = "gcc"
    else:
        raise BuildError(
            f"the C++ compiler {command} is neither gcc nor clang; point CXX at one of them"
        )
    compiler = Compiler(command, kind, _version(match[2]))
    minimum = MINIMUM_COMPILER[kind]
    if compiler.version < minimum:
        raise BuildError(
            f"{command} is {kind} {_dotted(compiler.version)}, torch's headers need "
            f"{kind} {_dotted(minimum)} or newer; install a newer one or point CXX at it"
        )
    return compiler


def check_python_headers(folder: str | None = None) -> None:
    """Refuses a Python without its C headers, which distributions ship apart."""
    folder = folder or sysconfig.get_paths()["include"]
    if not Path(folder, "Python.h").exists():
        raise BuildError(
            f"there is no Python.h in {folder}; install the headers of this Python "
            "(Debian: apt-get install python3-dev)"
        )


def choose_isas(wish: str | None, known: Sequence[str], processor: str) -> list[str]:
    """The instruction sets to build the CPU kernels for.

    Those of `wish`; without one the best of this processor and all but the worst, which few
    processors since 2013 need.

    `wish` is `PYNEURAL_BUILD_ISAS`: names, of which "native" is the best set of this processor and
    "all" stands for all. `known` are the sets of this kind of processor, worst first; `processor`
    is its best, as torch names it.
    """
    names = (wish or "").replace(",", " ").split() or ["native", *known[1:]]
    if "all" in names:
        names += known
    # Torch knows more sets than it has vectors for, and other names on Arm and Power.
    native = processor.lower() if processor.lower() in known else known[0]
    names = [native if name == "native" else name for name in names if name != "all"]
    if unknown := [name for name in names if name not in known]:
        raise BuildError(
            f"PYNEURAL_BUILD_ISAS: expected some of native, all, {', '.join(known)}, "
            f"got {unknown[0]!r}; unset it to build what nearly every processor can use"
        )
    return [isa for isa in known if isa in names]


def choose_jobs(wish: str | None, processors: int, memory: int | None) -> Jobs:
    """How many files to compile at a time.

    Those of `wish`, the value of `MAX_JOBS`; without one as many as there are processors, unless
    the `memory` in bytes that is free holds fewer; None where it is not known.
    """
    if wish:
        if not re.fullmatch(r"[1-9]\d*", wish):
            raise BuildError(f"MAX_JOBS: expected a whole number above 0, got {wish!r}")
        return Jobs(int(wish), int(wish))
    fitting = processors if memory is None else memory // MEMORY_OF_JOB
    return Jobs(processors, max(1, min(processors, fitting)))


def usable_processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_cuda(
    torch_cuda: str | None,
    environ: Mapping[str, str] = os.environ,
    which: Callable = shutil.which,
    run: Run = _run,
) -> CudaToolkit | None:
    """The toolkit to build the CUDA kernels with, None for a build without them.

    `torch_cuda` is `torch.version.cuda`. `PYNEURAL_CUDA=0` leaves CUDA out, `PYNEURAL_CUDA=1`
    insists on it. No GPU is needed.
    """
    wish = environ.get("PYNEURAL_CUDA", "")
    if wish not in ("", "0", "1"):
        raise BuildError(f"PYNEURAL_CUDA is {wish!r}; use 0 or 1, or leave it unset")
    if wish == "0" or (torch_cuda is None and wish == ""):
        return None
    if torch_cuda is None:
        raise BuildError(
            "PYNEURAL_CUDA=1, but the installed torch has no CUDA; install a CUDA build of torch, "
            "or leave PYNEURAL_CUDA unset"
        )
    home = environ.get("CUDA_HOME") or environ.get("CUDA_PATH")
    nvcc = which(str(Path(home, "bin", "nvcc"))) if home else which("nvcc")
    if nvcc is None:
        if wish == "1":
            raise BuildError(
                f"PYNEURAL_CUDA=1, but there is no nvcc; install the CUDA {torch_cuda} toolkit or "
                "point CUDA_HOME at it, or leave PYNEURAL_CUDA unset to build for the CPU only"
            )
        return None
    try:
        version = _version(re.search(r"release (\d+\.\d+)", run([nvcc, "--version"]))[1])
    except (OSError, subprocess.CalledProcessError, TypeError):
        raise BuildError(
            f"{nvcc} does not tell its version; repair the CUDA toolkit, point CUDA_HOME at "
            "another, or set PYNEURAL_CUDA=0 to build for the CPU only"
        ) from None
    if version[0] != _version(torch_cuda)[0]:
        raise BuildError(
            f"{nvcc} is CUDA {_dotted(version)}, torch was built with CUDA {torch_cuda}; point "
            f"CUDA_HOME at a CUDA {_version(torch_cuda)[0]} toolkit, or set PYNEURAL_CUDA=0 to "
            "build for the CPU only"
        )
    if version < MINIMUM_CUDA:
        raise BuildError(
            f"{nvcc} is CUDA {_dotted(version)}, {_dotted(MINIMUM_CUDA)} or newer is needed for "
            "the size of the kernels' parameters; point CUDA_HOME at a newer toolkit, or set "
            "PYNEURAL_CUDA=0 to build for the CPU only"
        )
    return CudaToolkit(Path(home) if home else _toolkit_of(nvcc, run), version)


def _toolkit_of(nvcc: str, run: Run) -> Path:
    # nvcc on the PATH may be a link or a script; it knows itself where its toolkit is.
    match = re.search(r"^#\$ TOP=(.+)$", run([nvcc, "--dryrun", "-x", "cu", os.devnull]), re.M)
    return Path(match[1]).resolve() if match else Path(nvcc).resolve().parent.parent
