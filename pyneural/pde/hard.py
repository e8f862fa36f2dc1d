"""Hard conditions: initial and boundary values built into the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real

import torch
from torch import Tensor

from pyneural.errors import check_argument
from pyneural.nn.jets.modules import JetModule, through
from pyneural.pde.coordinates import call_with_coordinates
from pyneural.pde.network import Network, check_inputs
from pyneural.pde.unknowns import adopt_unknowns


class Hard(JetModule):
    r"""A network that meets its initial and boundary conditions exactly.

        u(x) = A(x) + B(x) N(x)

    The lift A takes the prescribed values where they are prescribed, and there the distance B
    vanishes (Lagaris, Likas and Fotiadis, 1998). The derivatives are those of ``nn.jet``, in Taylor
    mode through A, B and N, and ``jet_loss`` that of ``nn.jet_loss``: one call of the kernel of N
    that reads those of A and B as columns. A and B may hold parameters to learn too
    (``lambda x: c * x``); those of other networks in them are learned where A or B is the network.

    Args:
        network: N, any module of the inputs.
        inputs: names of the columns of x, ``"tx"`` or ``domain.names``.
        lift: A, a number, a parameter, or a smooth function of coordinates by name that gives [N]
            or [N, O].
        distance: B, likewise.

    Raises:
        ValueError: a function with an argument that is no coordinate, or one of NumPy, which has no
            derivatives, more columns in it than the network has outputs, or a network with inputs
            of other names, as another ``Hard``.

    >>> from pyneural.nn import MLP
    >>> u = Hard(MLP(2, [8], 1), "tx", lift=lambda x: x, distance=lambda t: t)
    >>> x = torch.tensor([[0.0, 0.3]])
    >>> value, u_x = u.jet(x, [(1,)])
    >>> value.tolist() == x[:, 1:].tolist(), u_x.tolist()
    (True, [[1.0]])
    """

    def __init__(
        self,
        network: Network,
        inputs: str | Sequence[str],
        lift: Callable[..., Tensor] | float | Tensor,
        distance: Callable[..., Tensor] | float | Tensor,
    ) -> None:
        super().__init__()
        self.network = network
        self.inputs = tuple(inputs)
        self.lift, self.distance = lift, distance
        check_inputs("Hard", network, self.inputs, "Hard")
        outputs = getattr(network, "out_features", None)
        parameters: Iterable[Tensor] = getattr(network, "parameters", tuple)()
        like = next(iter(parameters), torch.zeros(1)).detach()
        for name in ("lift", "distance"):
            part = getattr(self, name)
            good = callable(part) or isinstance(part, (Real, Tensor))
            expected, got = "a number, a tensor or a function of coordinates", type(part).__name__
            check_argument(good, f"Hard: {name}", expected, got, "write lambda x: torch.sin(x)")
            # With a gradient, as in derivatives, so that functions without one are refused here.
            points = like.new_zeros(2, len(self.inputs)).requires_grad_()
            with torch.enable_grad():
                value = self._evaluate(name, points)
                value = value * like.new_ones(2, 1) if value.dim() < 2 else value
            adopt_unknowns(self, getattr(self, name), value, f"Hard: {name}", {id(points)})
            columns = value.shape[1]
            if outputs is not None and columns not in (1, outputs):
                raise ValueError(
                    f"Hard: {name}: expected [N], [N, 1] or [N, {outputs}], a column for each "
                    f"output of the network, got {columns} columns; give the network as many"
                )

    def forward(self, x: Tensor) -> Tensor:
        """Value: x [..., D] to [..., O]."""
        flat = x.reshape(-1, x.shape[-1])
        lift, distance = self._evaluate("lift", flat), self._evaluate("distance", flat)
        u = lift + distance * through(self.network, flat)
        return u.reshape(*x.shape[:-1], u.shape[-1])

    def _evaluate(self, name: str, x: Tensor) -> Tensor:
        """A or B: [N, 1] or [N, O], or what is the same at all points, [] or [O]."""
        function = getattr(self, name)
        if not callable(function):
            return torch.as_tensor(function, dtype=x.dtype, device=x.device)
        value = call_with_coordinates(function, self.inputs, x, f"Hard: {name}")
        return value[:, None] if value.dim() == 1 else value

    def extra_repr(self) -> str:
        """Names of the inputs."""
        return f"inputs={self.inputs}"
