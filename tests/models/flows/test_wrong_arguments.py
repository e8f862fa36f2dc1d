"""Arguments of flows that do not fit are named, with what was expected and a remedy."""

from __future__ import annotations

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.models import CNF, MAF, NCSF, NSF, RealNVP

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
SMALL = {"transforms": 1, "hidden_features": [8]}

CONSTRUCTORS = {
    "no features": (lambda: NSF(0), r"NSF: features: expected a whole number >= 1, got 0"),
    "features of a fraction": (lambda: MAF(2.5), r"MAF: features: expected a whole number"),
    "negative context": (lambda: RealNVP(3, -1), r"RealNVP: context: .* >= 0, got -1"),
    "no transforms": (lambda: MAF(3, transforms=0), r"MAF: transforms: .* >= 1, got 0"),
    "no coupling": (lambda: RealNVP(3, transforms=0), r"RealNVP: transforms: .* >= 1, got 0"),
    "no bins": (lambda: NSF(3, bins=0), r"NSF: bins: expected a whole number >= 1, got 0"),
    "no bins of a circle": (lambda: NCSF(3, bins=0), r"NCSF: bins: expected a whole number"),
    "frequencies": (lambda: CNF(3, freqs=-1), r"CNF: freqs: .* >= 0, got -1"),
    "one width": (lambda: MAF(3, hidden_features=64), r"hidden_features: .*, got 64; write \[64"),
    "layer without units": (lambda: MAF(3, hidden_features=[8, 0]), r"MaskedMLP: hidden_features"),
    "coupling without units": (lambda: RealNVP(3, hidden_features=[0]), r"MLP: hidden_features"),
    "name of an activation": (lambda: MAF(3, activation="relu"), r"activation: .*, got 'relu'"),
    "module as activation": (lambda: CNF(3, activation=torch.nn.ELU()), r"got ELU.*; write torch"),
    "bounds of one feature": (
        lambda: NSF(2, bounds=(0.0, 1.0)),
        r"bounds: expected \(low, high\) or None for each feature, got 0.0 for column 0; write as",
    ),
    "three bounds": (lambda: NSF(1, bounds=[(0, 1, 2)]), r"bounds: .*, got \(0, 1, 2\) for column"),
    "bounds that are a number": (lambda: NSF(2, bounds=1.0), r"NSF: bounds: expected 2, .* 1.0"),
    "bounds of a period": (
        lambda: NSF(2, bounds=[360, None], periodic=[True, False]),
        r"NSF: bounds: expected \(low, high\) or None for each feature, got 360 for column 0",
    ),
    "one truth value": (lambda: NSF(3, periodic=True), r"NSF: periodic: expected 3, .* got True"),
}


@pytest.mark.parametrize(("make", "message"), CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_constructors(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("model", [NSF, NCSF, RealNVP])
def test_values_and_contexts(model):
    conditional, plain = model(3, 2, **SMALL), model(3, **SMALL)
    for value, got in ((X.long(), "torch.int64"), (X > 0, "torch.bool")):
        with pytest.raises(ArgumentError, match=f"value: expected floating-point .*, got {got}"):
            plain().log_prob(value)
    with pytest.raises(ArgumentError, match="value: expected a tensor, got ndarray"):
        plain().log_prob(X.numpy())
    with pytest.raises(ArgumentError, match="context: expected a tensor, got list"):
        conditional([0.0, 1.0])
    message = r"value: expected rows that broadcast with \[7\] of the context, got \[6, 3\]; give a"
    with pytest.raises(ArgumentError, match=message):
        conditional(torch.zeros(7, 2)).log_prob(X)
    assert conditional(torch.zeros(7, 1, 2)).log_prob(X).shape == (7, 6)


def test_a_single_row():
    flow = NSF(3, **SMALL)
    flow.compile("adam")
    with pytest.raises(ArgumentError, match="fit: x: expected two or more rows, got 1; give more"):
        flow.fit(X[:1], verbose=0)
