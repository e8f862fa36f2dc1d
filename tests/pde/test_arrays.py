"""Points and values as NumPy arrays, lists and frames, where a tensor may stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyneural import nn, pde

BOX = pde.Box(t=(0, 1), x=(-1, 1))
RNG = np.random.default_rng(0)
INSIDE = RNG.random((5, 2))
AT_START = INSIDE * [0, 1]
AT_END = INSIDE * [1, 0] + [0, 1]
VALUES = RNG.random(5)

MADE = {
    "data": (lambda points, values: pde.Data(points, values), INSIDE),
    "data in a domain": (lambda points, values: pde.Data(points, values, domain=BOX), INSIDE),
    "initial": (lambda points, values: pde.Initial(BOX, values, points), AT_START),
    "dirichlet": (lambda points, values: pde.Dirichlet(BOX, values, points), AT_END),
    "neumann": (lambda points, values: pde.Neumann(BOX, values, points), AT_END),
    "periodic": (lambda points, values: pde.Periodic(BOX, "x", points), AT_END),
    "operator": (
        lambda points, values: pde.Operator(lambda u: u.x, points, value=values, domain=BOX),
        INSIDE,
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_condition_of_arrays(name):
    make, points = MADE[name]
    expected = make(torch.from_numpy(points), torch.from_numpy(VALUES))
    network = nn.MLP(2, [5], 1).double()
    kinds = [(points, VALUES), (points.tolist(), VALUES.tolist()), (points, VALUES[:, None])]
    for given, values in kinds:
        found = make(given, values)
        torch.testing.assert_close(found.points, expected.points, rtol=0, atol=0)
        torch.testing.assert_close(found.target, expected.target, rtol=0, atol=0)
        torch.testing.assert_close(found.loss(network), expected.loss(network), rtol=0, atol=0)
    with pytest.raises(ValueError, match="points: expected a tensor or an array"):
        make(object(), VALUES)


def test_later_changes_of_an_array_do_not_matter():
    points = INSIDE.copy()
    points.flags.writeable = False
    values = VALUES.copy()
    condition = pde.Data(points, values)
    values[:] = 7
    torch.testing.assert_close(condition.target[:, 0], torch.from_numpy(VALUES))


def test_further_points_of_an_operator():
    def operator(kind):
        return pde.Operator(
            lambda u, other: u - other.u, kind(INSIDE), inputs="tx", pairs={"other": kind(AT_END)}
        )

    def integral(kind):
        weights = kind(np.full(5, 0.2))
        return pde.Operator(lambda u: u, kind(INSIDE), inputs="tx", quadrature=weights)

    network = nn.MLP(2, [5], 1).double()
    for make in (operator, integral):
        expected = make(torch.from_numpy).loss(network)
        torch.testing.assert_close(make(np.asarray).loss(network), expected, rtol=0, atol=0)


def test_columns_of_a_frame_are_taken_by_name():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": INSIDE[:, 1], "u": VALUES, "t": INSIDE[:, 0]})[::-1]
    found = pde.Data(frame, frame["u"], domain=BOX)
    torch.testing.assert_close(found.points, torch.from_numpy(INSIDE).flip(0))
    torch.testing.assert_close(found.target[:, 0], torch.from_numpy(VALUES).flip(0))
    with pytest.raises(ValueError, match=r"Data: points: expected a domain .* got none; give dom"):
        pde.Data(frame, VALUES)
    with pytest.raises(ValueError, match=r"Data: points: expected the columns t, x, got x, u;"):
        pde.Data(frame[["x", "u"]], VALUES, domain=BOX)


def test_what_holds_no_points():
    network, x = nn.MLP(2, [5], 1).double(), INSIDE
    composed = torch.nn.Sequential(nn.PeriodicEmbedding("tx", {"x": 2.0}), nn.MLP(3, [5], 1))
    burgers = pde.Burgers()
    for call in (
        lambda: burgers.loss(network, x),
        lambda: burgers.residuals(network, x),
        lambda: BOX.check(x),
        lambda: nn.jet(composed, x, [(0,)]),
        lambda: network.jet(x, [(0,)]),
        lambda: composed(x),
    ):
        with pytest.raises(ValueError, match="expected a tensor, got ndarray; convert it with"):
            call()
    with pytest.raises(ValueError, match="Data: points: expected floating-point numbers"):
        pde.Data(torch.ones(3, 2, dtype=torch.long), torch.ones(3))


@pytest.mark.parametrize(
    "network",
    [
        torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)),
        torch.nn.Sequential(nn.PeriodicEmbedding("tx", {"x": 2.0}), nn.MLP(3, [5], 1)),
    ],
    ids=["torch's", "embedding"],
)
def test_points_of_another_dtype(network):
    x, expected = torch.from_numpy(INSIDE), r"x: expected torch.float32 as the network's weights, "
    with pytest.raises(ValueError, match=f"jet: {expected}got torch.float64; convert it"):
        nn.jet(network, x, [(0,)])
    with pytest.raises(ValueError, match=f"jet_loss: {expected}got torch.float64; convert it"):
        pde.Burgers().loss(network, x)


def test_embeddings_refuse_other_numbers_of_coordinates():
    for embedding in (nn.PeriodicEmbedding("tx", {"x": 2.0}), nn.FourierFeatures(2, 4)):
        for width in (1, 3):
            with pytest.raises(ValueError, match=rf"x: expected \[\.\.\., 2\], got \[4, {width}\]"):
                embedding(torch.rand(4, width))
