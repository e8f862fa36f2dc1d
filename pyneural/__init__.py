"""pyneural: neural networks for physical scientists on hand-written C++ and CUDA kernels.

Importing it imports nothing else; the parts below are imported when they are first asked for.

- `pyneural.ops`: the kernels as functions of tensors; importing it loads them
- `pyneural.nn`: layers, drop-in for those of torch; `pyneural.layers`: in the style of Keras
- `pyneural.pde`: equations, domains, conditions, exact solutions
- `pyneural.training`, `pyneural.models`: compile and fit, trainers, and the systems of the course
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
__all__ = ["layers", "models", "nn", "ops", "pde", "plots", "training"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"pyneural.{name}")
    raise AttributeError(f"module 'pyneural' has no attribute {name!r}")
