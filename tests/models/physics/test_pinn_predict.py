"""Predictions of derivatives and expressions at new points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyneural import models, nn, pde
from tests.pde.expressions import Autograd

BOX = pde.Box(t=(0, 1), x=(-1, 1))


class System(pde.Equation):
    inputs, outputs, domain = "tx", "uv", BOX

    def residual(self, u, v, x):
        return u.t - v.x, (u * v).x - x


class Frame:
    """A frame with names of columns, as those of pandas and polars."""

    def __init__(self, columns, values):
        self.columns, self.values = columns, values

    def __getitem__(self, names):
        return self.values[:, [self.columns.index(name) for name in names]]


def pinn(outputs=2, equation=True, **more):
    torch.manual_seed(0)
    network = nn.MLP(2, [7], outputs).double()
    conditions = {"start": pde.Initial(BOX, 0.0, 5, dtype=torch.float64)} | more
    options = {"equation": System()} if equation else {"domain": BOX}
    return models.PINN(network, conditions, points=10, **options)


def test_derivatives_and_expressions_equal_nested_autograd():
    model, x = pinn(), BOX.sample(12, dtype=torch.float64)
    d = Autograd(model.network, x)
    found = model.predict(
        x, "u", "v.xx", "u.tx", lambda u, x: u.t + x * u.x, lambda u, v: (u * v).xx
    )
    expected = [
        d.u,
        d(d.v, 1, 1),
        d(d.u, 0, 1),
        d(d.u, 0) + d.x1 * d(d.u, 1),
        d(d.u * d.v, 1, 1),
    ]
    torch.testing.assert_close(found, torch.stack(expected, 1))
    assert not found.requires_grad
    torch.testing.assert_close(model.predict(x, "u", "v"), model.predict(x))
    residuals = torch.stack([d(d.u, 0) - d(d.v, 1), d(d.u * d.v, 1) - d.x1], 1)
    torch.testing.assert_close(model.predict(x, model.equation), residuals)
    torch.testing.assert_close(
        model.predict(x, lambda u, v: (u.x, v.t)), model.predict(x, "u.x", "v.t")
    )
    torch.testing.assert_close(model.predict(x, "u.x.t"), model.predict(x, "u.tx"))
    one = model.predict(x[:1], "u.xx", lambda u: torch.lgamma(3 + u))
    torch.testing.assert_close(one[0], torch.stack([d(d.u, 1, 1)[0], torch.lgamma(3 + d.u[0])]))


def test_many_points_in_parts_and_what_joins_points(monkeypatch):
    model, x = pinn(), BOX.sample(50, dtype=torch.float64)
    whole = model.predict(x, "u.x"), model.predict(x), model.predict(x, lambda u: u - u.mean())
    monkeypatch.setattr("pyneural.models.physics.prediction._CHUNK", 7)
    parts = model.predict(x, "u.x"), model.predict(x), model.predict(x, lambda u: u - u.mean())
    torch.testing.assert_close(parts, whole)
    u = model.network(x)[:, :1]
    torch.testing.assert_close(whole[-1], (u - u.mean()).detach())


def test_arrays_and_frames():
    model, x = pinn(), BOX.sample(6, dtype=torch.float64)
    expected = model.predict(x, "u.x", "v").numpy()
    found = model.predict(x.numpy(), "u.x", "v")
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected)
    frame = Frame(["x", "other", "t"], np.stack([x[:, 1], x[:, 1] * 0, x[:, 0]], 1))
    np.testing.assert_allclose(model.predict(frame, "u.x", "v"), expected)
    with pytest.raises(
        ValueError, match=r"predict: x: expected a tensor where gradients are wanted"
    ):
        model.predict(x.numpy(), "u", requires_grad=True)


def test_gradients_on_request():
    model, x = pinn(), BOX.sample(6, dtype=torch.float64).requires_grad_()
    d = Autograd(model.network, x)
    for expressions, expected in (((), d.u), (("u.xx",), d(d.u, 1, 1))):
        found = model.predict(x, *expressions, requires_grad=True)[:, 0]
        torch.testing.assert_close(found, expected)
        wanted = [*model.network.parameters()]
        options = {"materialize_grads": True, "retain_graph": True}
        mine = torch.autograd.grad(found.sum(), [*wanted, x], **options)
        theirs = torch.autograd.grad(expected.sum(), [*wanted, d.x], **options)
        torch.testing.assert_close(mine, theirs)
    with torch.no_grad():
        assert model.predict(x, "u.x", requires_grad=True).requires_grad


def test_names_of_outputs_without_an_equation():
    x = BOX.sample(6, dtype=torch.float64)
    model = pinn(1, equation=False)
    torch.testing.assert_close(model.predict(x, "u"), model.predict(x))
    slope = pde.Operator(lambda a: a.x, 4, domain=BOX, outputs="ab", dtype=torch.float64)
    model = pinn(2, equation=False, slope=slope)
    torch.testing.assert_close(model.predict(x, "a", "b"), model.predict(x))
    model = pinn(2, equation=False)
    torch.testing.assert_close(model.predict(x, "u0", "u1"), model.predict(x))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("w", "expected one of u, v, or a derivative of it as u.x, got 'w'; write another exp"),
        ("u.x + v", r"expected one of u, v, .*got 'u.x \+ v'; .* as a function"),
        ("u.zz", "u.zz: expected a derivative in t, x"),
        (lambda w: w, "expected names of outputs u, v and inputs t, x, got 'w'"),
        (3, "expected a name or a function, got int"),
    ],
)
def test_what_makes_no_sense_is_refused(expression, message):
    model, x = pinn(), BOX.sample(6, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        model.predict(x, expression)


class Source(pde.Equation):
    inputs, outputs, domain = "tx", "u", BOX

    def residual(self, u, **x):
        return u.t - sum(torch.sin(value) for value in x.values())


def test_all_other_inputs_of_a_residual():
    equation, x = Source(), BOX.sample(6, dtype=torch.float64)
    torch.manual_seed(0)
    network = nn.MLP(2, [7], 1).double()
    model = models.PINN(
        network,
        {"start": pde.Initial(BOX, 0.0, 5, dtype=torch.float64)},
        equation=equation,
        points=10,
    )
    d = Autograd(network, x)
    expected = d(d.u, 0) - torch.sin(d.t) - torch.sin(d.x1)
    torch.testing.assert_close(model.predict(x, equation)[:, 0], expected)
    torch.testing.assert_close(model.predict(x, lambda u, **x: sum(x.values()))[:, 0], x.sum(1))


def test_the_error_is_of_what_is_known_of_a_solution():
    flow = pde.gallery.Kovasznay()
    pinn = models.suggested_pinn(flow)
    points, values = (each[:30] for each in flow.test_grid())
    values[:17, 1:] = values[17:, ::2] = torch.nan
    found = pinn.predict(points)
    u, v = found[:17, 0] - values[:17, 0], found[17:, 1] - values[17:, 1]
    size = torch.cat([values[:17, 0], values[17:, 1]]).norm()
    expected = float(torch.cat([u, v]).norm() / size)
    assert pinn.relative_l2(points, values) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="known somewhere, got only nan"):
        pinn.relative_l2(points, values * torch.nan)
