"""Columns mean the same in equation, domain, conditions, network, predictions, or are refused."""

import numpy as np
import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import Adam

BOX = pde.Box(t=(0, 1), x=(-1, 1))
TURNED = pde.Box(x=(-1, 1), t=(0, 1))


def heat(names="tx"):
    class Heat(pde.Equation):
        inputs, outputs = names, "u"

        def residual(self, u):
            return u.t - u.xx

    return Heat()


def network(**options):
    torch.manual_seed(0)
    return nn.MLP(2, [6], 1, **options)


def pinn(**options):
    given = {"equation": heat(), "domain": BOX, "points": 20} | options
    conditions = given.pop("conditions", None) or {"start": pde.Initial(BOX, 0.0, 5)}
    return models.PINN(given.pop("network", network()), conditions, **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"equation": heat("xt")},
            r"PINN: equation: expected the inputs t, x, as the domain has, got x, t; give both",
        ),
        ({"domain": TURNED}, r"PINN: equation: expected the inputs x, t, .* got t, x"),
        (
            {"domain": pde.Box(t=(0, 1), y=(-1, 1))},
            r"PINN: equation: expected the inputs t, y, .* got t, x",
        ),
        (
            {"conditions": {"start": pde.Initial(TURNED, 0.0, torch.zeros(1, 2))}},
            r"PINN: conditions\['start'\]: expected the inputs t, x, as the domain has, got x, t",
        ),
        (
            {"conditions": {"ring": pde.Periodic(TURNED, "x", torch.tensor([[1.0, 0.0]]))}},
            r"PINN: conditions\['ring'\]: expected the inputs t, x",
        ),
        (
            {"conditions": {"data": pde.Data(torch.zeros(1, 2), torch.zeros(1), domain=TURNED)}},
            r"PINN: conditions\['data'\]: expected the inputs t, x",
        ),
        (
            {"network": pde.Hard(network(), "xt", 0.0, lambda t: t)},
            r"PINN: network: expected the inputs t, x, as the domain has, got x, t",
        ),
        (
            {"network": network(input_range=TURNED.range)},
            r"PINN: network: expected input_range \[\(0.0, 1.0\), \(-1.0, 1.0\)\], as the domain "
            r"has for t, x, got .* another order; write input_range=domain.range",
        ),
        (
            {"network": pde.Hard(network(input_range=TURNED.range), "tx", 0.0, lambda t: t)},
            "PINN: network: expected input_range",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_other_names_or_another_order_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pinn(**options)


def embedded(input_range):
    """Periodic in x: the network gets t, cos and sin of x."""
    embedding = nn.PeriodicEmbedding("tx", {"x": 2.0})
    return torch.nn.Sequential(embedding, nn.MLP(3, [6], 1, input_range=input_range))


def scaled(domain):
    return nn.Scaled(nn.MLP(2, [6], 1), input_range=domain.range)


WAVES = ([0.0, -1.0, -1.0], [1.0, 1.0, 1.0])
SWAPPED = ([-1.0, 0.0, -1.0], [1.0, 1.0, 1.0])
COMPOSED = {
    "Sequential": lambda domain: torch.nn.Sequential(network(input_range=domain.range)),
    "Scaled around": lambda domain: nn.Scaled(network(input_range=domain.range), scale=2.0),
    "Scaled": scaled,
    "Hard of Scaled": lambda domain: pde.Hard(scaled(domain), "tx", 0.0, lambda t: t),
    "Joined": lambda domain: nn.Joined([network(), network(input_range=domain.range)]),
    "Joined columns": lambda domain: nn.Joined(
        [network(input_range=[bound.flip(0) for bound in domain.range])], [(1, 0)]
    ),
    "embedding": lambda domain: embedded(WAVES if domain is BOX else SWAPPED),
    "embedding of a network": lambda domain: nn.ModifiedMLP(
        2, 6, 1, embedding=nn.Scaled(nn.MLP(2, [], 6), input_range=domain.range)
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_an_input_range_in_another_order_is_found_in_compositions(name):
    outputs = {"output": 0} if name.startswith("Joined") else {}
    conditions = {"start": pde.Initial(BOX, 0.0, 5, **outputs)}
    options = {"conditions": conditions}
    if name == "Joined":  # two outputs
        options |= {"equation": None}
    pinn(network=COMPOSED[name](BOX), **options)
    with pytest.raises(ValueError, match=r"PINN: network: expected input_range .*another order; "):
        pinn(network=COMPOSED[name](TURNED), **options)


def test_an_input_range_of_its_own_is_let_through():
    for own in (network(input_range=(-3, 3)), embedded(None), embedded((-1, 1)), scaled(BOX)):
        pinn(network=own)
    pinn(network=nn.Scaled(network(), input_range=(-1, 1)))


def test_names_in_one_order_have_the_derivatives_of_finite_differences():
    h = 1e-4
    for domain, names in ((BOX, "tx"), (TURNED, "xt")):
        net = network(input_range=domain.range).double()
        conditions = {"start": pde.Initial(domain, 0.0, 5, dtype=torch.float64)}
        model = models.PINN(net, conditions, equation=heat(names), domain=domain, points=20)
        x = model.collocation
        t, s = torch.eye(2).double() if names == "tx" else torch.eye(2).double().flip(0)
        with torch.no_grad():
            u_t = (net(x + h * t) - net(x - h * t)) / (2 * h)
            u_xx = (net(x + h * s) - 2 * net(x) + net(x - h * s)) / h**2
        expected = (u_t - u_xx).square().mean()
        torch.testing.assert_close(model.losses()["residual"], expected, rtol=1e-5, atol=1e-9)


def test_parts_that_are_used_without_a_pinn_compare_names_too():
    hard = pde.Hard(network(), "xt", 0.0, lambda t: t)
    with pytest.raises(ValueError, match=r"Heat: network: expected the inputs t, x, as the equat"):
        heat().loss(hard, torch.rand(3, 2))
    with pytest.raises(
        ValueError, match=r"Initial: network: expected the inputs t, x, as the cond"
    ):
        pde.Initial(BOX, 0.0, 3).loss(hard)
    with pytest.raises(ValueError, match=r"Hard: network: expected the inputs t, x, as Hard has"):
        pde.Hard(hard, "tx", 0.0, 1.0)


def test_a_lift_with_more_columns_than_the_network_is_refused():
    def lift(x):
        return torch.stack([x, x], 1)

    with pytest.raises(ValueError, match=r"Hard: lift: expected .*\[N, 1\], a column.* got 2 col"):
        pde.Hard(network(), "tx", lift, 1.0)


def test_frames_are_read_by_the_names_of_their_columns():
    pandas = pytest.importorskip("pandas")
    model, points = pinn(), BOX.sample(7)
    expected = model.predict(points).numpy()
    frame = pandas.DataFrame({"x": points[:, 1], "note": np.arange(7), "t": points[:, 0]})
    np.testing.assert_array_equal(model.predict(frame), expected)
    assert model.relative_l2(frame, expected) == 0
    np.testing.assert_array_equal(model.predict(pandas.DataFrame(points.numpy())), expected)
    with pytest.raises(ValueError, match=r"PINN.predict: x: expected the columns t, x, got x, s; "):
        model.predict(frame[["x"]].assign(s=0.0))


def test_a_period_that_does_not_fit_into_the_domain_is_reported(recwarn):
    def periodic(inputs="tx", **periods):
        embedding = nn.PeriodicEmbedding(inputs, periods or {1: 6.28})
        return torch.nn.Sequential(embedding, nn.MLP(embedding.out_features, [4], 1))

    for fits in (periodic(x=2.0), periodic(x=1.0), periodic(t=3.0, x=2.0)):
        pinn(network=fits)
    assert not [w for w in recwarn if "PeriodicEmbedding" in str(w.message)]
    for differs in (periodic(x=6.28), periodic(2), nn.Joined([periodic(x=6.28)])):
        with pytest.warns(UserWarning, match=r"length 2 of x, got 6.28: .*write \{'x': 2\}"):
            pinn(network=differs)


def test_collocation_points_and_candidates_as_arrays_lists_and_frames():
    pandas = pytest.importorskip("pandas")
    x = BOX.sample(12, dtype=torch.float32)
    frame = pandas.DataFrame(x.numpy()[:, ::-1], columns=["x", "t"])
    exact = pinn(points=x)
    for points in (x.numpy(), frame):
        model = pinn(points=points)
        assert torch.equal(model.collocation, x)
        assert torch.equal(model.losses()["residual"], exact.losses()["residual"])
        assert len(pinn(points=np.int64(7)).collocation) == 7
        drawn = pinn(points=5, candidates=points).collocation
        assert all(bool((row == x).all(1).any()) for row in drawn)
    double = pinn(points=x.tolist(), network=network().double(), conditions={
        "start": pde.Initial(BOX, 0.0, 5, dtype=torch.float64)})  # fmt: skip
    assert torch.equal(double.collocation, x.double())
    with pytest.raises(ValueError, match=r"PINN: points: expected dtype torch.float32 like"):
        pinn(points=x.double().numpy())
    with pytest.raises(ValueError, match="PINN: candidates: expected a tensor or an array"):
        pinn(points=5, candidates=["a"])


@pytest.mark.filterwarnings("ignore:.*nested autograd")
def test_a_derivative_of_a_field_that_is_a_network():
    class Diffusion(pde.Equation):
        inputs, outputs = "tx", "u"

        def __init__(self):
            super().__init__()
            self.k = nn.MLP(1, [4], 1)

        def residual(self, u, x):
            return u.t - (self.k(x[:, None])[:, 0] * u.x).x

    model = pinn(equation=Diffusion())
    before = [p.detach().clone() for p in model.equation.k.parameters()]
    model.fit(Adam(2), progress=False)
    for old, new in zip(before, model.equation.k.parameters(), strict=True):
        assert not torch.equal(old, new)
    x = model.collocation.double().requires_grad_()
    model.double()
    u = model.network(x)
    d = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
    flux = model.equation.k(x[:, 1:])[:, 0] * d[:, 1]
    r = d[:, 0] - torch.autograd.grad(flux.sum(), x)[0][:, 1]
    found = model.losses()["residual"]
    torch.testing.assert_close(found, r.square().mean(), rtol=1e-10, atol=0)
    lost = torch.ones((), requires_grad=True)
    Diffusion.residual = lambda self, u, x: u.t - (lost * self.k(x[:, None])[:, 0] * u.x).x
    with pytest.raises(ValueError, match=r"a tensor \[\] that requires a gradient and would not"):
        pinn(equation=Diffusion())


def test_names_of_outputs_in_another_order_are_refused():
    class Waves(pde.Equation):
        inputs, outputs = "tx", "uv"

        def residual(self, u, v):
            return u.t - v.x, v.t - u.x

    def wall(residual, outputs, part="x_low"):
        return pde.Operator(residual, 5, domain=BOX, part=part, outputs=outputs)

    def build(equation=None, **conditions):
        torch.manual_seed(0)
        net = nn.MLP(2, [6], 2)
        return models.PINN(net, conditions, equation=equation, domain=BOX, points=20)

    turned = wall(lambda v: v - 3, "vu")
    message = (
        r"PINN: conditions\['wall'\]: expected the outputs u, v, as the equation has, got v, u;"
    )
    with pytest.raises(ValueError, match=message):
        build(Waves(), wall=turned)
    with pytest.raises(ValueError, match=r"\['b'\]: .* u, v, as conditions\['a'\] has, got v, u;"):
        build(a=wall(lambda u, v: u - v, "uv"), b=wall(lambda u, v: u + v, "vu", "x_high"))
    # Names of its own for all columns are no contradiction.
    good = build(Waves(), wall=wall(lambda q: q - 3, "pq"))
    expected = (good.network(good.conditions["wall"].points)[:, 1] - 3).square().mean()
    torch.testing.assert_close(good.losses()["wall"], expected)
