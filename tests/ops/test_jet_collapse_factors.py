"""Equal factors and divisors of derivatives in a sum, taken out to save channels."""

import random

import pytest
import torch

from pyneural.ops import (
    Laplacian,
    LinearOperator,
    ResidualProgram,
    collapse_derivatives,
    record_residual,
)
from pyneural.ops.jet.derivatives import partials_of
from pyneural.ops.jet.plan import make_plan
from pyneural.ops.jet.residual import CHANNEL, evaluate_residual
from pyneural.pde.language.lowering import lower

POINTS = 20
LAPLACIAN = LinearOperator({(0, 0): 1, (1, 1): 1})
# residual of a = u_xx, b = u_yy and others, and the channels that are left of it
CASES = {
    "multiplied": (lambda a, b, k: k * (a + b), 1),
    "multiplied out": (lambda a, b, k: k * a + b * k, 1),
    "signs": (lambda a, b, k: -(k * a) - k * (-b), 1),
    "constants": (lambda a, b, k, u_x: (k * (2 * a) + k * b / 4) / 3 - 5 * (k * u_x), 1),
    "a multiple": (lambda a, b, k: (-2 * k) * a + b * (k / 4), 1),
    "several multiples": (lambda a, b, k: k * a - (2 * k) * a + k * b, 1),
    "nested sums": (lambda a, b, k, u, v: (u + (k * a - v)) - (v - (u + b * k)), 1),
    "sums in the product": (lambda a, b, k, u: k * (a - u) + (b + torch.tanh(u)) * k, 1),
    "products in products": (lambda a, b, k, j: j * (k * a) + (b * k) * j, 1),
    "a product": (lambda a, b, k, j: (j * k) * a + (k * j) * b, 1),
    "a function": (lambda a, b, k: torch.sin(k) * a + torch.sin(k) * b, 1),
    "a function of u": (lambda a, b, u: (1 + u**2) * a + (1 + u**2) * b, 1),
    "a coordinate": (lambda a, b, x: x * a + x * b, 1),
    "a coefficient": (lambda a, b, c: c * a + c * b, 1),
    "an output": (lambda a, b, u: u * a + u * b, 1),
    "another output": (lambda a, b, v: v * a + v * b, 1),
    "a derivative": (lambda a, b, v_x: v_x * a + v_x * b, 2),
    "its own square": (lambda a, b, u_x: u_x * a + u_x * b + u_x * u_x, 2),
    "used elsewhere": (lambda a, b, k, u: k * a + k * b + torch.exp(k) * u - k, 1),
    "two multipliers": (lambda a, b, k, j: (k * a + j * a) + (k * b + j * b), 1),
    "two multipliers and constants": (
        lambda a, b, k, j: k * (a + b) + j * (3 * a + 3 * b) + a + b,
        1,
    ),
    "two outputs": (lambda a, b, k, v_xx, v_yy: (k * a + k * b, k * v_xx + v_yy * k), 1),
    "two outputs in one": (lambda a, b, k, v_xx, v_yy: k * (a - v_yy) + k * (b - v_xx), 1),
    "divided": (lambda a, b, k: (a + b) / k, 1),
    "divided out": (lambda a, b, k: a / k - b / (-2 * k), 1),
    "inverse": (lambda a, b, k: (1 / k) * a + (1 / k) * b, 1),
    "cancelled": (lambda a, b, k, u: k * (a + b) - k * b + u, 1),
    "weighted": (lambda a, b, k, j: k * (j * (a + b) - j), 1),
    "one derivative needed alone": (lambda a, b, k, u_x: k * (a + b + u_x) + torch.sin(u_x), 2),
}
UNCHANGED = {
    "two multipliers": lambda a, b, k, j: k * a + j * b,
    "as many operators": lambda a, b, k, j: k * (a + b) + j * (a - b),
    "more operators": lambda a, b, k, j, u: k * (a + b) + j * (a - b) + u * (a + 2 * b),
    "needed alone": lambda a, b, k: k * a + k * b + a * b,
    "multiplier and divisor": lambda a, b, k: k * a + b / k,
    "inverse and divisor": lambda a, b, k: (1 / k) * a + b / k,
    "grouped otherwise": lambda a, b, k, j: (j * k) * a + j * (k * b),
    "a divisor": lambda a, b, k: k / (k * a + k * b),
    "a root": lambda a, b, k: torch.sqrt(k * (a + b)),
    "a square": lambda a, b, k: (k * a + k * b) ** 2,
    "constants far apart": lambda a, b, k: k * a + 1e-12 * (k * b),
    "one of each output": lambda a, k, v_yy: k * a + k * v_yy,
}


