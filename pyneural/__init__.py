"""pyneural: neural networks for physical scientists on hand-written C++ and CUDA kernels.

``import pyneural`` loads nothing else; each part below is imported on first use.

- `pyneural.ops`: the kernels as functions of tensors
- `pyneural.nn`: drop-in layers for PyTorch; `pyneural.layers`: Keras-style layers
- `pyneural.pde`: equations, domains, conditions, exact solutions
- `pyneural.training`: training of networks and of equations; `pyneural.models`: ready-made models
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
