"""Parts of the gallery's problems that no residual shows, each as on paper.

Domains, where conditions have their points, constants other than the usual ones, what the hard
forms multiply the network with, and pressures.
"""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.nn import MLP
from pyneural.pde import gallery
from pyneural.pde.gallery import GALLERY
from tests.pde.gallery_paper import (
    HARD,
    PI,
    burgers,
    dispersive,
    fisher,
    heat,
    helmholtz,
    inside,
    lorenz,
    lotka_volterra,
    on_paper,
    small_network,
    steady_flow,
    wake,
    wave,
)

UNIT, RING = (0, 1), {"t": (0, 1), "x": (-1, 1)}


def cube(dim):
    return {f"x{i}": UNIT for i in range(1, dim + 1)}


DOMAINS = {
    "allen-cahn": RING,
    "burgers": RING,
    **{f"cavity{re}": {"x": UNIT, "y": UNIT} for re in ("", "-400", "-1000", "-3200")},
    "cylinder": {"t": (0, 6), "x": (1, 8), "y": (-2, 2)},
    "euler-beam": {"t": (0, 3), "x": UNIT},
    "heat": {"t": UNIT, "x": UNIT},
    **{f"heat-{dim}d": {"t": UNIT, **cube(dim)} for dim in (2, 5, 10)},
    "helmholtz": {"x": (-1, 1), "y": (-1, 1)},
    "kdv": RING,
    "kdv-raissi": RING,
    "kovasznay": {"x": (-0.5, 1), "y": (-0.5, 1.5)},
    "kuramoto-sivashinsky": RING,
    "ks-chaotic": {"t": UNIT, "x": (0, 2 * PI)},
    "lorenz": {"t": UNIT},
    "lotka-volterra": {"t": (0, 10)},
    "poisson": cube(2),
    **{f"poisson-{dim}d": cube(dim) for dim in (1, 5, 10)},
    "reaction-diffusion": {"t": UNIT, "x": (-5, 15)},
    "schroedinger": {"t": (0, PI / 2), "x": (-5, 5)},
    "solitons": {"t": (0, 12), "x": (-12, 12)},
    "taylor-green": {"t": UNIT, "x": (0, PI), "y": (0, PI)},
    "wave": {"t": UNIT, "x": UNIT},
}


@pytest.mark.parametrize("name", GALLERY)
def test_domain(name):
    domain, expected = GALLERY[name]().domain, DOMAINS[name]
    assert domain.names == tuple(expected)
    low, high = (torch.tensor(bound).double() for bound in zip(*expected.values(), strict=True))
    torch.testing.assert_close(domain.low, low)
    torch.testing.assert_close(domain.high, high)


ON_RING = {"initial": "t_low", "boundary": "x_low"}  # and at the other end of the period
AROUND = "x_low x_high y_low y_high"
ENDS = "x_low x_high"
# The faces on which each condition has its points.
FACES = {
    "allen-cahn": ON_RING,
    "burgers": {"initial": "t_low", "boundary": ENDS},
    "cavity": {"u": AROUND, "v": AROUND, "pressure": "x_low y_low"},
    "cylinder": {"u": "", "v": "", "pressure": "x_low y_low"},
    "euler-beam": {"initial": "t_low", "velocity": "t_low", "boundary": ENDS, "moment": ENDS},
    "heat": {"initial": "t_low", "boundary": ENDS},
    "heat-2d": {"initial": "t_low", "boundary": "x1_low x1_high x2_low x2_high"},
    "helmholtz": {"boundary": AROUND},
    "kdv": ON_RING,
    "kovasznay": {"u": AROUND, "v": AROUND, "pressure": "x_low y_low"},
    "kuramoto-sivashinsky": ON_RING,
    "ks-chaotic": ON_RING,
    "lorenz": {"initial": "t_low"},
    "lotka-volterra": {"initial": "t_low"},
    "poisson": {"boundary": "x1_low x1_high x2_low x2_high"},
    "reaction-diffusion": {"initial": "t_low", "boundary": ENDS},
    "schroedinger": {"initial": "t_low", "boundary": ENDS},
    "solitons": {"initial": "t_low", "boundary": ENDS, "slope": "x_high"},
    "taylor-green": {
        "initial u": "t_low", "initial v": "t_low", "boundary u": AROUND, "boundary v": AROUND,
        "pressure": "x_low y_low",
    },
    "wave": {"initial": "t_low", "velocity": "t_low", "boundary": ENDS},
}  # fmt: skip


