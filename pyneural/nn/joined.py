"""Networks around networks: scaled inputs and outputs, and one network for each output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_argument
from pyneural.nn.jets.modules import JetModule, through


class Scaled(JetModule):
    r"""A network between scalings of its inputs and outputs.

        u(x) = shift + scale * N((2 x - high - low) / (high - low))

    Args:
        network: N, any module.
        input_range: (low, high), numbers or [D], that is scaled to [-1, 1]; a domain's ``range``;
            None leaves x as it is.
        scale: number or [O], in units of u; a ``torch.nn.Parameter`` is learned.
        shift: likewise.

    Raises:
        ArgumentError: an input_range that is not finite with low < high, or a scale or shift that
            is not finite.

    >>> from pyneural.nn import MLP
    >>> u = Scaled(MLP(2, [8], 2), scale=torch.tensor([1.0, 100.0]), shift=300.0)
    >>> u, u_t = u.jet(torch.rand(5, 2), [(0,)])
    >>> u.shape, u_t.shape
    (torch.Size([5, 2]), torch.Size([5, 2]))
    """

    centre: Tensor | None
    factor: Tensor | None

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        input_range: tuple[Any, Any] | None = None,
        scale: float | Sequence[float] | Tensor = 1.0,
        shift: float | Sequence[float] | Tensor = 0.0,
    ) -> None:
        super().__init__()
        self.network = network
        dtype = torch.get_default_dtype()
        centre = factor = None
        if input_range is not None:
            low, high = (torch.as_tensor(bound, dtype=dtype) for bound in input_range)
            good = bool((torch.isfinite(high - low) & (low < high)).all())
            check_argument(
                good, "Scaled: input_range", "finite (low, high) with low < high",
                (low.tolist(), high.tolist()), "take them from the domain: domain.range",
            )  # fmt: skip
            centre, factor = (low + high) / 2, 2 / (high - low)
        self.register_buffer("centre", centre)
        self.register_buffer("factor", factor)
        for name, value in (("scale", scale), ("shift", shift)):
            tensor = value if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype)
            good = tensor.dim() <= 1 and bool(torch.isfinite(tensor).all())
            check_argument(good, f"Scaled: {name}", "finite, a number or [O]", f"{value}")
            if isinstance(tensor, torch.nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)

    scale: Tensor
    shift: Tensor

    @property
    def input_range(self) -> tuple[Any, Any] | None:
        """(low, high), numbers or lists, that is scaled to [-1, 1]; None if there is no scaling."""
        if self.centre is None or self.factor is None:
            return None
        half = 1 / self.factor
        return (self.centre - half).tolist(), (self.centre + half).tolist()

    @property
    def out_features(self) -> int:
        """That of the network."""
        return _outputs(self.network)

    def forward(self, x: Tensor) -> Tensor:
        """Value: x [..., D] to [..., O]."""
        if self.centre is not None and self.factor is not None:
            x = (x - self.centre) * self.factor
        return self.shift + self.scale * through(self.network, x)


class Joined(JetModule):
    r"""Several networks, each for some of the outputs, with inputs of its own.

        u(x) = (N_1(x_c1), N_2(x_c2), ...)

    Args:
        networks: N_i, any modules, in the order of the outputs.
        columns: for each network the columns of x that it gets, ``(0,)``; None for all of them.

    Raises:
        ArgumentError: no networks, or another number of columns than of networks.

    >>> from pyneural.nn import MLP
    >>> u = Joined([MLP(2, [8], 1), MLP(1, [8], 2)], [None, (1,)])
    >>> u(torch.rand(5, 2)).shape, u.out_features
    (torch.Size([5, 3]), 3)
    """

    def __init__(
        self,
        networks: Sequence[torch.nn.Module],
        columns: Sequence[Sequence[int] | None] | None = None,
    ) -> None:
        super().__init__()
        alone = isinstance(networks, torch.nn.Module)
        good = not alone or isinstance(networks, torch.nn.ModuleList)
        expected, got = "a list of networks", type(networks).__name__
        check_argument(good, "Joined: networks", expected, got, "write Joined([first, second])")
        check_argument(
            len(networks) > 0, "Joined: networks", "at least one", "none", "give one for an output"
        )
        given = [None] * len(networks) if columns is None else list(columns)
        check_argument(
            len(given) == len(networks), "Joined: columns", f"{len(networks)}, one for each "
            "network", len(given), "write None for a network of all columns",
        )  # fmt: skip
        self.networks = torch.nn.ModuleList(networks)
        self.columns = [None if c is None else tuple(c) for c in given]
        for c in self.columns:
            good = c is None or (len(c) > 0 and all(isinstance(i, int) and i >= 0 for i in c))
            check_argument(good, "Joined: columns", "tuples of columns, counted from 0", f"{c!r}")

    @property
    def out_features(self) -> int:
        """The sum of theirs."""
        return sum(map(_outputs, self.networks))

    def forward(self, x: Tensor) -> Tensor:
        """Value: x [..., D] to [..., O]."""
        parts = []
        for network, columns in zip(self.networks, self.columns, strict=True):
            parts.append(through(network, x if columns is None else x[..., list(columns)]))
        return torch.cat(parts, -1)

    def extra_repr(self) -> str:
        """The columns of each network."""
        return f"columns={self.columns}"


def _outputs(network: Any) -> int:
    """Number of outputs; AttributeError where the network does not say it."""
    if isinstance(network, torch.nn.Sequential) and len(network):
        return _outputs(network[-1])
    try:
        return int(network.out_features)
    except (AttributeError, ArgumentError) as error:
        raise AttributeError("out_features") from error
