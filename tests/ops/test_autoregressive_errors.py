"""What ops.autoregressive refuses, by name."""

from __future__ import annotations

import pytest

from pyneural import ops
from tests.ops.flow_layers import FlowLayer

WRONG = {
    "half precision of one": (
        lambda a: a | {"x": a["x"].half()},
        "x: expected float32 or float64, got Half",
    ),
    "a row alone": (lambda a: a | {"x": a["x"][0]}, r"x: expected shape \[rows, features\], got"),
    "no features": (lambda a: a | {"x": a["x"][:, :0]}, "x: expected shape .* at least one column"),
    "a context of other rows": (
        lambda a: a | {"context": a["context"][1:]},
        r"context: expected shape \[2, 2\], got \[1, 2\]; it must have a row for each of x",
    ),
    "no context": (
        lambda a: a | {"context": None},
        r"weights\[0\]: expected shape \[4, 3\], got \[4, 5\]; the inputs are the columns of x and",
    ),
    "a bias missing": (lambda a: a | {"biases": a["biases"][1:]}, "biases: expected 2 as there"),
    "a short bias": (
        lambda a: a | {"biases": [a["biases"][0], a["biases"][1][1:]]},
        r"biases\[1\]: expected shape \[24\], got \[23\]",
    ),
    "degrees of a layer missing": (
        lambda a: a | {"degrees": a["degrees"][:3]},
        r"degrees\[0\]: expected 7 of int64, one for each column of x and each hidden unit, on cpu",
    ),
    "degrees of another dtype": (
        lambda a: a | {"degrees": a["degrees"].int()},
        r"degrees\[0\]: expected 7 of int64",
    ),
    "no degrees": (
        lambda a: a | {"degrees": []},
        "degrees: expected a tensor for each layer of the flow, got 0 with 2 weights",
    ),
    "layers with other numbers of weights": (
        lambda a: a | {"degrees": [a["degrees"]] * 3},
        "degrees: expected a tensor for each layer of the flow, got 3 with 2 weights; all networks",
    ),
    "a network for another number of columns in the second layer": (
        lambda a: (
            a | {"degrees": [a["degrees"]] * 2, "biases": a["biases"] * 2,
                 "weights": [*a["weights"], a["weights"][0][:, :1], a["weights"][1]]}
        ),
        r"weights\[2\]: expected shape \[4, 5\], got \[4, 1\]; the inputs are the columns of x and",
    ),
    "an unknown activation": (lambda a: a | {"activation": "swish"}, "activation: expected one of"),
    "an unknown transform": (
        lambda a: a | {"transform": "linear"},
        'transform: expected affine or spline, got "linear"',
    ),
    "parameters of another transform": (
        lambda a: a | {"transform": "affine"},
        r"weights\[1\]: expected 6 outputs, shift and scale of each column of x, got 24",
    ),
    "an odd number of parameters": (
        lambda a: (
            a | {"weights": [a["weights"][0], a["weights"][1][:9]],
                 "biases": [a["biases"][0], a["biases"][1][:9]]}
        ),
        r"weights\[1\]: expected a multiple of 3 outputs, 3 bins - 1 for each column of x, got 9",
    ),
    "another number of features that stay": (
        lambda a: (
            a | {"weights": [a["weights"][0][:, 1:], a["weights"][1][:16]],
                 "biases": [a["biases"][0], a["biases"][1][:16]]}
        ),
        r"weights\[0\]: expected 5 columns, those of x and of the context, or 2 of the features of "
        r"order -1 and the context, got 4; see ops.coupling_degrees",
    ),
    "a negative bound": (lambda a: a | {"bound": -1.0}, "bound: expected a number from 1e-15 to"),
    "a slope above 1": (lambda a: a | {"slope": 2.0}, "slope: expected a number from 1e-06 to"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    layer = FlowLayer.random(3, 2, (4,), 2, bins=3)
    given = {
        "x": layer.x, "context": layer.context, "weights": layer.weights, "biases": layer.biases,
        "degrees": layer.degrees, "activation": "tanh", "transform": "spline",
    }  # fmt: skip
    change, text = WRONG[case]
    with pytest.raises(ValueError, match=f"autoregressive: {text}"):
        ops.autoregressive(**change(given))
