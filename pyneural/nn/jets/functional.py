"""Derivatives of any module, and losses made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_tensor
from pyneural.nn.jets import arithmetic, composite, products, shapes  # noqa: F401 (the rules)
from pyneural.nn.jets.jet import Jet
from pyneural.nn.jets.nested import check_result, needs_nesting, nested_jet
from pyneural.nn.jets.rewriting import rewrite
from pyneural.nn.jets.space import NoRule, Program, Space
from pyneural.ops.jet.derivatives import Derivative
from pyneural.ops.jet.functional import in_full_precision
from pyneural.ops.jet.mean_square import MeanSquare
from pyneural.ops.jet.recorder import NotExpressibleError
from pyneural.ops.jet.residual import ResidualProgram, evaluate_residual
from pyneural.ops.reference.jet import mean_square
from pyneural.ops.transforms import outside_of_graphs


def jet(
    module: Callable[[Tensor], Tensor], x: Tensor, derivatives: Sequence[Derivative]
) -> tuple[Tensor, ...]:
    """Value of any module and its derivatives with respect to the coordinates, in one pass.

    The module runs once, on an object in the place of x that carries the derivatives through its
    torch functions (Taylor mode): linear layers and other products, elementwise functions, slices,
    joins, sums and norms over features, as of layer norm and softmax. Successive linear layers with
    one of the activations of ``ops.jet_mlp`` between them go to its kernel, whether ``nn.MLP``, a
    ``torch.nn.Sequential`` or other code calls them. Where an operation has no rule, the
    derivatives are found by nested autograd, with a warning at the first time.

    Args:
        module: a function of each point alone, [N, D] to [N, O].
        x: points, [N, D].
        derivatives: tuples of columns of x, ``(0,)`` for u_t and ``(1, 1)`` for u_xx where
            x = (t, x), up to order 4, and linear operators, as in ``ops.jet_mlp``.

    Returns:
        (u, *derivatives), each [N, O]; gradients reach the parameters and x.

    Raises:
        ArgumentError: an operation that mixes points, as batch norm in training or attention
            across points; an activation with a kink at order 2 or more; another result than [N, O].

    Griewank and Walther 2008, "Evaluating Derivatives", chapter 13, with the multivariate
    coefficients of ``ops.jet_mlp``.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Mish(), torch.nn.Linear(8, 1))
        >>> u, u_t, u_xx = jet(net, torch.rand(5, 2), [(0,), (1, 1)])
        >>> u_xx.shape
        torch.Size([5, 1])
        >>> x = torch.tensor([[2.0, 3.0]])
        >>> [part.item() for part in jet(lambda x: x[:, :1] ** 2 * x[:, 1:], x, [(0,), (0, 1)])]
        [12.0, 12.0, 4.0]
    """
    check_tensor("jet: x", x)
    return _jet(x, module, derivatives)


@outside_of_graphs  # the program is written anew at each call
@in_full_precision
def _jet(x: Tensor, module: Any, derivatives: Sequence[Derivative]) -> tuple[Tensor, ...]:
    space = Space("jet", x, derivatives)
    result, operation = _run(space, module)
    if result is None:
        return tuple(nested_jet(space, module, operation))
    return tuple(_channels(space, result))


def jet_loss(
    module: Callable[[Tensor], Tensor],
    x: Tensor,
    derivatives: Sequence[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None = None,
    columns: Tensor | None = None,
) -> Tensor:
    """Mean square of a residual program over the points for any module, [].

    Where the module ends in linear layers with one of the activations of ``ops.jet_mlp``, that
    network, the arithmetic on its outputs (u = A + B N, exp N, ...) and the residual are computed
    and differentiated together by ``ops.jet_mlp_loss``: the kernel gets the derivatives of the
    network's inputs, and those of A and B as columns of the program.

    Args:
        module: a function of each point alone, [N, D] to [N, O].
        x: points, [N, D].
        derivatives: as in ``jet``.
        residual: the program, of u and its derivatives; ``ops.record_residual`` writes one.
        coefficients: of the program, [Q].
        columns: of the program, [R, N].

    Raises:
        ArgumentError: as ``jet``.

    Example:
        >>> from pyneural import ops
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> program = ops.record_residual(lambda jet, x, c: jet[1, 0] + jet[0, 0])
        >>> module = lambda x: 1 + x * network(x)  # u(0) = 1
        >>> jet_loss(module, torch.rand(9, 1), [(0,)], program).shape
        torch.Size([])
    """
    check_tensor("jet_loss: x", x)
    return _jet_loss(x, module, derivatives, residual, coefficients, columns)


@outside_of_graphs
@in_full_precision
def _jet_loss(
    x: Tensor,
    module: Any,
    derivatives: Sequence[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None,
    columns: Tensor | None,
) -> Tensor:
    found = _attempt(x, module, derivatives, residual, coefficients, columns)
    if isinstance(found, MeanSquare):
        return found.loss()
    space, result, operation = found
    if result is None:
        channels = nested_jet(space, module, operation)
    else:
        channels = _channels(space, result)
    given = x.new_empty(0) if coefficients is None else coefficients
    return mean_square(evaluate_residual(*residual, channels, x, given, columns))


def jet_mean_square(
    module: Callable[[Tensor], Tensor],
    x: Tensor,
    derivatives: Sequence[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None = None,
    columns: Tensor | None = None,
) -> MeanSquare | None:
    """What ``jet_loss`` with these arguments is the value of, not computed yet.

    None where no kernel can compute it with the module's last network.

    Example:
        >>> from pyneural import ops
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> program = ops.record_residual(lambda jet, x, c: jet[1, 0] + jet[0, 0])
        >>> module, x = lambda x: 1 + x * network(x), torch.rand(9, 1)
        >>> square = jet_mean_square(module, x, [(0,)], program)
        >>> torch.equal(square.loss(), jet_loss(module, x, [(0,)], program))
        True
    """
    return _jet_mean_square(x, module, derivatives, residual, coefficients, columns)


@outside_of_graphs
@in_full_precision
def _jet_mean_square(x: Tensor, module: Any, *asked: Any) -> MeanSquare | None:
    found = _attempt(x, module, *asked)
    return found if isinstance(found, MeanSquare) else None


def _attempt(
    x: Tensor,
    module: Any,
    derivatives: Sequence[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None,
    columns: Tensor | None,
) -> MeanSquare | tuple[Space, Any, str]:
    """What the kernel of the module's last network takes; what ``_run`` gave where none does."""
    program = Program()
    space = Space("jet_loss", x, derivatives, program)
    result, operation = _run(space, module)
    if isinstance(result, Jet):
        square = _fused(space, result, residual, coefficients, columns)
        if square is not None:
            return square
    return space, result, operation


