"""Unknowns in a function that a user gives: the parameters that its values depend on."""

from __future__ import annotations

import types
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.graph import leaves

_DEPTH = 3  # how far parameters are looked for: in the attributes of an object in a closure


def parts_of(function: Any) -> tuple[list[torch.nn.Parameter], list[torch.nn.Module]]:
    """Parameters and modules that a function uses by name, those in its object or lists included.

    The parameters of the modules are not among them.

    >>> c, network = torch.nn.Parameter(torch.ones(1)), torch.nn.Linear(1, 1)
    >>> parts_of(lambda t: c * network(t[:, None])) == ([c], [network])
    True
    """
    parameters: dict[int, torch.nn.Parameter] = {}
    modules: dict[int, torch.nn.Module] = {}
    seen: set[int] = set()

    def look(value: Any, depth: int) -> None:
        if id(value) in seen or isinstance(value, (types.ModuleType, type, str, bytes)):
            return
        seen.add(id(value))
        if isinstance(value, torch.nn.Parameter):
            parameters[id(value)] = value
        elif isinstance(value, torch.nn.Module):
            modules[id(value)] = value
        elif isinstance(value, types.FunctionType):
            for part in _variables(value):
                look(part, depth)
        elif isinstance(value, types.MethodType):
            look(value.__self__, depth)
            look(value.__func__, depth)
        elif depth < _DEPTH and not isinstance(value, Tensor):
            if isinstance(value, (list, tuple, set)):
                inner = list(value)
            else:
                inner = list((value if isinstance(value, dict) else _attributes(value)).values())
            for part in inner:
                look(part, depth + 1)

    look(function, 0)
    return list(parameters.values()), list(modules.values())


def _variables(function: types.FunctionType) -> list[Any]:
    """What stands in a function's closure, defaults, and globals that it names."""
    found: list[Any] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # a variable without a value yet
            continue
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]  # functions inside
        found += [function.__globals__[n] for n in code.co_names if n in function.__globals__]
    return found


def _attributes(value: Any) -> dict[str, Any]:
    partial = {name: getattr(value, name, None) for name in ("func", "args", "keywords")}
    return {**getattr(value, "__dict__", {}), **partial}


class _Bound(torch.nn.Module):
    """Stands in a module with parameters that a function also holds, so that it is not copied."""

    def __deepcopy__(self, memo: object) -> object:
        raise TypeError(
            "deepcopy: expected functions without parameters in them, got one with a parameter, "
            "which its copy would share; write the function as a torch.nn.Module"
        )


def adopt_unknowns(
    owner: torch.nn.Module,
    function: Any,
    value: Tensor,
    where: str,
    ignored: Collection[int] = (),
) -> None:
    """Makes parameters that a value of a function depends on those of a module, to be learned.

    These are the parameters that stand in the function by themselves. Those of modules in it are
    left to their modules, unless the function is the module.

    Args:
        owner: the module.
        function: what gave the value.
        value: of the function, with its graph.
        where: the name that an error begins with.
        ignored: ids of tensors that are no unknowns.

    Raises:
        ValueError: a tensor that requires a gradient and cannot be found, or is no parameter.
    """
    parameters, modules = parts_of(function)
    of_modules = {id(p) for module in modules for p in module.parameters()}
    own = {id(parameter) for parameter in parameters}
    known = of_modules | {id(parameter) for parameter in owner.parameters()} | set(ignored)
    for leaf in leaves(value):
        if id(leaf) in known:
            continue
        if id(leaf) not in own:
            raise ValueError(
                f"{where}: expected unknowns that are torch.nn.Parameter and variables of the "
                f"function, got a tensor {list(leaf.shape)} that requires a gradient; make it one, "
                "or call its requires_grad_(False) to keep it as it is"
            )
        number = sum(name.startswith("unknown_") for name, _ in owner.named_parameters())
        owner.register_parameter(f"unknown_{number}", leaf)  # type: ignore[arg-type]
        owner.bound = _Bound()
