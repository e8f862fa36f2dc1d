"""Weights of samples, or of the steps of each, from those of their classes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyneural.training.checks import check
from pyneural.training.data.tensors import check_length, to_tensor
from pyneural.training.losses.functions import CLASSES, Loss

_ONE_HOT = ("categorical_crossentropy", "kullback_leibler_divergence", "CrossEntropyLoss",
            "cross_entropy")  # fmt: skip


def sample_weights(
    where: str,
    y: Tensor,
    loss: Loss | None,
    class_weight: Mapping[int, float] | None,
    sample_weight: Any,
    dtype: torch.dtype,
) -> Tensor:
    """Weights [N] of samples, or [N, T] of their steps: their own times those of their classes.

    A class without a weight has 1.

    Args:
        where: the function that the user called.
        y: whole numbers of classes, [N], [N, 1] or, a class a step, [N, T]; or one-hot, [N, K].
        loss: which says how y is to be read; None where the model has its own.
        class_weight: by number of the class.
        sample_weight: [N], [N, 1] or, of each step, [N, T]; None for 1.
        dtype: of the result.
    """
    weight = torch.ones(len(y), dtype=dtype)
    if sample_weight is not None:
        argument = f"{where}: sample_weight"
        expected, got = "one array, for all outputs", type(sample_weight).__name__
        remedy = "weigh the outputs against each other by compile(loss_weights=)"
        check(not isinstance(sample_weight, Mapping), argument, expected, got, remedy)
        weight = to_tensor(argument, sample_weight).to(dtype)
        check_length(argument, weight, len(y))
        weight = weight[:, 0] if weight.dim() == 2 and weight.shape[1] == 1 else weight
        good = weight.dim() == 1 or weight.shape == y.shape[: weight.dim()]
        expected = f"shape ({len(y)},), or {tuple(y.shape)} for one a step"
        check(good, argument, expected, tuple(weight.shape), "give one weight a sample")
        weight = weight.clone()
    if class_weight is not None:
        classes = _classes(f"{where}: class_weight", y, loss)
        present = classes.unique().tolist()
        factors = torch.ones(classes.shape, dtype=dtype)
        for number, factor in class_weight.items():
            argument, remedy = f"{where}: class_weight", f"y has {present[:10]}"
            check(number in present, argument, "classes that are in y", repr(number), remedy)
            factors[classes == number] = float(factor)
        if weight.dim() < factors.dim():
            weight = weight.reshape(-1, *[1] * (factors.dim() - 1))
        weight = weight * factors
    good = bool((weight >= 0).all() and weight.isfinite().all())
    check(good, f"{where}: sample_weight and class_weight", "finite numbers >= 0", "others")
    return weight


def _classes(where: str, y: Tensor, loss: Loss | None) -> Tensor:
    """The class of each sample, [N], or of each step, [N, T]; refused where it is not one."""
    expected, remedy = "y that says one class a sample or step", "give sample_weight instead"
    whole = not y.is_floating_point() or bool((y == y.round()).all())
    check(whole, where, expected, "fractions", remedy)
    if y.dim() > 1 and y.shape[-1] == 1:
        y = y.squeeze(-1)
    if y.dim() == 1 or (loss is not None and loss.target == CLASSES):
        return y
    name = None if loss is None else loss.name
    if name in _ONE_HOT and y.is_floating_point():
        one_hot = bool(((y == 0) | (y == 1)).all() and (y.sum(-1) == 1).all())
        check(one_hot, where, expected, "rows of several labels, or of none", remedy)
        return y.argmax(-1)
    per_step = name in _ONE_HOT  # whole numbers: torch's loss takes a class a step
    check(per_step, where, expected, f"shape {tuple(y.shape)} for the loss {name!r}", remedy)
    return y
