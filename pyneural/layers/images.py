"""Convolution, pooling and upsampling of images [N, height, width, channels], with torch's ops.

``padding`` is "valid", no padding, or "same", zeros around the image such that the output has
ceil(size / stride) pixels; an odd padding has its extra pixel at the end, as in Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.layers.base import Layer, Shape, apply_activation, checked_activation, glorot_uniform_
from pyneural.layers.regularizers import penalty_of

Pair = int | Sequence[int]


class _Convolution(Layer):
    """Base of Conv2D and Conv2DTranspose: arguments, weights, and the order of dimensions."""

    kind: type[torch.nn.Conv2d] | type[torch.nn.ConvTranspose2d]
    convolution: torch.nn.Conv2d | torch.nn.ConvTranspose2d

    def __init__(
        self,
        filters: int,
        kernel_size: Pair,
        strides: Pair = 1,
        padding: str = "valid",
        activation: str | None = None,
        use_bias: bool = True,
        *,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(input_shape)
        kind = type(self).__name__
        self.kernel_regularizer = penalty_of(f"{kind}: kernel_regularizer", kernel_regularizer)
        self.bias_regularizer = penalty_of(f"{kind}: bias_regularizer", bias_regularizer)
        self.filters = self.positive("filters", filters)
        self.kernel_size = _pair(self, "kernel_size", kernel_size)
        self.strides = _pair(self, "strides", strides)
        self.padding = _choice(self, "padding", padding, "valid", "same")
        self.activation = checked_activation(self, activation)
        self.use_bias = use_bias

    def make(self, shape: Shape) -> Shape:
        """Creates the kernels for images [height, width, channels]."""
        self.expect(shape, 3, "(height, width, channels)")
        self.convolution = self.kind(
            shape[-1], self.filters, self.kernel_size, self.strides, bias=self.use_bias
        )
        glorot_uniform_(self.convolution)
        sizes = zip(shape[:2], self.kernel_size, self.strides, strict=True)
        height, width = (self._size(*size) for size in sizes)
        if min(height, width) < 1:
            raise ValueError(
                f"{type(self).__name__}: kernel_size: expected kernels no larger than the image "
                f"{shape[:2]}, got {self.kernel_size}; use smaller ones or padding='same'"
            )
        return height, width, self.filters

    def _regularised(self) -> list[Tensor | None]:
        return [self.convolution.weight, self.convolution.bias]

    def forward(self, x: Tensor) -> Tensor:
        """From [N, height, width, channels] to [N, new height, new width, filters]."""
        y = self._convolve(x.movedim(-1, 1), x.shape[1:3]).movedim(1, -1)
        return apply_activation(self.activation, y)

    def _size(self, size: int, kernel: int, stride: int) -> int:
        raise NotImplementedError

    def _convolve(self, x: Tensor, size: Sequence[int]) -> Tensor:
        raise NotImplementedError


class Conv2D(_Convolution):
    """Convolution of images with trainable kernels, followed by an activation.

    Args:
        filters: number of output channels.
        kernel_size: height and width of the kernels, or one integer for both.
        strides: pixels between two outputs.
        padding: "valid" or "same".
        activation: as in ``Dense``.
        use_bias: whether to add a bias to each output channel.
        kernel_regularizer, bias_regularizer: as in ``Dense``.
        input_shape: (height, width, channels).

    Raises:
        ValueError: an argument below 1, an unknown padding or activation, a kernel larger than the
            image.

    >>> Conv2D(8, 3, activation="relu")(torch.zeros(2, 28, 28, 1)).shape
    torch.Size([2, 26, 26, 8])
    """

    kind = torch.nn.Conv2d

    def _size(self, size: int, kernel: int, stride: int) -> int:
        return _windows(size, kernel, stride, self.padding)

    def _convolve(self, x: Tensor, size: Sequence[int]) -> Tensor:
        if self.padding == "same":
            x = F.pad(x, _same(size, self.kernel_size, self.strides))
        return self.convolution(x)


class Conv2DTranspose(_Convolution):
    """Transposed convolution: maps the output shape of ``Conv2D`` back to its input shape.

    Arguments and errors are those of ``Conv2D``, but ``strides`` is the factor of the enlargement,
    a kernel may have any size, and with the padding "same" the output has exactly ``strides`` times
    the size.

    >>> Conv2DTranspose(4, 3, strides=2, padding="same")(torch.zeros(2, 7, 7, 8)).shape
    torch.Size([2, 14, 14, 4])
    """

    kind = torch.nn.ConvTranspose2d

    def _size(self, size: int, kernel: int, stride: int) -> int:
        return size * stride + (max(kernel - stride, 0) if self.padding == "valid" else 0)

    def _convolve(self, x: Tensor, size: Sequence[int]) -> Tensor:
        kernels, strides = self.kernel_size, self.strides
        wanted = [self._size(*each) for each in zip(size, kernels, strides, strict=True)]
        # The bias is added below, because it must also reach pixels that no kernel covers.
        y = F.conv_transpose2d(x, self.convolution.weight, None, strides)
        crops: list[int] = []  # last dimension first, as for F.pad; negative values crop
        for each in (1, 0):
            excess = max(kernels[each] - strides[each], 0) if self.padding == "same" else 0
            before = excess // 2
            crops += [-before, wanted[each] + before - y.shape[2 + each]]
        y = F.pad(y, crops)
        bias = self.convolution.bias
        return y if bias is None else y + bias[:, None, None]


class MaxPooling2D(Layer):
    """Maximum of each channel over windows of the image.

    Args:
        pool_size: height and width of the windows, or one integer for both.
        strides: pixels between two windows; None for ``pool_size``.
        padding: "valid" or "same".
        input_shape: (height, width, channels).

    Raises:
        ValueError: an argument below 1, an unknown padding, a window larger than the image.

    >>> MaxPooling2D()(torch.zeros(2, 28, 28, 3)).shape
    torch.Size([2, 14, 14, 3])
    """

    def __init__(
        self,
        pool_size: Pair = 2,
        strides: Pair | None = None,
        padding: str = "valid",
        *,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(input_shape)
        self.pool_size = _pair(self, "pool_size", pool_size)
        self.strides = _pair(self, "strides", pool_size if strides is None else strides)
        self.padding = _choice(self, "padding", padding, "valid", "same")

    def make(self, shape: Shape) -> Shape:
        """The output height and width."""
        self.expect(shape, 3, "(height, width, channels)")
        sizes = zip(shape[:2], self.pool_size, self.strides, strict=True)
        height, width = (_windows(*size, self.padding) for size in sizes)
        if min(height, width) < 1:
            raise ValueError(
                f"MaxPooling2D: pool_size: expected windows no larger than the image {shape[:2]}, "
                f"got {self.pool_size}; use smaller ones or padding='same'"
            )
        return height, width, shape[-1]

    def forward(self, x: Tensor) -> Tensor:
        """From [N, height, width, C] to [N, new height, new width, C]."""
        y = x.movedim(-1, 1)
        if self.padding == "same":
            y = F.pad(y, _same(x.shape[1:3], self.pool_size, self.strides), value=-torch.inf)
        return F.max_pool2d(y, self.pool_size, self.strides).movedim(1, -1)


class UpSampling2D(Layer):
    """Enlarges images by repeating pixels or by bilinear interpolation.

    Args:
        size: factors for height and width, or one integer for both.
        interpolation: "nearest" or "bilinear".
        input_shape: (height, width, channels).

    Raises:
        ValueError: a factor below 1 or an unknown interpolation.

    >>> UpSampling2D(2)(torch.zeros(2, 7, 7, 3)).shape
    torch.Size([2, 14, 14, 3])
    """

    def __init__(
        self,
        size: Pair = 2,
        interpolation: str = "nearest",
        *,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(input_shape)
        self.size = _pair(self, "size", size)
        choices = "nearest", "bilinear"
        self.interpolation = _choice(self, "interpolation", interpolation, *choices)

    def make(self, shape: Shape) -> Shape:
        """The output height and width."""
        self.expect(shape, 3, "(height, width, channels)")
        return shape[0] * self.size[0], shape[1] * self.size[1], shape[2]

    def forward(self, x: Tensor) -> Tensor:
        """From [N, height, width, C] to [N, new height, new width, C]."""
        factors = [float(factor) for factor in self.size]
        y = F.interpolate(x.movedim(-1, 1), scale_factor=factors, mode=self.interpolation)
        return y.movedim(1, -1)


def _windows(size: int, window: int, stride: int, padding: str) -> int:
    """Number of windows along a dimension."""
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def _same(size: Sequence[int], window: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Padding before and after each dimension, for F.pad: last dimension first."""
    pads: list[int] = []
    for each in (1, 0):
        outputs = _windows(size[each], window[each], strides[each], "same")
        total = max((outputs - 1) * strides[each] + window[each] - size[each], 0)
        pads += [total // 2, total - total // 2]
    return pads


def _pair(layer: Layer, argument: str, value: Pair) -> tuple[int, int]:
    values: Any = tuple(value) if hasattr(value, "__iter__") else (value, value)
    if len(values) != 2:
        raise ValueError(
            f"{type(layer).__name__}: {argument}: expected one or two integers, got {value!r}; "
            "give height and width"
        )
    height, width = (layer.positive(argument, v) for v in values)
    return height, width


def _choice(layer: Layer, argument: str, value: str, one: str, other: str) -> str:
    if value not in (one, other):
        raise ValueError(
            f"{type(layer).__name__}: {argument}: expected {one!r} or {other!r}, got {value!r}; "
            "choose one"
        )
    return value
