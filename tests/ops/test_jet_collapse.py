"""The same residuals from fewer channels."""

import pytest
import torch

from pyneural.nn import MLP
from pyneural.ops import LinearOperator, collapse_derivatives
from pyneural.ops.jet.plan import make_plan
from pyneural.ops.jet.residual import evaluate_residual
from pyneural.pde import Burgers, Equation
from pyneural.pde.language.lowering import lower

# inputs, outputs, residual, channels before and after (without the value)
CASES = {
    "Burgers": ("tx", "u", lambda u: u.t + u * u.x - 0.1 * u.xx, 3, 2),
    "heat in the plane": ("txy", "u", lambda u: u.t - 0.3 * u.laplacian, 4, 3),
    "waves": ("txy", "u", lambda u: u.tt - 4 * (u.xx + u.yy), 6, 4),
    "Allen-Cahn": ("tx", "u", lambda u: u.t - 1e-4 * u.xx + 5 * (u**3 - u), 3, 2),
    "Korteweg-de Vries": ("tx", "u", lambda u: u.t + 6 * u * u.x + u.xxx, 4, 3),
    "biharmonic": ("xy", "u", lambda u, x: u.xxxx + 2 * u.xxyy + u.yyyy - x, 12, 10),
    "division and minus": ("tx", "u", lambda u: -(u.xx / -2 - u.t) / 3, 3, 2),
    "one operator for both": (
        "tx",
        "uv",
        lambda u, v: (u.t - u.xx + v, 2 * v.xx - 2 * v.t - u / 3),
        3,
        2,
    ),
    "two operators": ("txy", "uv", lambda u, v: (u.xx + u.yy, v.t - v.laplacian), 6, 4),
    "an operator that cancels": ("xy", "u", lambda u: u.laplacian - u.xx - u.yy + u.x, 5, 1),
}
UNCHANGED = {
    "no sum": ("tx", "u", lambda u: u.t * u.xx),
    "a square": ("tx", "u", lambda u: (u.t - u.xx) ** 2),
    "a factor that varies": ("tx", "u", lambda u, x: u.t - x * u.xx),
    "also used by itself": ("tx", "u", lambda u: u.t - u.xx + u * u.t * u.xx),
    "a coefficient to learn": ("tx", "u", lambda u: u.t - torch.ones(1) * u.xx),
    "a single derivative": ("tx", "u", lambda u: u.x - u),
    "nothing to gain": ("tx", "uv", lambda u, v: (u.t - u.xx, v.t - 2 * v.xx)),
    "no derivative": ("tx", "u", lambda u: u - 1),
}


def lowered(inputs, outputs, residual):
    code = residual.__code__
    return lower(residual, code.co_varnames[: code.co_argcount], inputs, outputs)[:2]


def channels(derivatives):
    return len(make_plan(derivatives).channels)


@pytest.mark.parametrize("case", CASES)
def test_fewer_channels_same_residuals(case):
    inputs, outputs, residual, before, after = CASES[case]
    given = lowered(inputs, outputs, residual)
    collapsed = collapse_derivatives(*given)
    assert (channels(given[0]), channels(collapsed[0])) == (before, after)
    network, x = (
        MLP(len(inputs), [12, 12], len(outputs)).double(),
        torch.rand(9, len(inputs)).double(),
    )
    found, exact = (
        evaluate_residual(*program, network.jet(x, derivatives), x, torch.empty(0))
        for derivatives, program in (collapsed, given)
    )
    assert len(found) == len(exact)
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", UNCHANGED)
def test_what_cannot_be_gathered(case):
    given = lowered(*UNCHANGED[case])
    assert collapse_derivatives(*given) == given


def test_nothing_is_left_of_a_residual():
    derivatives, program = collapse_derivatives(*lowered("tx", "u", lambda u: 0 * u.t))
    assert derivatives == ()
    assert repr(program) == 'ResidualProgram("constant 0.0; residual 0")'


def test_loss_is_that_of_the_residuals(device):
    torch.manual_seed(0)
    network = MLP(2, [20, 20], 1).to(device, torch.float64)
    x = torch.rand(50, 2, device=device, dtype=torch.float64)
    burgers = Burgers()
    exact = burgers.residuals(network, x)[0].square().mean()
    found = burgers.loss(network, x)
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=0)
    parameters = list(network.parameters())
    grads = (torch.autograd.grad(loss, parameters) for loss in (found, exact))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_number_that_changes_is_seen():
    class Heat(Equation):
        inputs, outputs = "tx", "u"
        diffusivity = 1.0

        def residual(self, u):
            return u.t - self.diffusivity * u.xx

    heat, network, x = Heat(), MLP(2, [8], 1), torch.rand(5, 2)
    first = heat.loss(network, x)
    heat.diffusivity = 2.0
    assert heat.loss(network, x) != first


def test_the_operator_of_burgers():
    given = lowered("tx", "u", lambda u: u.t + u * u.x - 0.5 * u.xx)
    derivatives, program = collapse_derivatives(*given)
    assert derivatives == ((1,), LinearOperator({(0,): 1.0, (1, 1): -0.5}))
    expected = "channel 0 0; channel 1 0; mul 0 1; channel 2 0; add 2 3; residual 4"
    assert repr(program) == f'ResidualProgram("{expected}")'


@pytest.mark.parametrize("small", [1e-35, 1e-25])
def test_coefficients_far_apart(small):
    residual = lambda u: small * u.t + u.xx / small**0.2  # noqa: E731
    derivatives, program = collapse_derivatives(*lowered("tx", "u", residual))
    network, x = MLP(2, [8], 1), torch.rand(9, 2)
    found = network.jet_loss(x, derivatives, program)
    exact = (network.jet(x, [(1, 1)])[1] / small**0.2).square().mean()
    torch.testing.assert_close(found, exact)


def test_factors_that_overflow_stay_apart():
    given = lowered("tx", "u", lambda u: 1e200 * (1e200 * (u.t + u.xx)))
    assert collapse_derivatives(*given) == given


def test_long_and_shared_sums():
    def forced(u, x):
        total = u.t - u.xx
        for k in range(3000):
            total = total + torch.sin(k * x)
        return total

    def doubled(u):
        total = u.t - u.xx
        for _ in range(60):
            total = total + total
        return total

    def nested(u, x):
        for _ in range(3000):
            x = torch.sin(x)
        return u.t - u.xx + x

    for inputs, residual in (("tx", forced), ("tx", doubled), ("tx", nested)):
        (operator,), _ = collapse_derivatives(*lowered(inputs, "u", residual))
        assert operator == LinearOperator({(0,): 1, (1, 1): -1})
