"""Networks of the physics-informed literature: the modified MLP and PirateNet."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.errors import check_argument, whole, wholes
from pyneural.nn.embeddings import FourierFeatures
from pyneural.nn.jets.modules import JetModule
from pyneural.ops.activations import VALUES, check_activation


class FactorizedLinear(torch.nn.Module):
    r"""Linear layer with random weight factorisation: W = diag(exp(s)) V.

        y = diag(exp(s)) V x + b,  s ~ N(mean, std^2) at the start

    where diag(exp(s)) V starts as a Glorot normal matrix: each neuron learns its own rate.

    Args:
        in_features: number of inputs I.
        out_features: number of outputs O.
        mean: of s.
        std: of s.

    Shape:
        x [..., I] to y [..., O].

    Wang, Wang, Seidman and Perdikaris 2022, "Random Weight Factorization Improves the Training of
    Continuous Neural Representations", arXiv:2210.01274, with jaxpi's mean 1 (or 0.5) and std 0.1.

    >>> FactorizedLinear(3, 4)(torch.rand(5, 3)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self, in_features: int, out_features: int, mean: float = 1.0, std: float = 0.1
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = wholes(
            "FactorizedLinear", in_features=in_features, out_features=out_features
        )
        self.mean, self.std = mean, std
        self.scale = torch.nn.Parameter(torch.empty(self.out_features))
        self.direction = torch.nn.Parameter(torch.empty(self.out_features, self.in_features))
        self.bias = torch.nn.Parameter(torch.empty(self.out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        torch.nn.init.xavier_normal_(self.direction)
        torch.nn.init.normal_(self.scale, self.mean, self.std)
        torch.nn.init.zeros_(self.bias)
        with torch.no_grad():
            self.direction.div_(torch.exp(self.scale)[:, None])

    @property
    def weight(self) -> Tensor:
        """W, [O, I]."""
        return torch.exp(self.scale)[:, None] * self.direction

    def forward(self, x: Tensor) -> Tensor:
        """Output y [..., O] for x [..., I]."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Arguments of the constructor."""
        return f"{self.in_features}, {self.out_features}, mean={self.mean}, std={self.std}"


def _linear(in_features: int, out_features: int, factorized: bool) -> torch.nn.Module:
    if factorized:
        return FactorizedLinear(in_features, out_features)
    layer = torch.nn.Linear(in_features, out_features)
    torch.nn.init.xavier_normal_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


class ModifiedMLP(JetModule):
    r"""Multilayer perceptron with two gates, which every hidden layer mixes.

        U = f(W_U x + b_U),  V = f(W_V x + b_V),  a_0 = x
        z_l = f(W_l a_(l-1) + b_l),  a_l = z_l * U + (1 - z_l) * V,  l = 1 .. L - 1
        u = W_L a_(L-1) + b_L

    Weights start Glorot normal and biases zero.

    Args:
        in_features: number of inputs D.
        width: of the hidden layers.
        out_features: number of outputs O.
        layers: how many hidden layers.
        activation: f, one of ``ops.dense``.
        embedding: of the inputs, with ``out_features``, as ``nn.FourierFeatures``; the gates and
            the layers then begin with the embedded inputs.
        factorized: whether the layers are ``nn.FactorizedLinear``.

    Shape:
        x [..., D] to u [..., O].

    Raises:
        ArgumentError: sizes below 1, an unknown activation, an embedding of other inputs.

    Wang, Teng and Perdikaris 2021, "Understanding and Mitigating Gradient Flow Pathologies in
    Physics-Informed Neural Networks", arXiv:2001.04536.

    >>> network = ModifiedMLP(2, 16, 1)
    >>> u, u_xx = network.jet(torch.rand(5, 2), [(1, 1)])
    >>> u_xx.shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        out_features: int = 1,
        *,
        layers: int = 4,
        activation: str = "tanh",
        embedding: torch.nn.Module | None = None,
        factorized: bool = False,
    ) -> None:
        super().__init__()
        _set(self, in_features, width, out_features, layers, activation, embedding)
        inner = self.inner
        self.gates = torch.nn.ModuleList(_linear(inner, width, factorized) for _ in range(2))
        widths = [inner, *[width] * layers]
        self.layers = torch.nn.ModuleList(
            _linear(before, width, factorized) for before in widths[:-1]
        )
        self.last = _linear(width, self.out_features, factorized)

    embedding: torch.nn.Module
    activation: str
    inner: int
    out_features: int

    def forward(self, x: Tensor) -> Tensor:
        """Value: x [..., D] to [..., O]."""
        f, x = VALUES[self.activation], self.embedding(x)
        u, v = (f(gate(x)) for gate in self.gates)
        difference = u - v
        for layer in self.layers:
            x = v + f(layer(x)) * difference
        return self.last(x)


class PirateNet(JetModule):
    r"""Residual network with gates that starts as a linear function of its embedding.

        x_0 = the embedded inputs,  U = f(W_U x_0 + b_U),  V = f(W_V x_0 + b_V)
        in block k:  g = gate(f(W_1 x_k + b_1)),  h = gate(f(W_2 g + b_2)),  with
                     gate(z) = z * U + (1 - z) * V
                     x_(k+1) = alpha_k f(W_3 h + b_3) + (1 - alpha_k) x_k
        u = W x_K

    With alpha_k = 0 at the start u is linear in the embedding, so that ``fit_last_layer`` can
    set it to data, such as the initial condition, by least squares; depth comes as alpha_k is
    learned.

    Args:
        inputs: number of coordinates D, or their names.
        width: of the blocks and of the embedding.
        out_features: number of outputs O.
        blocks: how many, of three layers each.
        activation: f, one of ``ops.dense``.
        embedding: of the inputs, with ``out_features`` that is the width; by default
            ``nn.FourierFeatures(inputs, width // 2, scale)``.
        scale: of the Fourier features.
        nonlinearity: alpha_k at the start.
        factorized: whether the layers are ``nn.FactorizedLinear``, as in the paper.

    Shape:
        x [..., D] to u [..., O].

    Raises:
        ArgumentError: sizes below 1, an odd width without an embedding, an unknown activation, an
            embedding of another width.

    Wang, Li, Chen and Perdikaris 2024, "PirateNets: Physics-informed Deep Learning with Residual
    Adaptive Networks", arXiv:2402.00326, as in jaxpi.

    >>> network = PirateNet(2, 16, blocks=2)
    >>> u, u_t, u_xx = network.jet(torch.rand(5, 2), [(0,), (1, 1)])
    >>> u_xx.shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int | str,
        width: int = 256,
        out_features: int = 1,
        *,
        blocks: int = 3,
        activation: str = "tanh",
        embedding: torch.nn.Module | None = None,
        scale: float = 1.0,
        nonlinearity: float = 0.0,
        factorized: bool = True,
    ) -> None:
        super().__init__()
        width = whole("PirateNet: width", width)
        if embedding is None:
            check_argument(
                width >= 2 and width % 2 == 0, "PirateNet: width", "an even width >= 2, as its "
                "embedding has cosines and sines", width, "or give an embedding",
            )  # fmt: skip
            embedding = FourierFeatures(inputs, width // 2, scale)
        count = getattr(embedding, "in_features", None)
        given = inputs if isinstance(inputs, int) else len(inputs)
        _set(self, given if count is None else count, width, out_features, blocks, activation,
             embedding)  # fmt: skip
        check_argument(
            self.inner == width, "PirateNet: embedding", f"{width} features, the width",
            self.inner, "give the embedding that width",
        )  # fmt: skip
        self.gates = torch.nn.ModuleList(_linear(width, width, factorized) for _ in range(2))
        self.blocks = torch.nn.ModuleList(
            torch.nn.ModuleList(_linear(width, width, factorized) for _ in range(3))
            for _ in range(blocks)
        )
        self.alpha = torch.nn.Parameter(torch.full((blocks,), float(nonlinearity)))
        self.last = torch.nn.Linear(width, self.out_features, bias=False)
        torch.nn.init.xavier_normal_(self.last.weight)

    embedding: torch.nn.Module
    activation: str
    inner: int
    out_features: int

    def forward(self, x: Tensor) -> Tensor:
        """Value: x [..., D] to [..., O]."""
        return self.last(self._features(x))

    def _features(self, x: Tensor) -> Tensor:
        f, x = VALUES[self.activation], self.embedding(x)
        u, v = (f(gate(x)) for gate in self.gates)
        difference = u - v
        for block, alpha in zip(self.blocks, self.alpha, strict=True):
            first, second, third = cast(torch.nn.ModuleList, block)
            g = v + f(first(x)) * difference
            h = v + f(second(g)) * difference
            x = x + alpha * (f(third(h)) - x)
        return x

    @torch.no_grad()
    def fit_last_layer(self, x: Tensor, u: Tensor) -> None:
        """Sets the last layer so that the network fits values by least squares.

        Args:
            x: points, [N, D], such as those of the initial condition.
            u: values there, [N, O].

        >>> network, x = PirateNet(1, 32), torch.linspace(-1, 1, 100)[:, None]
        >>> network.fit_last_layer(x, x**2)
        >>> bool((network(x) - x**2).abs().max() < 0.01)
        True
        """
        count, outputs = len(x), self.out_features
        check_argument(
            x.dim() == 2 and u.shape == (count, outputs), "PirateNet.fit_last_layer: u",
            f"[{count}, {outputs}], a row for each point", list(u.shape), "reshape it",
        )  # fmt: skip
        features = self._features(x).double()
        solution = torch.linalg.lstsq(features, u.double(), driver="gelsd").solution
        self.last.weight.copy_(solution.T)


def _set(
    network: ModifiedMLP | PirateNet, in_features: int, width: int, out_features: int, depth: int,
    activation: str, embedding: torch.nn.Module | None,
) -> None:  # fmt: skip
    where = type(network).__name__
    sizes = wholes(where, inputs=in_features, width=width, outputs=out_features, depth=depth)
    check_argument(min(sizes) >= 1, where, "sizes of at least 1", sizes)
    network.activation = check_activation(where, activation)
    network.out_features = out_features
    inner = in_features if embedding is None else getattr(embedding, "out_features", None)
    check_argument(
        isinstance(inner, int), f"{where}: embedding", "a module with out_features",
        type(embedding).__name__, "set the attribute to its number of outputs",
    )  # fmt: skip
    of_inputs = getattr(embedding, "in_features", in_features)
    check_argument(
        of_inputs == in_features, f"{where}: embedding", f"one of {in_features} inputs",
        of_inputs, "give both the same number",
    )  # fmt: skip
    network.inner = inner  # type: ignore[assignment]
    network.embedding = torch.nn.Identity() if embedding is None else embedding
