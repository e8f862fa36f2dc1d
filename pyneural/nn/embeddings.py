"""Embeddings of coordinates: periodic ones and random Fourier features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_argument, check_tensor, whole
from pyneural.nn.checks import check_input
from pyneural.nn.jets.modules import JetModule
from pyneural.nn.jets.remembered import remembered


class PeriodicEmbedding(JetModule):
    r"""Coordinates by which every network of them is periodic, with all its derivatives.

        x_i -> cos(2 pi k x_i / P_i), sin(2 pi k x_i / P_i),  k = 1 .. harmonics

    for each periodic coordinate i; the others stay as they are. The result has first these, then
    the cosines, then the sines, each coordinate with its harmonics side by side.

    Args:
        inputs: number of coordinates D, or their names, ``"tx"`` or ``domain.names``, which
            equations then compare with their own.
        periods: P_i > 0 of each periodic coordinate, by its name or column.
        harmonics: how many multiples of the lowest frequency; networks need one.
        learned: whether the periods are parameters, as where the period is unknown.

    Shape:
        x [..., D] to [..., D + (2 harmonics - 1) P], P periodic coordinates.

    Raises:
        ArgumentError: no periodic coordinate, an unknown one, or a period that is not positive.

    Dong and Ni 2021, "A method for representing periodic functions and enforcing exactly periodic
    boundary conditions with deep neural networks", arXiv:2007.07442.

    >>> from pyneural.nn import MLP
    >>> embedding = PeriodicEmbedding("tx", {"x": 2.0})
    >>> u = torch.nn.Sequential(embedding, MLP(embedding.out_features, [8], 1))
    >>> x = torch.tensor([[0.3, -1.0], [0.3, 1.0]])
    >>> torch.allclose(*u(x), atol=1e-6)
    True
    """

    periods: Tensor
    harmonics: Tensor
    columns: Tensor
    others: Tensor

    def __init__(
        self,
        inputs: int | str | Sequence[str],
        periods: Mapping[str, float] | Mapping[int, float],
        *,
        harmonics: int = 1,
        learned: bool = False,
    ) -> None:
        super().__init__()
        where = "PeriodicEmbedding"
        names, self.in_features = _names(where, inputs)
        if names is not None:
            self.inputs = names
        known = range(self.in_features) if names is None else names
        harmonics = whole(f"{where}: harmonics", harmonics)
        check_argument(harmonics >= 1, f"{where}: harmonics", "at least 1", harmonics, "write 1")
        check_argument(
            len(periods) > 0 and all(key in known for key in periods), f"{where}: periods",
            f"periods of some of {', '.join(map(str, known))}", f"{dict(periods)}",
            "name a periodic coordinate, as in {'x': 2.0}",
        )  # fmt: skip
        good = all(math.isfinite(period) and period > 0 for period in periods.values())
        check_argument(good, f"{where}: periods", "periods > 0", f"{dict(periods)}")
        columns = sorted(list(known).index(key) for key in periods)
        # So that ``double()`` does not leave them rounded to float32.
        self._given = [float(periods[known[c]]) for c in columns]  # type: ignore[index]
        values = torch.tensor(self._given)
        others = [c for c in range(self.in_features) if c not in columns]
        self.learned = learned
        if learned:
            self.periods = torch.nn.Parameter(values)
        else:
            self.register_buffer("periods", values)
        multiples = torch.arange(1, harmonics + 1)
        self.register_buffer("harmonics", multiples, persistent=False)
        repeated = torch.tensor(columns).repeat_interleave(harmonics)
        self.register_buffer("columns", repeated, persistent=False)
        self.register_buffer("others", torch.tensor(others, dtype=torch.long), persistent=False)
        self.out_features = len(others) + 2 * len(columns) * harmonics

    def periodic(self) -> list[tuple[int, float]]:
        """The periodic columns of x and their periods.

        >>> PeriodicEmbedding("txy", {"x": 2.0}).periodic()
        [(1, 2.0)]
        """
        columns = self.columns[:: len(self.harmonics)].tolist()
        return list(zip(columns, self.periods.tolist(), strict=True))

    def _restore(self) -> None:
        """Sets periods that are the given ones but for rounding to those, in the present dtype."""
        if self.learned or self.periods.is_meta:
            return
        given = torch.tensor(self._given, dtype=torch.float64)
        if torch.equal(self.periods.float().cpu(), given.float()):
            self.periods.copy_(given)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._restore()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._restore()

    def forward(self, x: Tensor) -> Tensor:
        """The embedded coordinates."""
        _check(self, x, self.in_features)
        return remembered(self, self._embed, x, [self.periods])

    def _embed(self, x: Tensor) -> Tensor:
        # In the dtype of the periods: harmonics are whole numbers, which 2 pi makes float32.
        frequencies = (self.harmonics * (2 * math.pi / self.periods[:, None])).reshape(-1)
        angles = x.index_select(-1, self.columns) * frequencies
        parts = [torch.cos(angles), torch.sin(angles)]
        if len(self.others):
            parts.insert(0, x.index_select(-1, self.others))
        return torch.cat(parts, -1)

    def extra_repr(self) -> str:
        """Coordinates and periods."""
        return f"{self.in_features}, columns={self.columns.tolist()}, learned={self.learned}"


class FourierFeatures(JetModule):
    r"""Random Fourier features, by which a network learns high frequencies early.

        x -> cos(2 pi B x), sin(2 pi B x),  B_ij ~ N(0, scale^2)

    Args:
        inputs: number of coordinates D, or their names, as in ``PeriodicEmbedding``.
        features: m, rows of B.
        scale: standard deviation of the frequencies, in periods per unit of x; the higher the
            finer what the network finds first, 1 to 10 for coordinates of order 1. That of
            jaxpi is 2 pi times as large.
        seed: of the generator that draws B, so that the same seed gives the same features; None
            takes torch's default generator.
        learned: whether B is a parameter. It is in the ``state_dict`` in any case.

    Shape:
        x [..., D] to [..., 2 m], the cosines first.

    Raises:
        ArgumentError: features below 1, or a scale that is not positive.

    Tancik et al. 2020, "Fourier Features Let Networks Learn High Frequency Functions in Low
    Dimensional Domains", arXiv:2006.10739; for equations Wang, Wang and Perdikaris 2021,
    arXiv:2012.10047.

    >>> features = FourierFeatures(2, 16, scale=5.0, seed=0)
    >>> features(torch.rand(7, 2)).shape, list(features.state_dict())
    (torch.Size([7, 32]), ['frequencies'])
    """

    frequencies: Tensor

    def __init__(
        self,
        inputs: int | str | Sequence[str],
        features: int,
        scale: float = 1.0,
        *,
        seed: int | None = None,
        learned: bool = False,
    ) -> None:
        super().__init__()
        where = "FourierFeatures"
        names, self.in_features = _names(where, inputs)
        if names is not None:
            self.inputs = names
        features = whole(f"{where}: features", features)
        check_argument(features >= 1, f"{where}: features", "at least 1", features, "64 is usual")
        good = math.isfinite(scale) and scale > 0
        check_argument(good, f"{where}: scale", "a number > 0", scale, "1 is usual")
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        drawn = scale * torch.randn(features, self.in_features, generator=generator)
        self.scale, self.learned = scale, learned
        if learned:
            self.frequencies = torch.nn.Parameter(drawn)
        else:
            self.register_buffer("frequencies", drawn)
        self.out_features = 2 * features

    def forward(self, x: Tensor) -> Tensor:
        """The features."""
        _check(self, x, self.in_features)
        return remembered(self, self._embed, x, [self.frequencies])

    def _embed(self, x: Tensor) -> Tensor:
        angles = torch.nn.functional.linear(x, 2 * math.pi * self.frequencies)
        return torch.cat([torch.cos(angles), torch.sin(angles)], -1)

    def extra_repr(self) -> str:
        """Arguments of the constructor."""
        features = self.out_features // 2
        return f"{self.in_features}, {features}, scale={self.scale}, learned={self.learned}"


def _names(where: str, inputs: int | str | Sequence[str]) -> tuple[tuple[str, ...] | None, int]:
    """Names of the coordinates, None for a number of them, and their number."""
    if not isinstance(inputs, int):
        names = tuple(inputs)
        good = bool(names) and all(isinstance(name, str) for name in names)
        check_argument(good, f"{where}: inputs", "a number or names", f"{inputs!r}", 'write "tx"')
        return names, len(names)
    check_argument(inputs >= 1, f"{where}: inputs", "at least one coordinate", inputs)
    return None, inputs


def _check(embedding: torch.nn.Module, x: Tensor, width: int) -> None:
    """ArgumentError unless x is a tensor of as many coordinates as the embedding has."""
    check_tensor(f"{type(embedding).__name__}: x", x)
    if x.dim() == 0 or x.shape[-1] != width:
        check_input(embedding, "x", x, width, None)