def _run(space: Space, module: Any) -> tuple[Any, str]:
    """The module's result on the points; None, and the operation that has no rule."""
    if needs_nesting(module):
        return None, ""
    try:
        return module(Jet.of_points(space)), ""
    except NoRule as missing:
        return None, str(missing)
    except RuntimeError as error:
        _explain(space, module, error)
        raise


def _explain(space: Space, module: Any, error: Exception) -> None:
    """ArgumentError where an operation failed as the points have not the dtype of the weights."""
    parameters = module.parameters() if isinstance(module, torch.nn.Module) else ()
    dtype = next((p.dtype for p in parameters if p.is_floating_point()), None)
    if "dtype" in str(error) and dtype not in (None, space.x.dtype):
        raise ArgumentError(
            f"{space.where}: x: expected {dtype} as the network's weights, got {space.x.dtype}; "
            f"convert it with .to({dtype}), or the network with .to({space.x.dtype})"
        ) from error


def _channels(space: Space, result: Any) -> list[Tensor]:
    """The value and the derivatives asked for."""
    check_result(space, result)
    if not isinstance(result, Jet):  # constant
        return [result, *(torch.zeros_like(result) for _ in space.derivatives)]
    if result.at != 0:
        raise space.mixes("the module")
    value, channels = result.parts()
    return [
        value,
        *(channels[c] if c in channels else torch.zeros_like(value) for c in space.plan.outputs),
    ]


def _fused(
    space: Space,
    result: Jet,
    residual: ResidualProgram,
    coefficients: Tensor | None,
    columns: Tensor | None,
) -> MeanSquare | None:
    """What the kernel of the last network takes; None without one, or where it cannot say it."""
    expression = result.expression()
    if expression is None or result.dim() != 2:
        return None
    program: Program = space.recorder  # type: ignore[assignment]
    try:
        rewritten = rewrite(space, residual, expression.columns, coefficients, columns)
    except NotExpressibleError:
        return None
    network = expression.network
    derivatives = tuple(program.derivatives)
    read = [value.reshape(()).to(space.x) for value in program.coefficients]
    return MeanSquare(
        network.argument(derivatives),
        network.weights,
        network.biases,
        network.activation,
        derivatives,
        rewritten,
        torch.stack(read) if read else None,
        torch.stack(program.columns) if program.columns else None,
    )
