"""Hard conditions: initial and boundary values built into the network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from pyneural.ops import Derivative, LinearOperator
from pyneural.pde.coordinates import call_with_coordinates, check_names
from pyneural.pde.network import Network
from pyneural.pde.unknowns import adopt_unknowns


class Hard(torch.nn.Module):
    r"""A network that meets its initial and boundary conditions exactly.

        u(x) = A(x) + B(x) N(x)

    The lift A takes the prescribed values where they are prescribed, and there the distance B
    vanishes (Lagaris, Likas and Fotiadis, 1998). The jets are the product rule's,
    D^a (B N) = sum_(b <= a) binomial(a, b) D^b B D^(a-b) N, with the network's own jets for N and
    nested autograd for A and B, which may hold parameters to learn too (``lambda x: c * x``); those
    of other networks in them are learned where A or B is the network. ``jet`` does not run under
    the transforms of torch.func.

    Args:
        network: N, gives ``jet(x, derivatives)`` as ``nn.MLP`` does.
        inputs: names of the columns of x, ``"tx"`` or ``domain.names``.
        lift: A, a number, a parameter, or a smooth function of coordinates by name that gives [N]
            or [N, O].
        distance: B, likewise.

    Raises:
        ValueError: a function with an argument that is no coordinate, more columns in it than the
            network has outputs, or a network with inputs of other names, as another ``Hard``.

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
        for name in ("lift", "distance"):
            with torch.enable_grad():
                value = self._evaluate(name, torch.zeros(1, len(self.inputs)))
            adopt_unknowns(self, getattr(self, name), value, f"Hard: {name}")
            columns = value.shape[1]
            if outputs is not None and columns not in (1, outputs):
                raise ValueError(
                    f"Hard: {name}: expected [N], [N, 1] or [N, {outputs}], a column for each "
                    f"output of the network, got {columns} columns; give the network as many"
                )

    def forward(self, x: Tensor) -> Tensor:
        """Value: x [..., D] to [..., O]."""
        flat = x.reshape(-1, x.shape[-1])
        u = self._evaluate("lift", flat) + self._evaluate("distance", flat) * self.network(flat)
        return u.reshape(*x.shape[:-1], u.shape[-1])

    def jet(self, x: Tensor, derivatives: Sequence[Derivative]) -> tuple[Tensor, ...]:
        """Value and derivatives, as ``nn.MLP.jet``: (u, *derivatives), each [N, O]."""
        asked: list[Derivative] = [()]
        for index in derivatives:
            asked.append(index if isinstance(index, LinearOperator) else tuple(sorted(index)))
        plans = [_leibniz(index) for index in asked]
        pairs = dict.fromkeys(pair for plan in plans for pair in plan)
        of_network = list(dict.fromkeys(inner for _, inner in pairs if inner != ()))
        n = dict(zip(((), *of_network), self.network.jet(x, of_network), strict=True))
        a = self._derivatives("lift", x, asked)
        b = self._derivatives("distance", x, [outer for outer, _ in pairs])
        jets = []
        for index, plan in zip(asked, plans, strict=True):
            u = a[index]
            for (outer, inner), count in plan.items():
                term = b[outer] * n[inner]
                u = u + (term if count == 1 else count * term)
            jets.append(u)
        return tuple(jets)

    def _evaluate(self, name: str, x: Tensor) -> Tensor:
        function = getattr(self, name)
        if not callable(function):
            return function * x.new_ones(len(x), 1)
        value = call_with_coordinates(function, self.inputs, x, f"Hard: {name}")
        return value[:, None] if value.dim() == 1 else value

    def _derivatives(
        self, name: str, x: Tensor, wanted: Sequence[Derivative]
    ) -> dict[Derivative, Tensor]:
        """Derivatives of the lift or the distance, [N, 1] or [N, O] each."""
        keeps_graph = x.requires_grad or self._evaluate(name, x).requires_grad
        with torch.enable_grad():
            points = x if x.requires_grad else x.detach().requires_grad_()
            found: dict[Derivative, Tensor] = {(): self._evaluate(name, points)}
            gradients: dict[Derivative, Tensor] = {}

            def derivative(index: tuple[int, ...]) -> Tensor:
                if index not in found:
                    parent = index[:-1]
                    if parent not in gradients:
                        gradients[parent] = _gradient(derivative(parent), points)
                    found[index] = gradients[parent][..., index[-1]]
                return found[index]

            for index in wanted:
                if isinstance(index, LinearOperator):
                    parts = [c * derivative(indices) for indices, c in index.partials]
                    found[index] = torch.stack(parts).sum(0)
                else:
                    derivative(index)
        if keeps_graph:
            return found
        return {index: value.detach() for index, value in found.items()}

    def extra_repr(self) -> str:
        """Names of the inputs."""
        return f"inputs={self.inputs}"


def check_inputs(where: str, network: Network, names: Sequence[str], owner: str) -> None:
    """ValueError where a network names its inputs, as ``Hard`` does, and has other ones."""
    if isinstance(network, Hard):
        check_names(f"{where}: network", names, network.inputs, owner)


def _gradient(values: Tensor, x: Tensor) -> Tensor:
    """Gradient of every column of values [N, O], a function of each row of x alone, [N, O, D]."""
    columns = [
        torch.autograd.grad(column.sum(), x, create_graph=True, materialize_grads=True)[0]
        if column.requires_grad
        else torch.zeros_like(x)
        for column in values.unbind(1)
    ]
    return torch.stack(columns, 1)


def _leibniz(index: Derivative) -> dict[tuple[Derivative, Derivative], float]:
    """Pairs (derivative of B, derivative of N) in a derivative of B N, with their coefficients.

    >>> _leibniz((1, 1))
    {((1, 1), ()): 1.0, ((1,), (1,)): 2.0, ((), (1, 1)): 1.0}
    """
    plan: dict[tuple[Derivative, Derivative], float] = defaultdict(float)
    if isinstance(index, LinearOperator):
        plan[index, ()] = plan[(), index] = 1.0
        for indices, coefficient in index.partials:
            for (outer, inner), count in _leibniz(indices).items():
                if outer and inner:
                    plan[outer, inner] += coefficient * count
        return dict(plan)
    for to_distance in product((True, False), repeat=len(index)):
        outer = tuple(i for i, chosen in zip(index, to_distance, strict=True) if chosen)
        inner = tuple(i for i, chosen in zip(index, to_distance, strict=True) if not chosen)
        plan[outer, inner] += 1.0
    return dict(plan)
