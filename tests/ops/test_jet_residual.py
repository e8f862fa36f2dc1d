"""Residual programs: how they are recorded, shown and evaluated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyneural import _C
from pyneural.ops import NotExpressibleError, ResidualProgram, record_residual
from pyneural.ops.jet.residual import COLUMN, FUNCTIONS, evaluate_residual


def test_every_function_is_known_to_the_kernel_by_its_opcode():
    assert _C.residual_functions() == {name: f.opcode for name, f in FUNCTIONS.items()}
    opcodes = [*range(COLUMN + 1), *(f.opcode for f in FUNCTIONS.values())]
    assert len(set(opcodes)) == len(opcodes)


def test_equal_instructions_are_written_once():
    program = record_residual(lambda jet, x, c: (jet[0, 1] + 2 * x[0], 2 * x[0] - c[1]))
    assert repr(program) == (
        'ResidualProgram("channel 0 1; input 0; constant 2.0; mul 2 1; add 0 3; coefficient 1; '
        'sub 3 5; residual 4; residual 6")'
    )
    assert program == record_residual(lambda jet, x, c: (jet[0, 1] + 2 * x[0], 2 * x[0] - c[1]))
    assert len({program, program}) == 1


RECORDED = {
    "arithmetic": lambda jet, x, c: -(2 - jet[1, 0] / 3) * (x[0] - 1) + 1 / (c[0] + 1),
    "powers": lambda jet, x, c: jet[0, 0] ** 5 - x[1] ** -2 + (x[0] * x[0]) ** 0.5 + x[0] ** 1,
    "torch names": lambda jet, x, c: torch.subtract(torch.multiply(x[0], c[0]), jet[1, 0]),
    "methods": lambda jet, x, c: x[0].sin().square() + jet[0, 0].negative().absolute(),
    "reciprocal": lambda jet, x, c: torch.reciprocal(x[0]) + torch.pow(x[1], 3),
    "numpy": lambda jet, x, c: np.float64(2) * jet[0, 0] + x[1] * np.float32(0.5),
    "signs of zero": lambda jet, x, c: jet[0, 0] * 0.0 + jet[1, 0] * -0.0,
    "constants": lambda jet, x, c: (2, c[0], x[1]),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_program_has_the_values_of_its_function(name):
    generator = torch.Generator().manual_seed(0)
    channels, x, c = (
        torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.5
        for shape in ((2, 7, 1), (7, 2), (1,))
    )
    found = evaluate_residual(*record_residual(RECORDED[name]), channels, x, c)
    exact = RECORDED[name](channels.movedim(2, 1), x.T, c)
    exact = exact if isinstance(exact, tuple) else (exact,)
    assert len(found) == len(exact)
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, torch.as_tensor(b, dtype=torch.float64).expand(7))


@pytest.mark.parametrize(
    "residual",
    [
        lambda jet, x, c: torch.sinh(x[0]),
        lambda jet, x, c: x[0] ** 1.5,
        lambda jet, x, c: 2 ** x[0],
        lambda jet, x, c: x[0] if x[0] else x[1],
        lambda jet, x, c: x[0] * float("inf"),
        lambda jet, x, c: x[0] * torch.ones(3),
        lambda jet, x, c: torch.add(x[0], x[1], alpha=2),
        lambda jet, x, c: x[0].sum(),
        lambda jet, x, c: "x",
    ],
)
def test_what_has_no_instruction(residual):
    with pytest.raises(NotExpressibleError):
        record_residual(residual)


def test_constants_of_both_signs_of_zero():
    program = record_residual(lambda jet, x, c: (1 / (x[0] * 0 + 0.0), 1 / (x[0] * 0 + -0.0)))
    assert {str(value) for value in program.constants} == {"1.0", "0.0", "-0.0"}


def test_a_program_is_its_two_lists():
    program = record_residual(lambda jet, x, c: jet[0, 0] - 0.5)
    assert ResidualProgram(*program) == program
    assert program.constants == (0.5,)
