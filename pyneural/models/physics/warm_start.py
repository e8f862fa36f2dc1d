"""Weights of another PINN, to begin a training from: other points, conditions or constants."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyneural.models.physics.description import describe
from pyneural.training.checks import check
from pyneural.training.state.file import CheckpointError, read_checkpoint
from pyneural.training.state.stateful import join

PARTS = ("network", "equation", "conditions", "learned_weights")
_COLLOCATION = "collocation"


@dataclass(frozen=True)
class WarmStart:
    """What a PINN took over from another one, and what it kept.

    ``taken`` and ``kept`` are names of tensors; ``notes`` what differs beside.
    """

    taken: tuple[str, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.notes)


def warm_start(pinn: Any, source: Any, parts: Sequence[str]) -> WarmStart:
    """Takes tensors of ``parts`` over, see ``PINN.warm_start``."""
    where = "PINN.warm_start"
    given = [parts] if isinstance(parts, str) else list(parts)
    for part in given:
        good, expected = part in PARTS, f"some of {', '.join(PARTS)}"
        check(good, f"{where}: parts", expected, repr(part), "write parts=('network',)")
    theirs, known = _read(where, source)
    theirs = _tensors(theirs)
    own = _tensors(pinn.state_dict())
    taken: list[str] = []
    notes: list[str] = []
    for part in given:
        mine, other = (_of_part(state, part) for state in (own, theirs))
        remedy = f"leave out {part!r}"
        check(bool(mine), f"{where}: parts", "parts that have weights", repr(part), remedy)
        _check_alike(where, mine, other)
        if part == "network" and "network" in known:
            _check_same_network(where, str(pinn.network), known["network"])
        taken += mine
        notes.append(_summary(part, mine, other))
    with torch.no_grad():
        for name in taken:
            own[name].copy_(theirs[name])
    pinn.network.load_state_dict(_of_network(own))  # lets it look at its new input range
    kept = tuple(name for name in own if name not in taken)
    notes += _differences(pinn, own, theirs, known.get("equation"), kept)
    return WarmStart(tuple(taken), kept, tuple(notes))


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """All but the states of generators."""
    return {name: value for name, value in state.items() if not name.endswith("_extra_state")}


def _of_network(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = "network."
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}


def _of_part(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith(f"{part}.")}


def _read(where: str, source: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of a PINN or a file, and network and equation in words where they are known."""
    if isinstance(source, (str, os.PathLike)):
        try:
            tensors, record = read_checkpoint(Path(source))
        except FileNotFoundError as error:
            expected, remedy = f"a file {os.fspath(source)!r}", "pinn.save(path) writes one"
            text = f"{where}: source: expected {expected}, got none; {remedy}"
            raise CheckpointError(text) from error
        if "state" not in record:  # of ``save``
            return tensors, {}
        return join(record["state"], tensors)["model"], record["config"]
    expected, got = "a PINN, or the path of a file", type(source).__name__
    good = hasattr(source, "collocated")
    check(good, f"{where}: source", expected, got, "give the trained PINN", TypeError)
    known = {"network": str(source.network)}
    if source.equation is not None:
        known["equation"] = describe(source.equation)
    return source.state_dict(), known


def _check_alike(where: str, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    for name in dict.fromkeys([*mine, *theirs]):
        shapes = [tuple(s[name].shape) if name in s else None for s in (mine, theirs)]
        expected = f"{shapes[0]}, as this PINN has" if name in mine else "no such tensor"
        got, remedy = f"{shapes[1]} in the source", "make the network as the source's was made"
        good = shapes[0] == shapes[1]
        check(good, f"{where}: {name}", expected, got, remedy, CheckpointError)


def _check_same_network(where: str, mine: str, theirs: str) -> None:
    """CheckpointError for weights of another function of the same shapes, as other activations.

    The input range, which belongs to the weights, is taken over with them.
    """
    ours, other = (
        re.sub(r", input_range=\(\[.*?\], \[.*?\]\)", "", text) for text in (mine, theirs)
    )
    expected, remedy = f"{ours}, as this PINN has", "make the network as the source's was made"
    check(ours == other, f"{where}: network", expected, other, remedy, CheckpointError)


def _summary(part: str, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    count = sum(value.numel() for value in mine.values())
    text = f"taken over: {part}, {count:,} numbers in {len(mine)} tensors"
    kinds = {(theirs[n].dtype, v.dtype) for n, v in mine.items() if theirs[n].dtype != v.dtype}
    for before, after in kinds:
        text += f", {before} to {after}".replace("torch.", "")
    changed = [n for n in mine if n.endswith(("input_low", "input_high"))]
    if any(not torch.equal(mine[n].double().cpu(), theirs[n].double().cpu()) for n in changed):
        text += ", with its input_range, which differs"
    return text


def _differences(
    pinn: Any,
    own: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    equation: str | None,
    kept: Sequence[str],
) -> list[str]:
    notes = []
    if pinn.equation is not None:
        mine = describe(pinn.equation)
        beside = "" if equation in (None, mine) else f", in the source {equation}"
        notes.append(f"kept: equation {mine}{beside}")
    for name in kept:
        shape = list(own[name].shape)
        before = list(theirs[name].shape) if name in theirs else None
        if name == f"{_COLLOCATION}_weights":
            continue  # they go with the points
        if name == _COLLOCATION:
            same = before == shape
            beside = "" if same else f", in the source {before or 'none'}"
            notes.append(f"kept: {name} {shape}{beside}")
        elif before == shape and not torch.equal(own[name].cpu(), theirs[name].cpu()):
            notes.append(f"kept: {name}, other values in the source")
    left = [name for name in theirs if name not in own and not name.startswith(_COLLOCATION)]
    return [*notes, *(f"left in the source: {name}" for name in left)]
