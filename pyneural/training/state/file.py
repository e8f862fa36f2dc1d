"""Checkpoints and models: one safetensors file with JSON in its header, replaced in one step.

Weights, optimiser, points and the record of the training go into a single file, so that no two
files can disagree. A writer that dies at any instant leaves the file before it, or the new one,
never a part of one; and the file before is kept under another name.

Nothing is pickled: a layer is described by the arguments of its constructor, read back from the
attributes of the same names, as torch's layers and pyneural's keep them; or, like Keras's, by
``get_config`` and ``from_config`` where it has these.
"""

import contextlib
import hashlib
import inspect
import json
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from pyneural.training.checks import check
from pyneural.training.state.replacing import followed, replaced

FORMAT = "pyneural checkpoint 1"
# Only these modules' classes are made from a file, so that a file can run nothing else.
_TRUSTED = (
    "torch.nn.modules", "pyneural.nn", "pyneural.layers", "pyneural.models.autoencoders",
    "pyneural.models.flows", "pyneural.models.diffusion", "pyneural.models.images",
    "pyneural.models.adversarial",
)  # fmt: skip
_INSTEAD = "save its state_dict with safetensors instead"
_MISFITS = (
    ArithmeticError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
_ELSEWHERE = ("device", "dtype")  # not part of what a layer is


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another training."""


@contextlib.contextmanager
def refused_as_checkpoint(where: str, expected: str, remedy: str) -> Iterator[None]:
    """Context in which what does not fit in a file's content is a CheckpointError, whatever it is.

    >>> with refused_as_checkpoint("load", "a number", "save again"):
    ...     int("x")
    Traceback (most recent call last):
    pyneural.training.state.file.CheckpointError: load: expected a number, got ...
    """
    try:
        yield
    except CheckpointError:
        raise
    except _MISFITS as error:
        got = f"one that does not fit ({type(error).__name__}: {error})"
        raise CheckpointError(f"{where}: expected {expected}, got {got}; {remedy}") from error


def previous_path(path: str | os.PathLike[str]) -> Path:
    """Where the checkpoint before the last one is kept, as burgers.previous.safetensors."""
    path = followed(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Writes tensors and a JSON record to one file, atomically.

    The new file is complete on the disk, under a temporary name, before it takes the place of the
    last one, which becomes ``previous_path(path)``.

    Args:
        path: of the file; its directory exists. OSError where it cannot be written.
        tensors: by name, any device.
        record: what JSON can hold.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "run.safetensors"
    ...     save_checkpoint(path, {"w": torch.ones(2)}, {"step": 7})
    ...     tensors, record, _ = load_checkpoint(path)
    >>> tensors["w"].tolist(), record["step"]
    ([1.0, 1.0], 7)
    """
    path, (stored, beside) = followed(path), _stored(tensors)
    text = json.dumps(dict(record), default=_plain)
    notes = json.dumps(beside) if any(beside.values()) else ""
    header = {"format": FORMAT, "record": text, "sha256": _digest(stored, text + notes)}
    if notes:
        header["beside"] = notes
    try:
        data = save(stored, metadata=header)
    except KeyError as error:
        expected, remedy = "tensors of types that safetensors has", "convert them"
        raise ValueError(f"save: expected {expected}, got {error}; {remedy}") from error
    with replaced(path, previous_path(path)) as temporary, open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if os.name == "posix":  # lets the renames last through a loss of power
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _plain(value: Any) -> Any:
    """A number of NumPy as Python's, which JSON has."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"object of type {type(value).__name__} is not JSON serializable")


def _stored(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors as they go into the file, and what else is needed to have them back.

    That is the names of tensors that have the elements of another one, as of tied weights, which
    are stored once, and the names of those that safetensors has no type for.
    """
    stored: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    double: list[str] = []
    first: dict[Any, str] = {}
    storages: set[int] = set()
    for name, value in tensors.items():
        good = value.layout == torch.strided and not value.is_meta
        expected, remedy = "a dense tensor with values", "convert it"
        got = f"{value.layout} on {value.device}"
        check(good, f"save: {name}", expected, got, remedy)
        owner = first.setdefault(_elements(value), name) if value.numel() else name
        if owner != name:
            tied[name] = owner
            continue
        value = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        if value.dtype == torch.complex128:
            double.append(name)
            value = torch.view_as_real(value)
        if value.untyped_storage().data_ptr() in storages:  # a part of another one
            value = value.clone()
        storages.add(value.untyped_storage().data_ptr())
        stored[name] = value
    return stored, {"tied": tied, "complex128": double}


def _elements(value: Tensor) -> tuple:
    """Equal for tensors of the same elements in memory."""
    lazily = value.is_conj(), value.is_neg()
    return value.device, value.dtype, value.data_ptr(), value.shape, value.stride(), *lazily


def load_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Reads the last good checkpoint: that at ``path`` or else the one before.

    Returns:
        tensors on the CPU, the record, and a text for each file that was refused. A damaged file
        is renamed to ``*.damaged`` where the one before it is good.

    CheckpointError if neither file is there, or both are damaged.
    """
    refused: list[str] = []
    path = followed(path)
    for candidate in (path, previous_path(path)):
        read = _identity(candidate)
        try:
            tensors, record = read_checkpoint(candidate)
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            refused.append(str(error))
            damaged = read
            continue
        # The next checkpoint must not put the damaged file in the good one's place; and another
        # writer may have replaced it in the meantime.
        if refused and _identity(path) == damaged:
            with contextlib.suppress(OSError):
                os.replace(path, path.with_suffix(".damaged"))
        return tensors, record, refused
    missing = f"checkpoint: expected a file {str(path)!r}, got none; start without resuming"
    raise CheckpointError("; ".join(refused) or missing)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has the name now."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU and the record of that very file; FileNotFoundError if there is none.

    Names of tied weights have one and the same tensor. CheckpointError if the file is damaged, or
    no checkpoint.
    """
    where, whole, remedy = f"checkpoint: {path}", "expected a whole file", "delete it"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:  # a directory, or a disk that gives it no more
        got = f"one that cannot be read ({error.strerror})"
        raise CheckpointError(f"{where}: {whole}, got {got}; {remedy}") from error
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")  # of the header, which follows these 8 bytes
        header = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        got = f"a damaged one ({error})"
        raise CheckpointError(f"{where}: {whole}, got {got}; {remedy}") from error
    expected, got = f"the format {FORMAT!r}", repr(header.get("format"))
    other = "give a checkpoint that pyneural's trainer wrote"
    check(header.get("format") == FORMAT, where, expected, got, other, CheckpointError)
    text, notes = header.get("record", ""), header.get("beside", "")
    good = _digest(tensors, text + notes) == header.get("sha256")
    got = "a damaged one (its content does not match its SHA-256 sum)"
    check(good, where, "a whole file", got, remedy, CheckpointError)
    with refused_as_checkpoint(where, "a file that pyneural wrote", remedy):
        beside = json.loads(notes) if notes else {"tied": {}, "complex128": []}
        for name in beside["complex128"]:
            tensors[name] = torch.view_as_complex(tensors[name])
        tensors |= {name: tensors[owner] for name, owner in beside["tied"].items()}
        return tensors, json.loads(text)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        row = value.as_strided(
            (value.numel(),), (1,)
        )  # also where torch calls [1] of stride 4 whole
        digest.update(row.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Gives a model the weights of a file; CheckpointError where they do not fit it.

    A part whose buffers depend on its data, as the whitening of a flow, says by ``matching`` how it
    takes the shape of what is loaded.
    """
    tensors, _ = read_model(path)
    with contextlib.ExitStack() as parts:
        for name, part in list(model.named_modules()):
            if hasattr(part, "matching"):
                parts.enter_context(part.matching(tensors, f"{name}." if name else ""))
        check_weights(model, tensors, path)
    model.load_state_dict(tensors)


def check_weights(
    model: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]
) -> None:
    """Raises CheckpointError unless a model, perhaps on meta, can hold just these weights."""
    own = {name: v for name, v in model.state_dict().items() if isinstance(v, Tensor)}
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    saved = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in dict.fromkeys([*shapes, *saved]):
        mine, theirs = shapes.get(name), saved.get(name)
        expected, got = f"shape {mine}, as the model has", f"{theirs} in {os.fspath(path)!r}"
        remedy = "make the model that was saved"
        check(mine == theirs, f"load: {name}", expected, got, remedy, CheckpointError)
    first: dict[Any, str] = {}
    for name, value in own.items():
        if value.is_meta or not value.numel():
            continue
        owner = first.setdefault(_elements(value), name)
        expected, got = f"the values of {owner}, which it is in the model", "others"
        remedy = "make the model that was saved, with weights of their own"
        same = owner == name or tensors[name] is tensors[owner]
        same = same or _digest({"": tensors[name]}, "") == _digest({"": tensors[owner]}, "")
        check(same, f"load: {name}", expected, got, remedy, CheckpointError)


def tie(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Makes weights and buffers one that were one in the model that was saved.

    >>> model, weight = nn.Sequential(nn.Linear(2, 2, False), nn.Linear(2, 2, False)), torch.ones(4)
    >>> tie(model, {"0.weight": weight, "1.weight": weight})
    >>> model[0].weight is model[1].weight
    True
    """
    first: dict[int, str] = {}
    for name, value in tensors.items():
        owner = first.setdefault(id(value), name)
        if owner != name:
            path, _, attribute = owner.rpartition(".")
            shared = getattr(model.get_submodule(path), attribute)
            path, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(path), attribute, shared)


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Weights and config (None but of a ``Sequential``) in a file of ``Trainable.save``."""
    path = followed(path)
    before = previous_path(path)
    try:
        # Writers of earlier versions died between two renames, and left it under its other name.
        tensors, record = read_checkpoint(path if path.exists() else before)
    except FileNotFoundError as error:
        expected, remedy = f"a file {str(path)!r}", "save(path) writes one"
        raise CheckpointError(f"load: expected {expected}, got none; {remedy}") from error
    except CheckpointError as error:
        # Nobody may take an older model for this one unawares.
        older = f", or load {str(before)!r}, the one before it" if before.exists() else ""
        raise CheckpointError(f"{error}{older}") from error
    remedy = "give it to fit(checkpoint=..., resume=True)"
    where, got = f"load: {os.fspath(path)!r}", "a checkpoint of a training"
    check("model" in record, where, "a saved model", got, remedy, CheckpointError)
    return tensors, record.get("config")


def describe(layer: nn.Module) -> dict[str, Any]:
    """Class and arguments of a layer in JSON's types; ValueError if it does not keep them."""
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
        plain = json.loads(json.dumps(arguments, default=_plain))
    except TypeError as error:
        raise ValueError(
            f"save: layer {kind.__name__}: expected arguments that JSON can hold, got {arguments} "
            f"({error}); {_INSTEAD}"
        ) from error
    return {"class": class_name(kind), "arguments": plain}


def class_name(kind: type) -> str:
    """What ``class_of`` finds a class by."""
    return f"{kind.__module__}.{kind.__qualname__}"


def class_of(full_name: str, base: type | tuple[type, ...]) -> Any:
    """A class of torch.nn or pyneural by its module and name; CheckpointError for any other."""
    module, _, name = full_name.rpartition(".")
    trusted = any(f"{module}.".startswith(f"{package}.") for package in _TRUSTED)
    expected = f"layers of {', '.join(_TRUSTED)}"
    remedy = "make the model yourself and use its load()"
    check(trusted, "load_model", expected, full_name, remedy, CheckpointError)
    remedy = "use the version of pyneural and torch that saved it"
    kind: Any = getattr(import_module(module), name, None)
    good = isinstance(kind, type) and issubclass(kind, base)
    check(good, "load_model", "a layer", full_name, remedy, CheckpointError)
    return kind


def rebuild(description: dict[str, Any]) -> nn.Module:
    """The layer that ``describe`` described, with new weights.

    >>> rebuild(describe(nn.Linear(3, 4)))
    Linear(in_features=3, out_features=4, bias=True)
    """
    kind = class_of(description["class"], nn.Module)
    arguments = dict(description["arguments"])
    if hasattr(kind, "from_config"):
        return kind.from_config(arguments)
    inner = [rebuild(child) for child in arguments.pop("layers", [])]
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    return kind(*inner, **arguments)
