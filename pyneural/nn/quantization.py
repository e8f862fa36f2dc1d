"""Quantisation by torch.ao, which knows torch's classes alone."""

from __future__ import annotations

import sys
from typing import Any

from pyneural.errors import ArgumentError
from pyneural.nn.drop_in import DropIn


class Quantizable(DropIn):
    """Base of the layers of which ``torch.ao.quantization`` has a quantised form.

    It sets the attribute ``qconfig`` of every layer: on one that is to be quantised, the
    configuration, upon which the layer becomes torch's; on another None. A layer is chosen by
    torch's class, by ours or by its name, as in torch.

    >>> from torch.ao.quantization import quantize_dynamic
    >>> from pyneural import nn
    >>> quantize_dynamic(nn.Sequential(nn.Linear(8, 4)))  # doctest: +ELLIPSIS
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
        if "qconfig" not in self.__dict__:  # else it is the user's, which torch sets again
            caller = sys._getframe(1)
            while caller.f_code.co_name == "__setattr__" and caller.f_back is not None:
                caller = caller.f_back
            value = self._chosen(value, caller.f_locals)
        if value is None or "_twin" not in type(self).__dict__:  # a user's class has no such form
            self.__dict__["qconfig"] = value
            return
        twin = self.as_torch()
        if type(twin) is not self._twin:
            raise ArgumentError(
                f"{type(self).__name__}: qconfig: expected a layer that torch has, got {self}; "
                "make the activation a layer of its own"
            )
        self.__dict__ = {**twin.__dict__, "qconfig": value}
        self.__class__ = self._twin

    def _chosen(self, value: Any, found: dict[str, Any]) -> Any:
        """The configuration for torch's class, if neither our class nor the name has one.

        Torch looks up ``type(layer)``, then the name, and sets the result alone. The dictionary
        that it searches is no argument of ours: it is read from the variables of torch's function.
        torch.ao is deprecated and changes no more.

        Args:
            value: torch's result.
            found: variables of that function, ``_propagate_qconfig_helper``.
        """
        choices, cls = found.get("qconfig_dict") or {}, type(self)
        if cls in choices and "" in choices:
            # So quantize_fx has it, which looks up the class again when it is torch's.
            raise ArgumentError(
                f"{cls.__name__}: qconfig: expected torch's class where a graph is quantised, got "
                f"{cls}; write set_object_type(torch.nn.{self._twin.__name__}, ...)"
            )
        if cls in choices or found.get("prefix") in choices or "_twin" not in cls.__dict__:
            return value
        return choices.get(self._twin, value)