@pytest.mark.parametrize("name", FACES)
def test_where_the_conditions_are(name):
    problem = GALLERY[name]()
    domain = problem.domain
    options = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    conditions = problem.conditions(43, **options)
    assert list(conditions) == list(FACES[name])
    for label, condition in conditions.items():
        x, faces = condition.points, FACES[name][label].split()
        on = {
            f"{coordinate}_{side}": x[:, d] == getattr(domain, side)[d]
            for d, coordinate in enumerate(domain.names)
            for side in ("low", "high")
        }
        if label == "pressure":  # a corner
            assert all(on[face].all() for face in faces)
        elif faces:
            assert sorted(face for face, hit in on.items() if hit.any()) == sorted(faces), label
            assert torch.stack([on[face] for face in faces]).any(0).all(), label


@pytest.mark.parametrize("name", FACES)
def test_points_of_the_conditions_are_shared_evenly(name):
    problem = GALLERY[name]()
    single = () if name == "taylor-green" else ("pressure",)  # there on one point, or on those of u
    for count in (41, 42, 43, 44):
        conditions = problem.conditions(count)
        assert {condition.points.dtype for condition in conditions.values()} == {torch.float32}
        found = [len(each.points) for label, each in conditions.items() if label not in single]
        if name == "cylinder":
            assert found == [count, count]
        else:
            even, rest = divmod(count, len(found))
            assert found == [even + 1] * rest + [even] * (len(found) - rest)


@pytest.mark.parametrize(
    ("name", "order"),
    [("allen-cahn", 2), ("kdv", 3), ("kuramoto-sivashinsky", 4), ("ks-chaotic", 4)],
)
def test_as_many_derivatives_match_on_a_ring_as_the_equation_needs(name, order):
    boundary = GALLERY[name]().conditions(4)["boundary"]
    assert boundary.derivatives == tuple((1,) * k for k in range(1, order))


@pytest.mark.parametrize(
    ("name", "state", "size"),
    [("lorenz", (-8.0, 7.0, 27.0), 20), ("lotka-volterra", (2.0, 1.0), 1)],
)
def test_where_motions_begin(name, state, size):
    motion = GALLERY[name]()
    condition = motion.conditions(3, dtype=torch.float64)["initial"]
    assert condition.target.tolist() == [list(state)] * 3
    network = small_network(motion)
    plain = size * network.network(condition.points)
    torch.testing.assert_close(network(condition.points), plain)
    assert tuple(motion.hard(network)(condition.points)[0].tolist()) == state


def flow(nu):
    return lambda d, x: steady_flow(d, x, nu)


def growing_flow(nu):
    return lambda d, x: steady_flow(d, x, nu, d("u", "t"), d("v", "t"))


