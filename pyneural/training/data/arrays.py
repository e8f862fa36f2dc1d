"""What a user gives as x, y and weights, checked and turned into tensors before training starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_tensor(where: str, value: Any) -> Tensor:
    """A tensor of what is given: array, list, or tensor (as it is).

    >>> to_tensor("fit: x", [[1.0, 2.0]]).shape
    torch.Size([1, 2])
    """
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                f"{where}: expected rows of one length, got {error}; pad or cut them"
            ) from error
        if array.dtype.kind not in "fiub":
            raise TypeError(
                f"{where}: expected an array of numbers, got {type(value).__name__} of dtype "
                f"{array.dtype}; turn it into a float array"
            )
        # torch takes neither another byte order nor negative strides nor what cannot be written.
        forward = all(step >= 0 for step in array.strides)
        usable = forward and array.flags.writeable and array.dtype.isnative
        native = array.dtype.newbyteorder("=")
        value = torch.from_numpy(array if usable else np.array(array, dtype=native, order="C"))
    if value.dim() == 0 or value.shape[0] == 0:
        raise ValueError(
            f"{where}: expected at least one sample in the first dimension, got shape "
            f"{tuple(value.shape)}; give [samples, ...]"
        )
    return value.detach()


def check_finite(where: str, value: Tensor) -> None:
    """Raises ValueError with the number of values that are nan or infinite."""
    # The extremes, which nan passes on to, are found ten times as fast as all that is not finite.
    if value.is_floating_point() and not all(end.isfinite() for end in value.aminmax()):
        bad = ~value.isfinite()
        sample = (
            int(bad.flatten(1).any(1).nonzero()[0]) if value.dim() > 1 else int(bad.nonzero()[0])
        )
        raise ValueError(
            f"{where}: expected finite numbers, got {int(bad.sum()):,} of {value.numel():,} that "
            f"are nan or infinite (first in sample {sample}); remove or replace them"
        )


def to_input(where: str, value: Any, floating: torch.dtype, whole_numbers: bool) -> Tensor:
    """X as a tensor of the model's dtype.

    Args:
        where: for the text of errors, as "fit: x".
        value: array or tensor, [N, ...].
        floating: dtype of the model's parameters.
        whole_numbers: whether the model takes whole numbers, as one with an Embedding does.
    """
    x = to_tensor(where, value)
    check_finite(where, x)
    if x.is_floating_point():
        return x.to(floating)
    if not whole_numbers:
        raise TypeError(
            f"{where}: expected floating-point numbers, got {x.dtype}; scale them, as "
            "x.astype('float32') / 255 for images"
        )
    return x.long()


def check_length(where: str, value: Tensor, samples: int) -> None:
    """Raises ValueError where a tensor has not one row for each sample."""
    if len(value) != samples:
        raise ValueError(
            f"{where}: expected {samples:,} samples, as x has, got {len(value):,}; give one row of "
            "each for each sample"
        )


def sample_weights(
    where: str,
    y: Tensor,
    class_weight: Mapping[int, float] | None,
    sample_weight: Any,
    floating: torch.dtype,
) -> Tensor:
    """Weight of each sample, [N]: its own times that of its class.

    Args:
        where: for the text of errors, as "fit".
        y: whole numbers of classes, [N] or [N, 1], or one-hot, [N, K].
        class_weight: by number of the class; a class that is missing has weight 1.
        sample_weight: [N].
        floating: dtype of the result.

    Raises:
        ValueError: a weight below 0 or not finite, another length, or y without classes.

    >>> y = torch.tensor([0.0, 1.0, 1.0])
    >>> sample_weights("fit", y, {1: 2.0}, [1.0, 1.0, 0.5], torch.float32)
    tensor([1., 2., 1.])
    """
    weight = torch.ones(len(y), dtype=floating)
    if sample_weight is not None:
        weight = to_tensor(f"{where}: sample_weight", sample_weight).to(floating)
        check_length(f"{where}: sample_weight", weight, len(y))
        weight = weight.reshape(len(y), -1)
        if weight.shape[1] != 1:
            raise ValueError(
                f"{where}: sample_weight: expected shape ({len(y)},), got "
                f"{(len(y), weight.shape[1])}; give one weight a sample"
            )
        weight = weight[:, 0].clone()
    if class_weight is not None:
        classes = y.argmax(-1) if y.dim() > 1 and y.shape[-1] > 1 else y.reshape(len(y), -1)[:, 0]
        for number, factor in class_weight.items():
            found = classes == number
            if not found.any():
                raise ValueError(
                    f"{where}: class_weight: expected classes that are in y, got {number!r}; y has "
                    f"{sorted(set(classes.tolist()))[:10]}"
                )
            weight[found] *= factor
    if not bool((weight >= 0).all() and weight.isfinite().all()):
        raise ValueError(
            f"{where}: sample_weight and class_weight: expected finite numbers >= 0, got others; "
            "correct them"
        )
    return weight