def recorded(function):
    """Derivatives and program of a function of named values."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    places = {"u": None, "v": None, "u_x": (0,), "v_x": (0,), "a": (0, 0), "b": (1, 1)}
    places |= {"v_xx": (0, 0), "v_yy": (1, 1)}
    wanted = {places[name] for name in names if places.get(name)}
    derivatives = tuple(sorted(wanted))

    def residual(jet, x, c, columns):
        def value(name):
            if name in places:
                order = derivatives.index(places[name]) + 1 if places[name] else 0
                return jet[order, 1 if name.startswith("v") else 0]
            return {"x": x[0], "c": c[0], "k": columns[0], "j": columns[1]}[name]

        return function(**{name: value(name) for name in names})

    return derivatives, record_residual(residual)


def drawn(draw, dtype=torch.float64):
    """Partial derivatives of two outputs by their indices, and the other values of programs."""
    indices = [(), (0,), (1,), (0, 0), (0, 1), (1, 1)]
    partials = {i: torch.randn(POINTS, 2, dtype=dtype) for i in indices}
    return partials, [draw(POINTS, 2), draw(1), draw(2, POINTS)]


def evaluated(derivatives, program, partials, others):
    """The residuals."""
    channels = [partials[()]]
    channels += [sum(c * partials[i] for i, c in partials_of(d)) for d in derivatives]
    return evaluate_residual(*program, channels, *others)


def check_equal(given, collapsed):
    """Residuals, and the gradients of their sum."""
    partials, others = drawn(lambda *size: torch.rand(size, dtype=torch.float64) + 0.5)
    leaves = [value.requires_grad_() for value in (*partials.values(), *others)]
    options = {"allow_unused": True, "materialize_grads": True}
    found, exact = (
        [*residuals, *torch.autograd.grad(sum(r.sum() for r in residuals), leaves, **options)]
        for residuals in (evaluated(*each, partials, others) for each in (collapsed, given))
    )
    for a, b in zip(found, exact, strict=True):
        size = float(b.detach().abs().max().clamp(min=1))
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * size)


def channels(derivatives):
    return len(make_plan(derivatives).channels)


@pytest.mark.parametrize("case", CASES)
def test_a_factor_is_taken_out(case):
    function, after = CASES[case]
    given = recorded(function)
    collapsed = collapse_derivatives(*given)
    assert len(collapsed[0]) == after < len(given[0])
    assert channels(collapsed[0]) < channels(given[0])
    assert len(collapsed[1].code) <= len(given[1].code) + 3
    check_equal(given, collapsed)


@pytest.mark.parametrize("case", UNCHANGED)
def test_what_has_no_common_factor(case):
    given = recorded(UNCHANGED[case])
    assert collapse_derivatives(*given) == given


def test_the_program():
    derivatives, program = collapse_derivatives(*recorded(lambda a, b, k: k * a + b * k))
    assert derivatives == (LAPLACIAN,)
    assert repr(program) == 'ResidualProgram("column 0; channel 1 0; mul 0 1; residual 2")'
    _, program = collapse_derivatives(*recorded(lambda a, b, k: a / k + b / k))
    assert repr(program) == 'ResidualProgram("column 0; channel 1 0; div 1 0; residual 2")'


@pytest.mark.parametrize("field", ["erf", "square", "u"])
def test_divergence_of_a_flux(field):
    def residual(u, x, y):
        k = {"erf": lambda: torch.erf(x * y), "square": lambda: x**2, "u": lambda: u**2}[field]()
        return ((1 + k) * u.x).x + ((1 + k) * u.y).y - x

    points = torch.rand(POINTS, 2, dtype=torch.float64)
    given = lower(residual, ["u", "x", "y"], "xy", "u", points=points)
    derivatives, _ = collapse_derivatives(given.derivatives, given.program)
    assert LAPLACIAN in derivatives
    # as many as u.laplacian itself has, beside the slopes
    assert channels(derivatives) == channels((Laplacian(0, 1),)) < channels(given.derivatives)


def random_program(number):
    """Sums of derivatives times factors, each written in one of many ways, and other terms."""
    draw = random.Random(number)
    asked = tuple(draw.sample([(0, 0), (0, 1), (1, 1), (0,), Laplacian(0, 1)], 3))

    def residual(jet, x, c, columns):
        fields = [jet[0, 0], jet[0, 1], x[0], c[0], columns[0], columns[1], jet[1, 1]]
        slopes = [jet[1 + k, 0] for k in range(3)]
        factors = [*draw.sample(fields, 2), torch.cos(columns[0]), columns[0] * x[0]]

        def combined(values):
            values = [draw.choice([v, -v, 2 * v, v / 3, v - draw.choice(fields)]) for v in values]
            draw.shuffle(values)
            return sum(values[1:], values[0]) if draw.random() < 0.5 else values[0] - values[-1]

        def times(factor, values):
            written = draw.randrange(4)
            if written == 0:
                return factor * combined(values)
            if written == 1:
                return combined(values) / factor
            if written == 2:
                return combined([value / factor for value in values])
            return combined(
                [draw.choice([factor * v, v * factor, (3 * factor) * v]) for v in values]
            )

        values = [times(draw.choice(factors), draw.sample(slopes, 2)) for _ in range(3)]
        values.append(draw.choice([*values, torch.sin(draw.choice(slopes)), c[0]]))
        values.append(times(draw.choice(factors), draw.sample(values, 2)))
        return [
            combined(draw.sample(values, draw.randint(1, 3))) for _ in range(draw.randint(1, 2))
        ]

    return pruned(asked, record_residual(residual))


def pruned(derivatives, program):
    """Without the derivatives that no value needs."""
    lines = [tuple(program.code[k : k + 3]) for k in range(0, len(program.code), 3)]
    needed, values = {line[1] for line in lines if line[0] == 0}, list(program.instructions())
    for value in reversed(range(len(lines))):
        if value in needed and values[value].is_function:
            needed.update(values[value].operands)
    used = sorted({lines[v][1] for v in needed if lines[v][0] == CHANNEL and lines[v][1]})
    number = {channel: 1 + place for place, channel in enumerate(used)}
    code = [(o, number.get(a, 0), b) if o == CHANNEL else (o, a, b) for o, a, b in lines]
    flat = tuple(element for line in code for element in line)
    return tuple(derivatives[c - 1] for c in used), ResidualProgram(flat, program.constants)


def test_random_programs():
    torch.manual_seed(0)
    fewer = 0
    for number in range(100):
        given = random_program(number)
        collapsed = collapse_derivatives(*given)
        assert (channels(collapsed[0]) < channels(given[0])) == (collapsed != given)
        fewer += collapsed != given
        check_equal(given, collapsed)
    assert fewer > 20


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_finite_stays_so(case):
    given = recorded(CASES[case][0])
    collapsed = collapse_derivatives(*given)
    torch.manual_seed(0)

    def extreme(*size):
        return torch.tensor([0.0, 1e-30, -1.0, 1e30])[torch.randint(4, size)]

    for _ in range(10):
        data = drawn(extreme, torch.float32)
        for a, b in zip(evaluated(*collapsed, *data), evaluated(*given, *data), strict=True):
            assert torch.equal(a.isfinite(), b.isfinite())
