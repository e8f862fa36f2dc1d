"""Checks of what explanations are given: models, inputs, baselines, explained outputs."""

from __future__ import annotations

from numbers import Real
from typing import TypeVar

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_argument, is_whole

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])  # one tensor, or all that the model takes
Target = int | tuple[int, ...] | Tensor | None  # which number of the output is explained
Baseline = float | Tensor | tuple[float | Tensor, ...]
DTYPES = torch.float32, torch.float64


def short(dtype: torch.dtype) -> str:
    """The name of a dtype without its module.

    >>> short(torch.float16)
    'float16'
    """
    return str(dtype).removeprefix("torch.")


def check_model(where: str, model: object) -> None:
    """ArgumentError unless it is a module in float32 or float64.

    >>> check_model("saliency", torch.nn.Linear(2, 1).half())
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: saliency: model: expected float32 or float64, got float16; \
write model.float(): half precision has too few digits for differences and sums
    """
    what = f"{where}: model"
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError(
            f"{what}: expected a torch.nn.Module, got {type(model).__name__}; wrap the function in "
            "the forward of one"
        )
    for parameter in model.parameters():
        if parameter.is_floating_point():
            remedy = (
                "write model.float(): half precision has too few digits for differences and sums"
            )
            good, got = parameter.dtype in DTYPES, short(parameter.dtype)
            check_argument(good, what, "float32 or float64", got, remedy)


def as_inputs(where: str, x: Tensor | tuple[Tensor, ...], name: str = "x") -> tuple[Tensor, ...]:
    """The input tensors as a tuple; ArgumentError unless all are finite floats of one batch.

    >>> as_inputs("saliency", torch.tensor([[1, 2]]))
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: saliency: x: expected float32 or float64, got int64; write \
x.float(), explain the embeddings of tokens, or hold it by interpret.FixedInputs
    """
    several = isinstance(x, tuple)
    xs = x if isinstance(x, tuple) else (x,)
    check_argument(len(xs) > 0, f"{where}: {name}", "a tensor or several", "()", "give one")
    for number, part in enumerate(xs):
        what = f"{where}: {name}[{number}]" if several else f"{where}: {name}"
        good, got = isinstance(part, Tensor), type(part).__name__
        check_argument(good, what, "a tensor", got, "write torch.as_tensor, several as a tuple")
        remedy = (
            "write x.float(), explain the embeddings of tokens, or hold it by interpret.FixedInputs"
        )
        check_argument(part.dtype in DTYPES, what, "float32 or float64", short(part.dtype), remedy)
        good, got = part.ndim > 0 and part.numel() > 0, str(list(part.shape))
        check_argument(good, what, "[N, ...] with a sample or more", got, "give one")
        good, got = len(part) == len(xs[0]), f"{len(xs[0])} and {len(part)}"
        check_argument(
            good, what, "as many samples in each tensor", got, "a sample has one of each"
        )
        good, remedy = bool(part.isfinite().all()), "find out where they come from"
        check_argument(good, what, "finite numbers", "NaN or infinity", remedy)
    return xs


def as_input(where: str, x: Tensor, name: str = "x") -> Tensor:
    """One checked input tensor, for methods that take no more."""
    good, remedy = (
        isinstance(x, Tensor),
        "write torch.as_tensor; hold other inputs by interpret.FixedInputs",
    )
    check_argument(good, f"{where}: {name}", "one tensor", type(x).__name__, remedy)
    return as_inputs(where, x, name)[0]


def like_samples(where: str, value: float | Tensor, x: Tensor) -> Tensor:
    """A number, values of one sample, or values of all samples, in the shape of x.

    >>> like_samples("occlusion: baseline", torch.zeros(3), torch.ones(2, 4))
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: occlusion: baseline: expected a number, [4] or [2, 4], got [3]; \
give one value for each element of a sample, as by expand
    """
    sample, all_samples = list(x.shape[1:]), list(x.shape)
    expected = f"a number, {sample} or {all_samples}"
    remedy = "give one value for each element of a sample, as by expand"
    if isinstance(value, Tensor):
        good = list(value.shape) in ([], sample, all_samples)
        check_argument(good, where, expected, list(value.shape), remedy)
    else:
        good = isinstance(value, Real) and not isinstance(value, bool)
        check_argument(good, where, expected, type(value).__name__, remedy)
    wide = torch.as_tensor(value, device=x.device).detach().to(x.dtype).expand_as(x)
    check_argument(bool(wide.isfinite().all()), where, "finite numbers", "NaN or infinity")
    return wide


