"""Models in files: weights in safetensors, layers as JSON in its header; no pickle.

A layer is described by the arguments of its constructor, read back from the attributes of the same
names, as torch's layers and pyneural's keep them; or, like Keras's, by ``get_config`` and
``from_config`` where it has these.
"""

import inspect
import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pyneural.training.checks import check
from pyneural.training.state.file import CheckpointError, previous_path, read_checkpoint

# Only these modules' classes are made from a file, so that a file can run nothing else.
_TRUSTED = ("torch.nn.modules", "pyneural.nn", "pyneural.layers")
_INSTEAD = "save its state_dict with safetensors instead"
_ELSEWHERE = ("device", "dtype")  # not part of what a layer is


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Gives a model the weights of a file; CheckpointError where they do not fit it."""
    tensors, _ = read_model(path)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    saved = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in dict.fromkeys([*shapes, *saved]):
        expected, got = f"shape {shapes.get(name)}, as the model has", saved.get(name)
        got_where, remedy = f"{got} in {os.fspath(path)!r}", "make the model that was saved"
        good = shapes.get(name) == got
        check(good, f"load: {name}", expected, got_where, remedy, CheckpointError)
    model.load_state_dict(tensors)


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Weights and config (None but of a ``Sequential``) in a file of ``Trainable.save``."""
    path = Path(path)
    before = previous_path(path)
    try:
        # A writer that dies between two renames leaves the model before under its other name.
        tensors, record = read_checkpoint(path if path.exists() else before)
    except FileNotFoundError as error:
        raise CheckpointError(f"load: expected a file {str(path)!r}, got none; save(path) writes "
                              "one") from error  # fmt: skip
    except CheckpointError as error:
        # Nobody may take an older model for this one unawares.
        older = f", or load {str(before)!r}, the one before it" if before.exists() else ""
        raise CheckpointError(f"{error}{older}") from error
    remedy = "give it to fit(checkpoint=..., resume=True)"
    where, got = f"load: {os.fspath(path)!r}", "a checkpoint of a training"
    check("model" in record, where, "a saved model", got, remedy, CheckpointError)
    return tensors, record["config"]


def describe(layer: nn.Module) -> dict[str, Any]:
    """Class and constructor arguments of a layer, which keeps them by name, in JSON's types.

    >>> describe(nn.Linear(3, 4))["arguments"]
    {'in_features': 3, 'out_features': 4, 'bias': True}
    """
    kind = type(layer)
    if hasattr(layer, "get_config"):
        return _description(layer, layer.get_config())  # type: ignore[operator]
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if name in ("self", *_ELSEWHERE):
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if kind is nn.Flatten:  # torch declares none of its arguments
                continue
            if isinstance(layer, nn.Sequential):
                arguments["layers"] = [describe(child) for child in layer]
            continue
        expected = f"an attribute {name!r} with the argument of that name"
        check(hasattr(layer, name), f"save: layer {kind.__name__}", expected, "none", _INSTEAD)
        value = getattr(layer, name)
        if name == "bias" and (value is None or isinstance(value, Tensor)):
            value = value is not None
        if value != parameter.default or parameter.default is parameter.empty or name == "bias":
            arguments[name] = value
    return _description(layer, arguments)


def _description(layer: nn.Module, arguments: dict[str, Any]) -> dict[str, Any]:
    kind = type(layer)
    try:
        plain = json.loads(json.dumps(arguments))
    except TypeError as error:
        raise ValueError(
            f"save: layer {kind.__name__}: expected arguments that JSON can hold, got {arguments} "
            f"({error}); {_INSTEAD}"
        ) from error
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "arguments": plain}


def rebuild(description: dict[str, Any]) -> nn.Module:
    """The layer that ``describe`` described, with new weights.

    >>> rebuild(describe(nn.Linear(3, 4)))
    Linear(in_features=3, out_features=4, bias=True)
    """
    module, _, name = description["class"].rpartition(".")
    trusted = any(f"{module}.".startswith(f"{package}.") for package in _TRUSTED)
    got, expected = description["class"], "layers of torch.nn, pyneural.nn and pyneural.layers"
    remedy = "make the model yourself and use its load()"
    check(trusted, "load_model", expected, got, remedy, CheckpointError)
    kind: Any = getattr(import_module(module), name, None)
    good = isinstance(kind, type) and issubclass(kind, nn.Module)
    remedy = "use the version of pyneural and torch that saved it"
    check(good, "load_model", "a layer", got, remedy, CheckpointError)
    arguments = dict(description["arguments"])
    if hasattr(kind, "from_config"):
        return kind.from_config(arguments)
    inner = [rebuild(child) for child in arguments.pop("layers", [])]
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    return kind(*inner, **arguments)
