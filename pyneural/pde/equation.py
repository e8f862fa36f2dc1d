"""Partial differential equations, written as on paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_tensor
from pyneural.ops import Derivative, MeanSquare
from pyneural.pde.coordinates import arguments_of
from pyneural.pde.language.compiled import compiled_loss
from pyneural.pde.language.names import name_of
from pyneural.pde.language.residual import Residual
from pyneural.pde.language.sites import MAIN, Site
from pyneural.pde.network import Network, check_inputs, with_jets
from pyneural.pde.nonfinite import first_nonfinite


class Equation(torch.nn.Module):
    """A partial differential equation r(u, derivatives of u, x) = 0 for a network u(x).

    A subclass names its ``inputs`` (the columns of x) and ``outputs`` (the columns of u), one
    letter each in a string or a tuple of longer names, and writes ``residual``. The arguments of
    ``residual`` are outputs and, where they occur in the equation, inputs, matched by name;
    ``**x`` takes all inputs that are not named.
    Derivatives are attributes: ``u.t``, ``u.xx``, ``u.tx``, up to order 4, and ``u.laplacian``
    over all inputs but t and the ``parameter_inputs``, which the class may name too: parameters of
    the problem that are inputs of the network. Expressions have them as well, by the chain rule:
    ``(u**3 - u).xx``, ``(k * u.x).x``, ``torch.exp(u).t``, ``(x**2 * u.x).x``; nested autograd
    takes, with a warning, those of operations without a rule. Derivatives are not declared: the
    residual is run once on a recorder. A system returns a tuple of residuals. Coefficients to
    learn are ``torch.nn.Parameter`` attributes; functions of coordinates, as a network k(x) that
    is an attribute, are fields of coefficients.

    >>> class Heat(Equation):
    ...     inputs, outputs = "tx", "u"
    ...     def residual(self, u, x):
    ...         return u.t - u.xx - torch.sin(x)
    >>> from pyneural.nn import MLP
    >>> heat, x = Heat(), torch.rand(10, 2)
    >>> heat.derivatives
    ((0,), (1, 1))
    >>> heat.loss(MLP(2, [8], 1), x).shape
    torch.Size([])

    Raises:
        ValueError: at construction, if the names are missing or double or an argument of
            ``residual`` is neither an output nor an input.
    """

    inputs: str | Sequence[str]
    outputs: str | Sequence[str]
    parameter_inputs: str | Sequence[str] = ()

    def __init__(self) -> None:
        super().__init__()
        where = type(self).__name__
        both: list[Any] = [getattr(self, "inputs", ()), getattr(self, "outputs", ())]
        names = tuple(n for each in both for n in (each if isinstance(each, Sequence) else [each]))
        known = all(isinstance(name, str) and name.isidentifier() for name in names)
        if not all(both) or not known or len(set(names)) < len(names):
            raise ValueError(
                f"{where}: inputs, outputs: expected names that all differ, got {names}; "
                'set both in the class, for instance inputs, outputs = "tx", "u", and those of '
                'several letters as ("radius", "z")'
            )
        self.inputs, self.outputs = tuple(self.inputs), tuple(self.outputs)
        parameters = self.parameter_inputs
        self.parameter_inputs = (parameters,) if parameters in self.inputs else tuple(parameters)
        for name in self.parameter_inputs:
            if name not in self.inputs:
                raise ValueError(
                    f"{where}: parameter_inputs: expected some of the inputs "
                    f"{', '.join(self.inputs)}, got {name!r}; correct it or add it to inputs"
                )
        self._arguments = arguments_of(self.residual, self.inputs, self.outputs)
        for argument in self._arguments:
            if argument not in names:
                raise ValueError(
                    f"{where}.residual: argument {argument!r}: expected one of the outputs "
                    f"{', '.join(self.outputs)} or inputs {', '.join(self.inputs)}; rename it"
                )
        self._form = Residual(
            where, self._arguments, self.inputs, self.outputs, self.parameter_inputs
        )

    def residual(self, *args: Any, **kwargs: Any) -> Any:
        """Residuals of the equation, [N] each; a subclass writes it with its own arguments."""
        raise NotImplementedError(f"{type(self).__name__}.residual: write it in the subclass")

    @property
    def derivatives(self) -> tuple[Derivative, ...]:
        """Derivatives that the residual asks for, in the order of their first use.

        >>> from pyneural.pde import Burgers
        >>> Burgers().derivatives
        ((0,), (1,), (1, 1))
        """
        tensors = (*self.parameters(), *self.buffers(), torch.ones(1))
        return self._derivatives(tensors[0].detach())

    def residuals(self, network: Network, x: Tensor) -> list[Tensor]:
        """Residuals at points, any torch code in ``residual`` allowed.

        Args:
            network: gives ``jet(x, derivatives)``, as ``nn.MLP`` does.
            x: points, [N, D].

        Returns:
            one [N] for each equation.

        Raises:
            ValueError: no points, or inputs or outputs that differ from the equation's.
        """
        self._check(network, x)
        return self._form.evaluate(self.residual, network, {MAIN: Site(x)})

    def loss(
        self, network: Network, x: Tensor, weights: Sequence[float | Tensor] | None = None
    ) -> Tensor:
        """Sum over the equations of the mean square of the residual over the points.

            loss = sum_e (w_e / N) sum_n r_e(x_n)^2

        Where the residual can be written as a residual program (arithmetic, whole powers, sqrt,
        sin, cos, exp, log, tanh, abs, numbers, coefficients, derivatives of all these, any
        functions of coordinates) and the network has ``jet_loss``, as
        ``nn.MLP`` does, it goes to ``ops.jet_mlp_loss``, which on the CPU computes loss and
        gradient in one pass over the points; otherwise by ``residuals``. Derivatives that occur
        only in sums with constant coefficients become one linear operator there, also those of
        (k u_x)_x + (k u_y)_y with equal factors, so that the rounding differs.

        Args:
            network: gives ``jet(x, derivatives)``, and ``jet_loss`` for the fused way.
            x: points, [N, D].
            weights: w_e >= 0, one for each equation, [] or, one for each point, [N]; None for 1.

        Returns:
            [], differentiable with respect to the network's parameters and the coefficients.

        Raises:
            ValueError: as ``residuals``; another number of weights.
        """
        if torch.compiler.is_compiling():
            return compiled_loss(self, network, x, weights)
        return self.eager_loss(network, x, weights)

    def eager_loss(
        self, network: Network, x: Tensor, weights: Sequence[float | Tensor] | None = None
    ) -> Tensor:
        """``loss`` where it is not part of a compiled graph."""
        self._check(network, x)
        return self._form.loss(self.residual, network, {MAIN: Site(x)}, weights)

    def mean_square(
        self, network: Network, x: Tensor, weights: Sequence[float | Tensor] | None = None
    ) -> MeanSquare | None:
        """What ``loss`` is the value of, for second-order methods.

        None where no kernel knows it; ``scaled_residuals`` are then what there is.

        >>> from pyneural.nn import MLP
        >>> from pyneural.pde import Burgers
        >>> network, x = MLP(2, [8], 1), torch.rand(10, 2)
        >>> square = Burgers().mean_square(network, x)
        >>> torch.equal(square.loss(), Burgers().loss(network, x))
        True
        """
        self._check(network, x)
        return self._form.mean_square(self.residual, network, {MAIN: Site(x)}, weights)

    def scaled_residuals(
        self, network: Network, x: Tensor, weights: Sequence[float | Tensor] | None = None
    ) -> Tensor:
        """Residuals, [R], whose sum of squares is ``loss``: with the roots of w_e / N."""
        self._check(network, x)
        return self._form.scaled_residuals(self.residual, network, {MAIN: Site(x)}, weights)

    def recorded(self, x: Tensor) -> str:
        """The instructions that the residual at points [N, D] consists of, as text.

        >>> class Decay(Equation):
        ...     inputs, outputs = "t", "u"
        ...     def residual(self, u):
        ...         return u.t + 2 * u
        >>> Decay().recorded(torch.zeros(2, 1)).split("; ")[2:]
        ['constant 2.0', 'mul 2 0', 'add 1 3', 'residual 4")']
        """
        return self._form.recorded(self.residual, {MAIN: Site(x)})

    @torch.no_grad()
    def explain_nonfinite(self, network: Network, x: Tensor) -> str | None:
        """The operation of the residual that is not finite at points [N, D]; None if all are.

        >>> class Root(Equation):
        ...     inputs, outputs = "x", "u"
        ...     def residual(self, u):
        ...         return u.xx - torch.sqrt(u.x)
        >>> from pyneural.nn import MLP
        >>> network = MLP(1, [], 1)  # u_x is its weight
        >>> _ = torch.nn.init.constant_(network.layers[0].weight, -2.0)
        >>> Root().explain_nonfinite(network, torch.rand(5, 1))
        'sqrt(u.x) is nan at 5 of 5 points, the first with u.x = -2'
        """
        derivatives = self._derivatives(x)
        jet = with_jets(network).jet(x, derivatives)
        names = dict(zip(self.inputs, x.unbind(1), strict=True))
        for asked, channel in zip((None, *derivatives), jet, strict=True):
            text = "" if asked is None else f".{name_of(asked, self.inputs)}"
            for name, values in zip(self.outputs, channel.unbind(1), strict=True):
                names[name + text] = values
        return first_nonfinite(lambda: self.residuals(network, x), names)

    def _derivatives(self, like: Tensor) -> tuple[Derivative, ...]:
        """Those that the residual asks for, recorded on a point with the dtype of a tensor."""
        points = like.new_ones(1, len(self.inputs))
        return self._form.derivatives(self.residual, Site(points))

    def _check(self, network: Network, x: Tensor) -> None:
        where = type(self).__name__
        check_tensor(f"{where}: x", x)
        if x.dim() != 2 or x.shape[1] != len(self.inputs) or x.shape[0] == 0:
            raise ValueError(
                f"{where}: x: expected [N, {len(self.inputs)}] ({', '.join(self.inputs)}) with "
                f"N >= 1, got {list(x.shape)}; give one row per point, one column per input"
            )
        check_inputs(where, network, self.inputs, "the equation")
        self._form.check_outputs(getattr(network, "out_features", len(self.outputs)))