def as_baselines(where: str, baseline: Baseline, xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The baseline of each input tensor, in its shape."""
    given = baseline if isinstance(baseline, tuple) else (baseline,) * len(xs)
    good, got = len(given) == len(xs), len(given)
    check_argument(good, f"{where}: baseline", f"{len(xs)} of them, one a tensor", got)
    return tuple(like_samples(f"{where}: baseline", *pair) for pair in zip(given, xs, strict=True))


def explained(where: str, output: object, target: Target, count: int, copies: int = 1) -> Tensor:
    """The explained number of each row, [copies count], out of the model's output.

    The rows are those of ``count`` samples, once or several times in turn.

    >>> explained("saliency", torch.ones(5, 10), None, 5)
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: saliency: target: expected the index of one of the outputs \
[10] of a sample, got None; write target=0 for the first
    """
    what = f"{where}: output of the model"
    if not isinstance(output, Tensor):
        raise ArgumentError(
            f"{what}: expected a tensor, got {type(output).__name__}; wrap the model in a module "
            "that returns one of them"
        )
    remedy = "leave torch.autocast, write model.float(), return logits instead of labels"
    good, got = output.dtype in DTYPES, short(output.dtype)
    check_argument(good, what, "float32 or float64", got, remedy)
    rows, got = copies * count, str(list(output.shape))
    good = output.ndim > 0 and len(output) == rows
    check_argument(good, what, f"[{rows}, ...], a row a sample", got, "keep the batch in front")
    good, remedy = bool(output.isfinite().all()), "find out where they come from"
    check_argument(good, what, "finite numbers", "NaN or infinity", remedy)
    per_sample = list(output.shape[1:])
    if target is None:
        expected = f"the index of one of the outputs {per_sample} of a sample"
        good, remedy = output.numel() == rows, "write target=0 for the first"
        check_argument(good, f"{where}: target", expected, None, remedy)
        return output.reshape(rows)
    index = _as_index(where, target, count, per_sample).to(output.device).repeat(copies, 1)
    places = torch.arange(rows, device=output.device), *index.unbind(1)
    return output[places]


def _as_index(where: str, target: Target, count: int, sizes: list[int]) -> Tensor:
    """Indices [count, D] of one number in the outputs of each sample, which have these D sizes."""
    what, depth = f"{where}: target", len(sizes)
    named = "an index" if depth == 1 else f"{depth} indices"
    expected = f"{named} within {sizes}, or whole numbers [{count}{f', {depth}' * (depth > 1)}]"
    remedy = "leave it out: there is one output" if depth == 0 else "count outputs from 0"
    if isinstance(target, Tensor):
        good = not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
        check_argument(good, what, expected, short(target.dtype), "write target.long()")
        index = target.detach().long()
        index = index[:, None] if index.ndim == 1 else index
        good = depth > 0 and list(index.shape) == [count, depth]
        check_argument(good, what, expected, f"a tensor {list(target.shape)}", remedy)
    else:
        if hasattr(target, "__len__") and not isinstance(target, tuple):
            remedy = "write torch.as_tensor(target)"
        given = target if isinstance(target, tuple) else (target,)
        good = len(given) == depth > 0 and all(is_whole(number) for number in given)
        check_argument(good, what, expected, repr(target), remedy)
        index = torch.tensor([[int(number) for number in given if number is not None]])
        index = index.expand(count, -1)
    good = bool(((index >= 0) & (index < torch.tensor(sizes, device=index.device))).all())
    check_argument(good, what, expected, f"{index.min()} to {index.max()}", remedy)
    return index