# Constants that are not the usual ones, nor 1, where a power of them does not show.
OTHERS = {
    "burgers": (lambda: gallery.Burgers(0.05), burgers(0.05)),
    "heat-2d": (lambda: gallery.Heat(0.3, 2), heat(0.3)),
    "helmholtz": (lambda: gallery.Helmholtz(3.0), helmholtz(3)),
    "kdv": (lambda: gallery.KdV(0.3), dispersive(0.3)),
    "kovasznay": (lambda: gallery.Kovasznay(0.1), flow(0.1)),
    "lorenz": (lambda: gallery.Lorenz(2.0, -3.0, 4.0), lorenz(2, -3, 4)),
    "lotka-volterra": (
        lambda: gallery.LotkaVolterra(2.0, 3.0, 4.0, 5.0), lotka_volterra(2, 3, 4, 5),
    ),
    "reaction-diffusion": (lambda: gallery.ReactionDiffusion(1.5), fisher(1.5)),
    "taylor-green": (lambda: gallery.TaylorGreen(0.3), growing_flow(0.3)),
    "wave": (lambda: gallery.Wave(2.0), wave(2)),
}  # fmt: skip
SOLVED = ["heat-2d", "helmholtz", "kovasznay", "reaction-diffusion", "taylor-green", "wave"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_constants(name, nested):
    make, law = OTHERS[name]
    problem = make()
    network, x = small_network(problem), inside(problem)
    expected = on_paper(law, problem, network, x, nested)
    for one, other in zip(problem.residuals(network, x), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    if name in SOLVED:
        for residual in on_paper(law, problem, problem.solution, x, nested):
            assert residual.detach().abs().max() < 1e-9


def test_constants_of_the_cylinder_are_where_they_belong(nested):
    wake_flow = gallery.Cylinder().double()
    assert wake_flow.truth == {"lambda_1": 1.0, "lambda_2": 0.01}
    network, x = small_network(wake_flow), inside(wake_flow)
    with torch.no_grad():
        wake_flow.lambda_1.fill_(0.7)
        wake_flow.lambda_2.fill_(0.3)
    expected = on_paper(lambda d, x: wake(d, x, 0.7, 0.3), wake_flow, network, x, nested)
    for one, other in zip(wake_flow.residuals(network, x), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_measurements_of_the_cylinder_are_those_of_the_file():
    wake_flow = gallery.Cylinder()
    conditions = wake_flow.conditions(2000, dtype=torch.float64)
    (points, fields), u, v = wake_flow.fields(), conditions["u"], conditions["v"]
    assert torch.equal(u.points, v.points)
    assert [conditions[label].output for label in ("u", "v", "pressure")] == [0, 1, 2]
    corner = conditions["pressure"]
    assert torch.equal(corner.points[:, 0], u.points[:, 0])
    assert (corner.target == 0).all()
    # Both velocities are near those of the field, at places about its three times.
    near = (u.points[:, 0] - 3).abs() < 0.1
    assert near.sum() > 5
    for where, *measured in zip(u.points[near], u.target[near], v.target[near], strict=True):
        nearest = (points - where).norm(dim=1).argmin()
        for column, value in enumerate(measured):
            assert abs(fields[nearest, column] - value) < 0.25


def bubble(*x):
    return math.prod(4 * value * (1 - value) for value in x)


def of_walls(x, y):
    walls = bubble(x, y)
    return torch.stack([walls, walls, 1 - (1 - x) * (1 - y)], 1)


def from_0_to_1(x, low, high):
    return (x - low) / (high - low)


# B(x) of u = A(x) + B(x) N(x).
DISTANCES = {
    **dict.fromkeys(
        ("allen-cahn", "burgers", "kdv", "kdv-raissi", "kuramoto-sivashinsky", "ks-chaotic"),
        lambda t, x: t,
    ),
    **dict.fromkeys(("cavity", "cavity-400", "cavity-1000", "cavity-3200"), of_walls),
    **dict.fromkeys(("heat", "heat-2d", "heat-5d", "heat-10d"), lambda t, *x: t * bubble(*x)),
    "helmholtz": lambda x, y: (1 - x**2) * (1 - y**2),
    "lorenz": lambda t: t,
    "lotka-volterra": lambda t: t,
    **dict.fromkeys(("poisson", "poisson-1d", "poisson-5d", "poisson-10d"), bubble),
    "reaction-diffusion": lambda t, x: t * (x + 5) * (15 - x) / 400,
    "schroedinger": lambda t, x: t * (5 - x) * (5 + x) / 25,
    "solitons": lambda t, x: t * (x + 12) * (12 - x) ** 2 / 24**3,
    "wave": lambda t, x: t**2 * (PI * x).sin(),
}


@pytest.mark.parametrize("name", HARD)
def test_what_a_hard_form_multiplies_the_network_with(name):
    problem = GALLERY[name]()
    one, other = small_network(problem), small_network(problem)
    x = inside(problem)
    distance = DISTANCES[name](*x.T)
    distance = distance if distance.dim() == 2 else distance[:, None]
    found = problem.hard(one)(x) - problem.hard(other)(x)
    torch.testing.assert_close(found, distance * (one(x) - other(x)), rtol=1e-9, atol=1e-12)


def test_distance_of_burgers_without_a_period():
    burgers = gallery.Burgers()
    one, other = (MLP(2, [7], 1).double() for _ in range(2))
    x = inside(burgers)
    distance = (x[:, 0] * (1 - x[:, 1]) * (1 + x[:, 1]))[:, None]
    found = burgers.hard(one)(x) - burgers.hard(other)(x)
    torch.testing.assert_close(found, distance * (one(x) - other(x)), rtol=1e-9, atol=1e-12)


def test_diffusion_rounds_the_ends_of_allen_cahn(nested):
    """What the lift adds to the start solves the heat equation, and takes the kink away."""
    problem = gallery.AllenCahn()
    lift = problem.hard(small_network(problem)).lift
    x = inside(problem, 200)
    x[:, 1] = x[:, 1].sign() * (1 - 0.05 * x[:, 1].abs())  # diffusion reaches 0.02 by t = 1

    def added(points):
        return (lift(*points.T) - problem.initial(points[:, 1]))[:, None]

    rate, curved = nested(added, x, (0,)), nested(added, x, (1, 1))
    assert rate.abs().max() > 1e-3
    assert (rate - 1e-4 * curved).abs().max() < 1e-9 * rate.abs().max()
    ends = torch.tensor([[0.3, -1.0], [0.3, 1.0], [1.0, -1.0], [1.0, 1.0]]).double()
    slope = nested(lambda points: lift(*points.T)[:, None], ends, (1,))
    assert slope.abs().max() < 1e-9


def test_pressures_are_those_of_the_paper():
    x, y = torch.tensor([[0.0, 0.3, 0.9], [0.1, 0.0, 1.2]]).double()
    rate = 20 - math.sqrt(400 + 4 * PI**2)  # of Kovasznay's flow at Re = 40
    pressure = gallery.Kovasznay().exact(x, y)[:, 2]
    torch.testing.assert_close(pressure, 0.5 - 0.5 * (2 * rate * x).exp())
    t = torch.tensor([0.0, 0.5, 1.0]).double()
    pressure = gallery.TaylorGreen().exact(t, x, y)[:, 2]
    expected = -0.25 * ((2 * x).cos() + (2 * y).cos()) * (-0.4 * t).exp()
    torch.testing.assert_close(pressure, expected)


def test_lift_of_poissons_problem_fades_out_inside():
    problem = gallery.Poisson(3)
    network = small_network(problem)
    x = inside(problem)
    squared = ((x - 0.5) ** 2).sum(1)
    lift = (-squared).exp() * (1 - bubble(*x.T))
    found = problem.hard(network)(x) - bubble(*x.T)[:, None] * network(x)
    torch.testing.assert_close(found[:, 0], lift)


def test_two_solitons_are_where_the_paper_says(nested):
    """Twice the second derivative of log F, with k = 1 and 0.6, that begin at -6 and -1."""
    x = inside(gallery.Solitons())

    def log_f(points):
        t, place = points[:, :1], points[:, 1:]
        fast = (place + 6 - t).exp()
        slow = (0.6 * (place + 1) - 0.216 * t).exp()
        return (1 + fast + slow + fast * slow / 16).log()

    torch.testing.assert_close(gallery.Solitons().solution(x), 2 * nested(log_f, x, (1, 1)))


def test_inputs_of_the_network_go_as_far_as_the_recipe_says():
    flame = GALLERY["ks-chaotic"]()
    embedding, layers = flame.network()
    x = torch.tensor([[0.0, math.pi / 2], [1.0, 0.0]])
    low, high = (torch.as_tensor(bound) for bound in layers.input_range)
    scaled = 2 * (embedding(x) - low) / (high - low) - 1
    torch.testing.assert_close(scaled, 8 * torch.tensor([[-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
