"""Quantisation by torch.ao, which knows torch's classes alone."""

from __future__ import annotations

import warnings
from typing import Any

from pyneural.nn.drop_in import DropIn
from pyneural.ops.errors import ArgumentError


class Quantizable(DropIn):
    """Base of the layers of which ``torch.ao.quantization`` has a quantised form.

    It sets the attribute ``qconfig`` of every layer: on one that is to be quantised, the
    configuration, upon which the layer becomes torch's; on another None. As it chooses by
    ``type(layer)``, it must be given the classes of ``nn``, as in the example; a layer that it does
    not choose says so.

    >>> from torch.ao.quantization import quantize_dynamic
    >>> from pyneural import nn
    >>> quantize_dynamic(nn.Sequential(nn.Linear(8, 4)), {nn.Linear})  # doctest: +ELLIPSIS
    Sequential(
      (0): DynamicQuantizedLinear(in_features=8, out_features=4, ...
    )
    """

    __jit_unused_properties__ = ["all_weights", "_cell", "qconfig"]  # noqa: RUF012 (torch's form)

    @property
    def qconfig(self) -> Any:
        """The configuration of ``torch.ao.quantization``, where it set one."""
        if "qconfig" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: qconfig: not set")
        return self.__dict__["qconfig"]

    @qconfig.deleter
    def qconfig(self) -> None:
        del self.__dict__["qconfig"]

    @qconfig.setter
    def qconfig(self, value: Any) -> None:
        name = type(self).__name__
        if value is None:
            self.__dict__["qconfig"] = None
            warnings.warn(
                f"{name}: qconfig: not chosen, this layer is not quantised; torch.ao chooses by "
                f"type: where it should be, give it {type(self).__module__.split('.')[0]}'s class, "
                f"as in quantize_dynamic(model, {{nn.{name}}})",
                stacklevel=2,
            )
            return
        twin = self.as_torch()
        if type(twin) is not self._twin:
            raise ArgumentError(
                f"{name}: qconfig: expected a layer that torch has, got {self}; make the "
                "activation a layer of its own"
            )
        self.__dict__ = {**twin.__dict__, "qconfig": value}
        self.__class__ = self._twin
