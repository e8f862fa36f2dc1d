"""Fourier modes on a periodic box: wavenumbers, transforms, interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyneural.pde.spectral.system import Channel

_SMALL = 1 << 15  # below it a transform takes less time than to wake the threads of torch's
_CHUNK = 1 << 21  # complex numbers held at once in an interpolation: 32 MiB


class Modes:
    """Modes of fields on a regular grid of a periodic box.

        u(x) = sum_m u_m exp(i k_m (x - low)),  k_m = 2 pi m / (high - low)

    Args:
        low: lower ends of the box, one for each dimension.
        high: upper ends.
        n: number of grid points in each dimension.
        is_complex: whether fields are complex; those of real fields have half of the modes.
        share: the part of the band that is kept: 1 for all but the Nyquist mode, 2 / 3 so that
            products of two fields are free of aliasing (Orszag 1971).
    """

    def __init__(
        self, low: Sequence[float], high: Sequence[float], n: Sequence[int], is_complex: bool,
        share: float,
    ) -> None:  # fmt: skip
        self.low, self.high, self.n = tuple(low), tuple(high), tuple(n)
        self.dim, self.is_complex = len(self.n), is_complex
        self.axes = tuple(range(-self.dim, 0))
        self.numbers = [  # of the modes along each dimension
            torch.arange(count // 2 + 1)
            if d == self.dim - 1 and not is_complex
            else torch.fft.fftfreq(count, 1 / count).round().long()
            for d, count in enumerate(self.n)
        ]
        self.wavenumbers = [
            2 * math.pi / (b - a) * m.double()
            for a, b, m in zip(self.low, self.high, self.numbers, strict=True)
        ]
        self.shape = tuple(len(m) for m in self.numbers)
        self.kept = [math.ceil(share * count / 2) - 1 for count in self.n]  # largest |m|
        self.mask = torch.ones(self.shape, dtype=torch.float64)
        for d, (m, limit) in enumerate(zip(self.numbers, self.kept, strict=True)):
            self.mask *= self._along(d, (m.abs() <= limit).double())

    def _along(self, dimension: int, values: Tensor) -> Tensor:
        return values.view([-1 if d == dimension else 1 for d in range(self.dim)])

    def grid(self) -> list[Tensor]:
        """Coordinates of the grid points, [n_1, ..., n_D] each."""
        axes = [
            a + (b - a) / count * torch.arange(count, dtype=torch.float64)
            for a, b, count in zip(self.low, self.high, self.n, strict=True)
        ]
        return list(torch.meshgrid(*axes, indexing="ij"))

    def symbol(self, channel: Channel) -> Tensor:
        """What a derivative in space multiplies each mode by, [modes]; real for even orders."""
        result: Tensor = torch.zeros(self.shape, dtype=torch.float64)
        for indices, coefficient in channel.terms:
            power = (1, 1j, -1, -1j)[len(indices) % 4]
            factor = torch.ones(self.shape, dtype=torch.float64)
            for index in indices:
                factor = factor * self._along(index, self.wavenumbers[index])
            result = result + coefficient * power * factor
        return result

    def forward(self, values: Tensor) -> Tensor:
        """Modes of values on the grid, the truncated ones 0."""
        if values.numel() < _SMALL:
            transform = np.fft.fftn if self.is_complex else np.fft.rfftn
            modes = torch.from_numpy(transform(values.numpy(), axes=self.axes, norm="forward"))
        elif self.is_complex:
            modes = torch.fft.fftn(values, dim=self.axes, norm="forward")
        else:
            modes = torch.fft.rfftn(values, dim=self.axes, norm="forward")
        return modes * self.mask

    def backward(self, modes: Tensor) -> Tensor:
        """Values on the grid."""
        if modes.numel() < _SMALL:
            array = modes.numpy()
            if self.is_complex:
                return torch.from_numpy(np.fft.ifftn(array, axes=self.axes, norm="forward"))
            return torch.from_numpy(np.fft.irfftn(array, self.n, axes=self.axes, norm="forward"))
        if self.is_complex:
            return torch.fft.ifftn(modes, dim=self.axes, norm="forward")
        return torch.fft.irfftn(modes, s=self.n, dim=self.axes, norm="forward")

    def resampled(self, modes: Tensor, other: Modes) -> Tensor:
        """Modes of this grid on another one of the same box: cut off or filled up with zeros."""
        result = modes.new_zeros(*modes.shape[: -self.dim], *other.shape)
        common = [
            m[m.abs() <= min(mine, theirs)]
            for m, mine, theirs in zip(self.numbers, self.kept, other.kept, strict=True)
        ]
        index = torch.meshgrid(*common, indexing="ij")  # negative numbers count from the end
        for target, source in zip(
            result.flatten(0, -self.dim - 1), modes.flatten(0, -self.dim - 1), strict=True
        ):
            target[index] = source[index]
        return result

    def at(self, modes: Tensor, points: Tensor) -> Tensor:
        """Trigonometric interpolation of fields [F, modes] at points [P, D]: values [F, P]."""
        fields = modes.shape[0]
        if not self.is_complex:  # the modes -m of the last dimension are conjugates
            modes = modes * torch.where(self.numbers[-1] > 0, 2.0, 1.0)
        modes = modes.to(torch.complex128)
        chunk = max(1, _CHUNK // max(modes.numel() // self.shape[0], *self.shape))
        parts = []
        for part in points.split(chunk):
            phases = [
                torch.exp(1j * (part[:, d, None] - a) * k)  # [P, modes of this dimension]
                for d, (a, k) in enumerate(zip(self.low, self.wavenumbers, strict=True))
            ]
            value = torch.einsum("pk,fk...->fp...", phases[0], modes)
            for phase in phases[1:]:
                value = torch.einsum("pk,fpk...->fp...", phase, value)
            parts.append(value if self.is_complex else value.real)
        empty = modes.new_zeros(fields, 0)
        return torch.cat(parts, 1) if parts else (empty if self.is_complex else empty.real)

    def tail(self, modes: Tensor) -> float:
        """Largest mode in the last tenth of the kept band, as a share of the largest of all.

        Args:
            modes: of any number of fields, [..., modes].
        """
        size = modes.abs().flatten(0, -self.dim - 1).amax(0)
        largest, worst = float(size.max()), 0.0
        for d, (m, limit) in enumerate(zip(self.numbers, self.kept, strict=True)):
            last = (m.abs() <= limit) & (m.abs() > 0.9 * limit)
            worst = max(worst, float((size * self._along(d, last)).max()))
        return worst / largest if largest > 0 else 0.0
