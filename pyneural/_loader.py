"""Loads the extension modules: the schemas, one set of CPU kernels, the CUDA kernels if built.

The CPU kernels are built once for each instruction set, and exactly one of these libraries is
loaded: the best that the processor has, or the one that `PYNEURAL_CPU_ISA` names.
"""

from __future__ import annotations

import importlib
import json
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

_PACKAGE = Path(__file__).parent
# Worst first; torch.backends.cpu.get_cpu_capability() gives the same names in capitals.
_ISAS = ("default", "avx2", "avx512")
_INSTALL = "`pip install .` (`pip install -e .` in a checkout)"


def load() -> None:
    """Loads the libraries; raises ImportError with one line that says why one cannot be loaded."""
    record = _read_record()
    check_versions(record, torch.__version__, torch.version.cuda)
    isa = choose_isa(os.environ.get("PYNEURAL_CPU_ISA"), built_isas(), processor_isas())
    importlib.import_module("pyneural._C")
    torch.ops.load_library(str(_library(f"_cpu_{isa}")))
    # Without CUDA in torch the library would not link, and no CUDA tensor could ask for it.
    if record["cuda"] and torch.version.cuda:
        torch.ops.load_library(str(_library("_cuda")))


def check_versions(built: dict[str, str | None], torch_version: str, cuda: str | None) -> None:
    """Refuses libraries that were built for another torch or another CUDA.

    Args:
        built: the versions of the build, under "torch" and "cuda".
        torch_version: that of the imported torch; its major and minor must be those of the build.
        cuda: that of the imported torch, None for one without; its major must be that of the build.

    Raises:
        ImportError: the versions differ; loading would fail on some symbol.
    """
    if str(built["torch"]).split(".")[:2] != torch_version.split(".")[:2]:
        raise ImportError(
            f"pyneural was built for torch {built['torch']}, but torch {torch_version} is "
            f"imported; build it again with {_INSTALL}"
        )
    if built["cuda"] and cuda and built["cuda"].split(".")[0] != cuda.split(".")[0]:
        raise ImportError(
            f"pyneural was built for CUDA {built['cuda']}, but torch has CUDA {cuda}; "
            f"build it again with {_INSTALL}"
        )


def choose_isa(wish: str | None, built: list[str], available: list[str]) -> str:
    """The instruction set to load: the best that is built and that the processor has.

    Args:
        wish: the value of `PYNEURAL_CPU_ISA`, which overrides the choice.
        built: the sets that were built.
        available: the sets that the processor has.

    Raises:
        ImportError: an unknown name, or a set that was not built or that the processor lacks.

    Example:
        >>> choose_isa(None, ["default", "avx2", "avx512"], ["default", "avx2"])
        'avx2'
    """
    if not built:
        raise ImportError(
            f"no CPU kernels of pyneural are built in {_PACKAGE}; build them with {_INSTALL}"
        )
    usable = [isa for isa in built if isa in available]
    if not usable:
        raise ImportError(
            f"pyneural's CPU kernels are built for {' and '.join(built)}, which this processor "
            f"lacks; build them on it with {_INSTALL}, or elsewhere with PYNEURAL_BUILD_ISAS=all"
        )
    if wish and wish not in usable:
        why = ", but this processor lacks it" if wish in built else ", but it was not built here"
        raise ImportError(
            f"PYNEURAL_CPU_ISA: expected one of {', '.join(usable)}, got {wish!r}"
            f"{why if wish in _ISAS else ''}; unset it to let pyneural choose"
        )
    return wish or usable[-1]


def built_isas() -> list[str]:
    """The instruction sets whose kernels were built, worst first."""
    return [isa for isa in _ISAS if _find(f"_cpu_{isa}")]


def processor_isas() -> list[str]:
    """The instruction sets that this processor has, worst first."""
    best = torch.backends.cpu.get_cpu_capability().lower()
    # Other names are those of Arm and Power, whose vectors come with the baseline.
    return list(_ISAS[: _ISAS.index(best) + 1]) if best in _ISAS else ["default"]


def loaded_isa() -> str:
    """The instruction set of the CPU kernels in use."""
    loaded = torch.ops.loaded_libraries
    return next(isa for isa in built_isas() if str(_library(f"_cpu_{isa}")) in loaded)


def _read_record() -> dict[str, str | None]:
    path = _PACKAGE / "_build.json"
    if not path.exists():
        raise ImportError(
            f"pyneural's kernels are not built in {_PACKAGE}; build them with {_INSTALL}"
        )
    return json.loads(path.read_text())


def _find(module: str) -> Path | None:
    files = (_PACKAGE / f"{module}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((file for file in files if file.exists()), None)


def _library(module: str) -> Path:
    file = _find(module)
    if file is None:
        raise ImportError(
            f"the kernels pyneural.{module} are missing in {_PACKAGE}; build them with {_INSTALL}"
        )
    return file
