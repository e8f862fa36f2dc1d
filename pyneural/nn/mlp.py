"""Multilayer perceptron with the derivatives of its outputs with respect to its inputs."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from pyneural import ops
from pyneural.errors import ArgumentError, check_tensor, whole, wholes
from pyneural.nn.checks import check_input
from pyneural.nn.drop_in import Scriptable, call_without_tensors, make_twin
from pyneural.nn.input_range import bounds
from pyneural.nn.jets.chain import Chain, may_begin
from pyneural.nn.jets.functional import jet, jet_loss, jet_mean_square
from pyneural.nn.jets.jet import Jet
from pyneural.nn.plain import is_changed, is_plain_affine
from pyneural.nn.stored import register, stored
from pyneural.ops.activations import VALUES, check_activation
from pyneural.ops.transforms import by_autocast, is_torchs


class MLP(Scriptable):
    """Multilayer perceptron that gives its jets: value and derivatives in one pass.

        a_0 = (2 x - high - low) / (high - low)   if input_range is given, else x
        a_l = activation(W_l a_(l-1) + b_l),  l = 1 .. L - 1
        u   = W_L a_(L-1) + b_L

    Derivatives are with respect to x, as given, not to the scaled a_0: the scaling is folded into
    the first layer's weight and bias at each call. Where 0 is outside the range, as in years from
    2020 to 2021, its centre is subtracted from x before, which otherwise costs digits. Weights
    start Glorot normal and biases zero (Glorot and Bengio, 2010), as in Raissi, Perdikaris and
    Karniadakis (2019); the same ``torch.manual_seed`` gives the same network. The ``state_dict``
    has the keys
    ``layers.0.weight``, ``layers.0.bias``, ... of ``torch.nn.Linear``, and, with input_range,
    ``input_low`` and ``input_high``.

    Args:
        in_features: number of inputs D.
        hidden: widths of the hidden layers; may be empty.
        out_features: number of outputs O.
        activation: one that ``ops.jet_mlp`` knows: tanh, sin, sigmoid, silu, gelu, gelu_tanh,
            softplus, and up to first derivatives also linear, relu, leaky_relu, elu.
        input_range: (low, high), numbers or [D], that is scaled to [-1, 1]; a domain's ``range``.

    Raises:
        ArgumentError: a width below 1, an unknown activation, or an input_range that is not finite
            with low < high.

    >>> torch.manual_seed(0) and None
    >>> network = MLP(2, [20, 20], 1, input_range=([0.0, -1.0], [1.0, 1.0]))
    >>> u, u_t, u_xx = network.jet(torch.rand(5, 2), [(0,), (1, 1)])
    >>> u_xx.shape
    torch.Size([5, 1])
    """

    input_low: Tensor
    input_high: Tensor

    def __init__(
        self,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        activation: str = "tanh",
        *,
        input_range: tuple[Tensor | Sequence[float] | float, Tensor | Sequence[float] | float]
        | None = None,
    ) -> None:
        super().__init__()
        in_features, out_features = wholes(
            "MLP", in_features=in_features, out_features=out_features
        )
        hidden = [whole("MLP: hidden", width) for width in hidden]
        widths = [in_features, *hidden, out_features]
        if min(widths) < 1:
            raise ArgumentError(
                f"MLP: in_features, hidden, out_features: expected widths >= 1, got {widths}; "
                "leave out empty layers"
            )
        check_activation("MLP", activation)
        self.in_features, self.out_features = in_features, out_features
        self.hidden = tuple(hidden)
        self.activation = activation
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(before, after) for before, after in pairwise(widths)
        )
        self.has_input_range = input_range is not None
        if input_range is not None:
            low, high = bounds("MLP", *input_range, in_features)
            self.register_buffer("input_low", low)
            self.register_buffer("input_high", high)
        self._far_from_zero = self._is_far_from_zero()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraws the weights (Glorot normal) and sets the biases to zero."""
        for layer in self._linears():
            torch.nn.init.xavier_normal_(layer.weight)
            torch.nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Value of the network: x [..., D] to [..., O]."""
        if not isinstance(x, Tensor):
            return call_without_tensors(self, x)
        self._check(x)
        layers = self._linears()
        weight = stored(layers[0], "weight")
        if isinstance(x, Jet):
            return self._through(x)
        if not all(map(is_plain_affine, layers)) or is_torchs(x, weight):
            return self._by_layers(x)
        flat = x.reshape(-1, self.in_features)
        try:
            u = ops.mlp(self._centred(flat), *self._folded(), self.activation)
        except ArgumentError:
            check_input(self, "x", x, self.in_features, weight)
            raise
        return u.reshape(*x.shape[:-1], self.out_features)

    def _through(self, x: Jet) -> Tensor:
        """The network of inputs that are functions of the coordinates, for one call of the op."""
        if self._is_plain("forward"):
            weights, biases = self._folded()
            if may_begin(x, weights[0], biases[0]):
                between = self.activation if len(weights) > 1 else ""
                centred = cast(Jet, self._centred(x))
                return Chain(centred.snapshot(), weights, biases, between)
        return self._by_layers(x)

    def _by_layers(self, x: Tensor) -> Tensor:
        """The value by calling the layers, one of which is replaced, hooked or quantised."""
        if self.has_input_range:
            origin = self._origin()
            scale, shift = self._scaling(self.input_low - origin)
            x = scale * (x - origin) + shift
        *hidden, last = self.layers
        for layer in hidden:
            x = VALUES[self.activation](layer(x))
        return last(x)

    def jet(self, x: Tensor, derivatives: Sequence) -> tuple[Tensor, ...]:
        """Value and derivatives with respect to the inputs, by Taylor mode.

        Args:
            x: points, [N, D]; or, where the inputs are functions of coordinates, their jet with
                respect to these, [1 + K, N, D]: the inputs, then their derivatives
                ``ops.input_channels(derivatives)``. An input_range is that of the inputs.
            derivatives: tuples of input indices, ``(0,)`` for u_t and ``(1, 1)`` for u_xx where
                x = (t, x), up to order 4; or ``ops.Laplacian(1, 2)``. Of a jet, with respect to
                the coordinates.

        Returns:
            (u, *derivatives), each [N, O].

        >>> network = MLP(1, [8], 1).double()
        >>> x = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
        >>> u, u_x = network.jet(x, [(0,)])
        >>> torch.allclose(u_x, torch.autograd.grad(network(x).sum(), x)[0])
        True
        """
        self._check(x)
        if not self._is_plain("jet") or self._is_more():
            return jet(self, x, derivatives)
        x = self._centred(x)
        return ops.jet_mlp(x, *self._folded(), self.activation, derivatives)

    def jet_jacobian(self, x: Tensor, derivatives: Sequence) -> Tensor:
        """Gradients of every point's value and derivatives for all weights and biases.

            J[n, k O + o, p] = d (derivative k of output o at point n) / d (parameter p)

        Args:
            x: points, [N, D].
            derivatives: as of ``jet``; k = 0 is the value.

        Returns:
            [N, (1 + K) O, P], the parameters in the order of ``parameters()``, each row-major.

        Raises:
            ArgumentError: a layer that is replaced, or changed by hooks.

        >>> network = MLP(1, [8], 1)
        >>> network.jet_jacobian(torch.rand(5, 1), [(0,)]).shape
        torch.Size([5, 2, 25])
        """
        self._check(x)
        if not self._is_plain("jet_jacobian") or self._is_more():
            raise ArgumentError(
                "MLP.jet_jacobian: layers: expected torch.nn.Linear with bias and without hooks, "
                "got another layer or forward; differentiate jet by torch.autograd.grad"
            )
        weights, biases = self._folded()
        jacobian = ops.jet_mlp_jacobian(
            self._centred(x), weights, biases, self.activation, derivatives
        )
        if not self.has_input_range:
            return jacobian
        low = self.input_low
        scale, shift = self._scaling(low - self._origin() if self._far_from_zero else low)
        outputs = len(biases[0])
        count = outputs * self.in_features
        first, bias, rest = jacobian.tensor_split([count, count + outputs], 2)
        # The op's first weight is W scale, and its bias b + W shift.
        first = first.unflatten(2, (outputs, self.in_features)) * scale + bias[..., None] * shift
        return torch.cat([first.flatten(2), bias, rest], 2)

    def divergence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Value and divergence of a network with as many outputs as inputs.

        Args:
            x: points, [N, D].

        Returns:
            u [N, D] and div u = sum_i du_i/dx_i [N], as in ``ops.mlp_divergence``.

        >>> field = MLP(3, [8, 8], 3)
        >>> u, divergence = field.divergence(torch.rand(5, 3))
        >>> u.shape, divergence.shape
        (torch.Size([5, 3]), torch.Size([5]))
        """
        self._check(x)
        if not self._is_plain("divergence") or self._is_more():
            columns = [(index,) for index in range(self.in_features)]
            u, *slopes = jet(self, x, columns)
            return u, torch.stack([s[:, i] for i, s in enumerate(slopes)]).sum(0)
        return ops.mlp_divergence(self._centred(x), *self._folded(), self.activation)

    def jet_loss(
        self,
        x: Tensor,
        derivatives: Sequence,
        residual: ops.ResidualProgram,
        coefficients: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> Tensor:
        """Mean square of a residual program over the points, [].

        ``pde.Equation.loss`` and ``ops.record_residual`` write the program; x is as in ``jet``,
        the rest as in ``ops.jet_mlp_loss``.

        >>> network, u_x = MLP(1, [8], 1), ops.record_residual(lambda jet, x, c: jet[1, 0])
        >>> network.jet_loss(torch.rand(9, 1), [(0,)], u_x).shape
        torch.Size([])
        """
        self._check(x)
        if not self._is_plain("jet_loss") or self._is_more():
            return jet_loss(self, x, derivatives, residual, coefficients, columns)
        return self._mean_square(x, derivatives, residual, coefficients, columns).loss()

    def jet_mean_square(
        self,
        x: Tensor,
        derivatives: Sequence,
        residual: ops.ResidualProgram,
        coefficients: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> ops.MeanSquare | None:
        """What ``jet_loss`` is the value of, not computed yet; None where no kernel knows it."""
        self._check(x)
        if not self._is_plain("jet_mean_square") or self._is_more():
            return jet_mean_square(self, x, derivatives, residual, coefficients, columns)
        return self._mean_square(x, derivatives, residual, coefficients, columns)

    def _mean_square(
        self, points: Tensor, derivatives: Sequence, residual: ops.ResidualProgram,
        coefficients: Tensor | None, columns: Tensor | None,
    ) -> ops.MeanSquare:  # fmt: skip
        x = self._centred(points)
        if self._far_from_zero and points.dim() == 2 and isinstance(residual, ops.ResidualProgram):
            given, origin = coefficients, self._origin()
            coefficients = origin if given is None else torch.cat([given, origin])
            residual = residual.moved(0 if given is None else len(given))
        weights, biases = self._folded()
        return ops.MeanSquare(
            x, weights, biases, self.activation, derivatives, residual, coefficients, columns
        )

    def _check(self, x: Tensor) -> None:
        check_tensor("MLP: x", x)
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ArgumentError(
                f"MLP: x: expected {self.in_features} columns, one per input, got shape "
                f"{list(x.shape)}; give the points as [N, {self.in_features}]"
            )

    def _is_more(self) -> bool:
        """Whether a call does more than the layers: a subclass's ``forward``, or hooks."""
        return is_changed(self) or type(self).forward not in (MLP.forward, _ScriptedMLP.forward)

    def _is_plain(self, method: str) -> bool:
        """Whether the weights say all that the layers do, so that the op may do it."""
        plain = True
        for index, layer in enumerate(self.layers):
            weight = getattr(layer, "weight", None)
            if isinstance(weight, Tensor) and is_traceable_wrapper_subclass(weight):
                raise ArgumentError(
                    f"MLP.{method}: layers[{index}].weight: expected a plain tensor, got "
                    f"{type(weight).__name__}; take jets of the network before it is quantised or "
                    "distributed"
                )
            forward = getattr(type(layer), "forward", None)
            plain &= forward is torch.nn.Linear.forward and not is_changed(layer)
            plain &= getattr(layer, "bias", None) is not None  # which the ops ask for
        return plain

    def _origin(self) -> Tensor:
        """What is subtracted from x, [D]: the centre of a range without 0, else 0."""
        low, high = self.input_low, self.input_high
        return torch.where((low > 0) | (high < 0), (low + high) / 2, torch.zeros_like(low))

    def _scaling(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """The s and t of s (x - origin) + t, which maps the input range to [-1, 1].

        ``low`` is the lower end of the range, less the origin.
        """
        scale = 2 / (self.input_high - self.input_low)
        return scale, -1 - scale * low

    def _is_far_from_zero(self) -> bool:
        if not self.has_input_range:
            return False
        return self.input_low.is_meta or bool(self._origin().any())

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._far_from_zero = self._is_far_from_zero()

    def _centred(self, x: Tensor) -> Tensor:
        """X less the origin; as it is where that is 0, or where the op refuses its dtype."""
        if not self._far_from_zero:
            return x
        origin = self._origin()
        halved = x.dtype in (torch.float16, torch.bfloat16) and by_autocast(x.device.type)
        if x.dtype != origin.dtype and not halved:
            return x
        if x.dim() < 3:
            return x - origin
        return torch.cat([x[:1] - origin, x[1:]])  # of a jet, the value alone

    def _linears(self) -> list[torch.nn.Linear]:
        return cast("list[torch.nn.Linear]", list(stored(self, "layers")))

    def _folded(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases with the input scaling s x + shift taken into the first layer."""
        layers = self._linears()
        weights: list[Tensor] = [stored(layer, "weight") for layer in layers]
        biases: list[Tensor] = [stored(layer, "bias") for layer in layers]
        if self.has_input_range:
            low = self.input_low
            scale, shift = self._scaling(low - self._origin() if self._far_from_zero else low)
            biases[0] = biases[0] + weights[0] @ shift
            weights[0] = weights[0] * scale
        return weights, biases

    @property
    def input_range(self) -> tuple[list[float], list[float]] | None:
        """(low, high) of each input that is scaled to [-1, 1]; None if there is no scaling."""
        if not self.has_input_range:
            return None
        return self.input_low.tolist(), self.input_high.tolist()

    def as_torch(self) -> "MLP":
        """The same network with a ``forward`` of torch's functions."""
        twin = make_twin(self, _ScriptedMLP)
        twin.function = VALUES[self.activation]
        return twin

    def extra_repr(self) -> str:
        """Arguments of the constructor."""
        text = f"{self.in_features}, {self.out_features}, activation={self.activation!r}"
        if self.has_input_range and not self.input_low.is_meta:
            text += f", input_range={self.input_range}"
        return text


register(MLP)


class _ScriptedMLP(MLP):
    """``MLP`` as ``torch.jit.script`` can read it; its other methods are those of ``MLP``."""

    __constants__ = ["has_input_range"]  # noqa: RUF012 (torch's form)
    __jit_unused_properties__ = ["input_range"]  # noqa: RUF012

    function: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        if self.has_input_range:
            origin = self._origin()
            scale, shift = self._scaling(self.input_low - origin)
            x = scale * (x - origin) + shift
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index + 1 < len(self.layers):
                x = self.function(x)
        return x
