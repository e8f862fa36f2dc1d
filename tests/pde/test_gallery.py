"""Each problem of the gallery against its equation as on paper, written here a second time.

The residual is compared on a random network, and the reference is put into the paper's equation
and into the conditions: by nested autograd, which knows nothing of jets and recorders.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import pytest
import torch

from pyneural.nn import MLP
from pyneural.ops import LinearOperator
from pyneural.pde import Periodic, gallery
from pyneural.pde.gallery import GALLERY
from pyneural.pde.gallery.periodic import is_periodic

PI = math.pi
EXACT = [
    "burgers", "euler-beam", "heat", "helmholtz", "kdv", "kovasznay", "poisson", "poisson-1d",
    "poisson-10d", "reaction-diffusion", "schroedinger", "taylor-green", "wave",
]  # fmt: skip


class ByAutograd(torch.nn.Module):
    """A function of points as a network whose jets are nested autograd's."""

    def __init__(self, function, nested):
        super().__init__()
        self.function, self.nested = function, nested

    def forward(self, x):
        return self.function(x)

    def jet(self, x, derivatives):
        jets = [self.function(x)]
        for asked in derivatives:
            if isinstance(asked, LinearOperator):
                parts = [c * self.nested(self.function, x, i) for i, c in asked.partials]
                jets.append(torch.stack(parts).sum(0))
            else:
                jets.append(self.nested(self.function, x, asked))
        return tuple(jets)


def poisson(d, x):
    r2 = ((x - 0.5) ** 2).sum(1)
    names = [f"x{i + 1}" for i in range(x.shape[1])]
    return sum(d("u", f"{n}_{n}") for n in names) + (2 * x.shape[1] - 4 * r2) * (-r2).exp()


def steady_flow(d, x, nu, u_t=0.0, v_t=0.0):
    u, v = d("u"), d("v")
    return (
        u_t + u * d("u", "x") + v * d("u", "y") + d("p", "x") - nu * (d("u", "xx") + d("u", "yy")),
        v_t + u * d("v", "x") + v * d("v", "y") + d("p", "y") - nu * (d("v", "xx") + d("v", "yy")),
        d("u", "x") + d("v", "y"),
    )


def wake(d, x):
    """With the constants at 0, where their learning begins."""
    u_t, v_t = d("u", "t") + d("p", "x"), d("v", "t") + d("p", "y")
    return u_t, v_t, d("u", "x") + d("v", "y")


def cubic(d, sign):
    """Of i h_t + h_xx / 2 + |h|^2 h = 0, the real (1) or imaginary part (-1)."""
    u, v = d("u"), d("v")
    h = torch.complex(u, v)
    h_t, h_xx = torch.complex(d("u", "t"), d("v", "t")), torch.complex(d("u", "xx"), d("v", "xx"))
    left = 1j * h_t + 0.5 * h_xx + h.abs() ** 2 * h
    return left.real if sign > 0 else left.imag


# The equations: residuals by d(output, derivative) and the points.
PAPER = {
    "allen-cahn": lambda d, x: d("u", "t") - 0.001 * d("u", "xx") - 5 * (d("u") - d("u") ** 3),
    "burgers": lambda d, x: d("u", "t") + d("u") * d("u", "x") - 0.01 / PI * d("u", "xx"),
    "cavity": lambda d, x: steady_flow(d, x, 1 / 100),
    "cylinder": wake,
    "euler-beam": lambda d, x: d("u", "tt") + d("u", "xxxx") / PI**4,
    "heat": lambda d, x: d("u", "t") - 0.1 * d("u", "xx"),
    "helmholtz": lambda d, x: (
        d("u", "xx") + d("u", "yy") + d("u")
        - (1 - PI**2 - (4 * PI) ** 2) * (PI * x[:, 0]).sin() * (4 * PI * x[:, 1]).sin()
    ),
    "kdv": lambda d, x: d("u", "t") + 6 * d("u") * d("u", "x") + d("u", "xxx"),
    "kovasznay": lambda d, x: steady_flow(d, x, 1 / 40),
    "kuramoto-sivashinsky": lambda d, x: (
        d("u", "t") + 5 * d("u") * d("u", "x") + 0.5 * d("u", "xx") + 0.005 * d("u", "xxxx")
    ),
    "lorenz": lambda d, x: (
        d("x", "t") - 10 * (d("y") - d("x")),
        d("y", "t") - (d("x") * (15 - d("z")) - d("y")),
        d("z", "t") - (d("x") * d("y") - 8 / 3 * d("z")),
    ),
    "lotka-volterra": lambda d, x: (
        d("u", "t") - (d("u") - d("u") * d("v")), d("v", "t") - (d("u") * d("v") - d("v")),
    ),
    "poisson": poisson,
    "poisson-1d": poisson,
    "poisson-10d": poisson,
    "reaction-diffusion": lambda d, x: (
        d("u", "t") - d("u", "xx") - 6 * d("u") * (1 - d("u"))
    ),
    "schroedinger": lambda d, x: (cubic(d, 1), cubic(d, -1)),
    "taylor-green": lambda d, x: steady_flow(d, x, 0.1, d("u", "t"), d("v", "t")),
    "wave": lambda d, x: d("u", "tt") - d("u", "xx"),
}  # fmt: skip


def on_paper(name, problem, function, x, nested):
    """Residuals of the equation in PAPER of a function of points, [N] each."""

    def d(output, derivative=""):
        separate = derivative.split("_") if "_" in derivative else list(derivative)
        indices = tuple(problem.inputs.index(part) for part in separate)
        return nested(function, x, indices)[:, problem.outputs.index(output)]

    result = PAPER[name](d, x)
    return result if isinstance(result, tuple) else (result,)


@functools.cache
def reference(name):
    return GALLERY[name]().test_grid()


def inside(problem, n=20):
    return problem.domain.sample(n, dtype=torch.float64)


def small_network(problem):
    problem.recipe = replace(problem.recipe, hidden=(7, 7))
    return problem.network().double()


def test_all_are_here():
    assert set(PAPER) == set(GALLERY)
    assert set(gallery.__all__) >= {type(make()).__name__ for make in GALLERY.values()}


@pytest.mark.parametrize("name", GALLERY)
def test_residual_is_that_of_the_paper(name, nested):
    problem = GALLERY[name]()
    network, x = small_network(problem), inside(problem)
    expected = on_paper(name, problem, network, x, nested)
    got = problem.residuals(network, x)
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    loss = sum(part.square().mean() for part in expected)
    torch.testing.assert_close(problem.loss(network, x), loss, rtol=1e-9, atol=1e-9)  # fused


@pytest.mark.parametrize("name", [name for name in EXACT if name != "burgers"])
def test_exact_solution_solves_the_equation_on_paper(name, nested):
    problem = GALLERY[name]()
    x = inside(problem)
    for residual in on_paper(name, problem, problem.solution, x, nested):
        assert residual.detach().abs().max() < 1e-9


def test_cole_hopf_solves_burgers_equation():
    problem = gallery.Burgers(0.05)
    x, h = inside(problem), 1e-3

    def u(t, x):
        return problem.exact(x[:, 0] + t * h, x[:, 1])

    def at(t, s):
        return problem.exact(x[:, 0] + t * h, x[:, 1] + s * h)

    x[:, 0] = 0.1 + 0.8 * x[:, 0]
    weights = torch.tensor([1 / 12, -2 / 3, 0, 2 / 3, -1 / 12], dtype=torch.float64) / h
    second = torch.tensor([-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12], dtype=torch.float64) / h**2
    steps = range(-2, 3)
    u_t = sum(w * at(k, 0) for k, w in zip(steps, weights, strict=True))
    u_x = sum(w * at(0, k) for k, w in zip(steps, weights, strict=True))
    u_xx = sum(w * at(0, k) for k, w in zip(steps, second, strict=True))
    assert (u_t + at(0, 0) * u_x - 0.05 * u_xx).abs().max() < 1e-7


@pytest.mark.parametrize("name", EXACT)
def test_exact_solution_meets_the_conditions(name, nested):
    problem = GALLERY[name]()
    exact = ByAutograd(problem.solution, nested)
    conditions = problem.conditions(60, dtype=torch.float64)
    for label, condition in conditions.items():
        assert condition.loss(exact) < 1e-18, label
    more = lambda x: 0.1 + (x + x**2).sum(1, keepdim=True)  # noqa: E731
    wrong = ByAutograd(lambda x: problem.solution(x) + more(x), nested)
    for label, condition in conditions.items():
        assert condition.loss(wrong) > 1e-4, label


HARD = [
    "allen-cahn", "burgers", "heat", "helmholtz", "kuramoto-sivashinsky", "lorenz",
    "lotka-volterra", "wave",
]  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_form_meets_the_conditions(name):
    problem = GALLERY[name]()
    network = problem.hard(small_network(problem))
    if name == "burgers":  # periodic is enough, see its hard()
        start = problem.conditions(30, dtype=torch.float64)["initial"]
        assert start.loss(network) < 1e-28
        assert Periodic(problem.domain, "x", 30, order=4, dtype=torch.float64).loss(network) < 1e-20
        network = problem.hard(MLP(2, [7, 7], 1).double())
    for label, condition in problem.conditions(30, dtype=torch.float64).items():
        assert condition.loss(network) < 1e-20, label
    # It leaves the network free inside.
    x = inside(problem)
    other = problem.hard(small_network(problem))
    assert ((network(x) - other(x)).abs().amin(0) > 0).all()


def test_a_ring_needs_a_network_that_is_periodic():
    ring = gallery.KuramotoSivashinsky()
    good = small_network(ring)
    assert is_periodic(good, ring.domain)
    torch.nn.init.zeros_(good[1].layers[-1].weight)  # constant at first
    ring.hard(good)
    bad = MLP(2, [7], 1)
    for _ in range(2):
        assert not is_periodic(bad, ring.domain)
        with pytest.raises(ValueError, match=r"Sivashinsky.hard: network: expected one that is"):
            ring.hard(bad)
        torch.nn.init.zeros_(bad.layers[-1].weight)
    # Periodic without an embedding, and with a wrong period.
    ring.hard(lambda x: torch.sin(PI * x[:, 1:]) + x[:, :1])
    with pytest.raises(ValueError, match="expected one that is periodic in x"):
        ring.hard(lambda x: torch.sin(3 * x[:, 1:]) + x[:, :1])


@pytest.mark.parametrize("name", GALLERY)
def test_width_of_networks(name):
    problem = GALLERY[name]()
    sizes = [p.shape for p in problem.network([5, 3]).parameters()]
    assert [size[0] for size in sizes] == [5, 5, 3, 3, len(problem.outputs), len(problem.outputs)]
    x = inside(problem, 3).float()
    assert problem.network()(x).shape == (3, len(problem.outputs))


@pytest.mark.parametrize("name", [name for name in GALLERY if name not in HARD])
def test_without_a_hard_form(name):
    problem = GALLERY[name]()
    assert not problem.recipe.hard
    with pytest.raises(ValueError, match=r"\.hard: expected a problem whose conditions can"):
        problem.hard(small_network(problem))


# u(0, x) as on paper.
STARTS = {
    "allen-cahn": lambda x: x**2 * (PI * x).cos(),
    "euler-beam": lambda x: (PI * x).sin(),
    "kuramoto-sivashinsky": lambda x: -(PI * x).sin(),
    "burgers": lambda x: -(PI * x).sin(),
    "heat": lambda x: (PI * x).sin() + 0.5 * (3 * PI * x).sin(),
    "wave": lambda x: (PI * x).sin() + 0.5 * (4 * PI * x).sin(),
    "reaction-diffusion": lambda x: (1 + x.exp()) ** -2,
}


@pytest.mark.parametrize("name", STARTS)
def test_start(name):
    condition = GALLERY[name]().conditions(40, dtype=torch.float64)["initial"]
    assert (condition.points[:, 0] == 0).all()
    torch.testing.assert_close(condition.target[:, 0], STARTS[name](condition.points[:, 1]))


def test_two_solitons_start_as_the_paper_says():
    condition = gallery.Schroedinger().conditions(40, dtype=torch.float64)["initial"]
    torch.testing.assert_close(condition.target[:, 0], 2 / condition.points[:, 1].cosh())
    assert condition.target[:, 1].abs().max() < 1e-14


def test_solitons_keep_their_heights_and_shift():
    """Before and after the collision the crests are k^2 / 2 high, the faster one ahead at last."""
    kdv = gallery.KdV()
    x = torch.linspace(-200, 200, 40001, dtype=torch.float64)
    for t, order in ((-100.0, (0.18, 0.5)), (100.0, (0.18, 0.5))):
        u = kdv.exact(torch.full_like(x, t), x).nan_to_num()
        crests = u[1:-1][(u[1:-1] > u[:-2]) & (u[1:-1] > u[2:]) & (u[1:-1] > 0.01)]
        order = order if t > 0 else order[::-1]
        torch.testing.assert_close(crests.tolist(), list(order), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["lorenz", "lotka-volterra"])
def test_reference_of_motions_is_scipys(name):
    integrate = pytest.importorskip("scipy.integrate")
    times, y = reference(name)

    def rates(t, state):
        a = state
        if name == "lorenz":
            return [10 * (a[1] - a[0]), a[0] * (15 - a[2]) - a[1], a[0] * a[1] - 8 / 3 * a[2]]
        return [a[0] - a[0] * a[1], a[0] * a[1] - a[1]]

    start = {"lorenz": [-8, 7, 27], "lotka-volterra": [2, 1]}[name]
    found = integrate.solve_ivp(
        rates, (0, float(times[-1])), start, "DOP853", times[:, 0].numpy(), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(y, torch.from_numpy(found.y.T), rtol=1e-8, atol=1e-8)
    assert (y[0] == y.new_tensor(start)).all()


def test_walls_of_the_cavity():
    cavity = gallery.Cavity()
    conditions = cavity.conditions(80, dtype=torch.float64)
    u, v = conditions["u"], conditions["v"]
    lid = u.points[:, 1] == 1
    assert 0 < lid.sum() < len(lid)
    assert (u.target[lid] == 1).all()
    assert (u.target[~lid] == 0).all()
    assert (v.target == 0).all()
    assert (u.output, v.output, conditions["pressure"].output) == (0, 1, 2)


def test_number_of_dimensions():
    for dim in range(1, 11):
        points, values = gallery.Poisson(dim).test_grid()
        assert points.shape[1] == dim
        torch.testing.assert_close(values[:, 0], (-((points - 0.5) ** 2).sum(1)).exp())
    for dim in (0, 11, 2.5):
        with pytest.raises(ValueError, match="Poisson: dim: expected"):
            gallery.Poisson(dim)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (gallery.Burgers, "nu"),
        (gallery.Heat, "alpha"),
        (gallery.Helmholtz, "k"),
        (gallery.Lorenz, "sigma"),
        (gallery.Lorenz, "beta"),
        (gallery.LotkaVolterra, "alpha"),
        (gallery.LotkaVolterra, "beta"),
        (gallery.LotkaVolterra, "gamma"),
        (gallery.LotkaVolterra, "delta"),
        (gallery.Wave, "c"),
        (gallery.ReactionDiffusion, "rho"),
        (gallery.TaylorGreen, "nu"),
        (gallery.Kovasznay, "nu"),
    ],
)
def test_constants_are_checked_and_learned(make, argument):
    where = f"{make.__name__}: {argument}: expected"
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"{where} a.* > 0, got {bad}"):
            make(**{argument: bad})
        with pytest.raises(ValueError, match=f"{where} a.* > 0, got {bad}"):
            make(**{argument: torch.nn.Parameter(torch.tensor(bad))})
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=f"{where} a finite number, got {bad}"):
            make(**{argument: bad})
    for bad in ("1", True, None, 1j):
        with pytest.raises(ValueError, match=f"{where} a number, got {bad}"):
            make(**{argument: bad})
    for bad in (torch.ones(2), torch.ones((), dtype=torch.complex64)):
        with pytest.raises(ValueError, match=f"{where} one real number, got torch"):
            make(**{argument: bad})
    constant = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    problem = make(**{argument: constant})
    assert list(problem.parameters()) == [constant]
    problem.loss(small_network(problem), inside(problem)).backward()
    assert constant.grad.abs() > 0


def test_lorenz_of_any_rayleigh_number():
    """Heated from above, too; but by a number."""
    assert gallery.Lorenz(rho=-3.0).rates(1.0, 0.0, 0.0)[1] == -3.0
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f"Lorenz: rho: expected a finite number, got {bad}"):
            gallery.Lorenz(rho=bad)
        with pytest.raises(ValueError, match="Box: t: expected finite bounds"):
            gallery.Lorenz(last=bad)


def test_too_few_points():
    with pytest.raises(ValueError, match=r"Heat.conditions: points: expected at least 2, got 1"):
        gallery.Heat().conditions(1)


@pytest.mark.parametrize("name", GALLERY)
def test_sections_are_in_the_domain(name):
    problem = GALLERY[name]()
    problem.test_grid = lambda: reference(name)
    if reference(name)[1].isnan().any():
        pytest.skip("drawn without a reference")
    points, values = problem.section_grid()
    problem.domain.check(points)
    assert values.shape == (len(points), len(problem.outputs))
    for coordinate, value in problem.section.items():
        assert (points[:, problem.domain.index(coordinate)] == value).all()
    assert len(problem.domain.names) - len(problem.section) in (1, 2)


def differences(u, axis, h, order):
    """First or second derivative on a grid by differences of fourth order, NaN at the ends."""
    weights = {1: [1, -8, 0, 8, -1], 2: [-1, 16, -30, 16, -1]}[order]
    found = sum(w * u.roll(2 - k, axis) for k, w in enumerate(weights)) / (12 * h**order)
    ends = [slice(None)] * u.dim()
    for ends[axis] in (slice(0, 2), slice(-2, None)):
        found[tuple(ends)] = math.nan
    return found


def test_reference_of_allen_and_cahn():
    problem = GALLERY["allen-cahn"]()
    points, u = reference("allen-cahn")
    u, x = u.reshape(problem.counts), points[: problem.counts[1], 1]
    dt, dx = 1 / (problem.counts[0] - 1), 2 / (problem.counts[1] - 1)
    u_t, u_xx = differences(u, 0, dt, 1), differences(u, 1, dx, 2)
    residual = (u_t - 0.001 * u_xx - 5 * (u - u**3))[2:-2, 2:-2]
    assert residual.square().mean().sqrt() < 0.01 * u_t.nan_to_num().square().mean().sqrt()
    torch.testing.assert_close(u[0], x**2 * (PI * x).cos(), rtol=1e-9, atol=1e-9)
    assert (u[:, [0, -1]] + 1).abs().max() < 1e-9


def test_reference_of_kuramoto_and_sivashinsky():
    """Derivatives in space by the Fourier series of the grid, in time by differences."""
    problem = GALLERY["kuramoto-sivashinsky"]()
    points, u = reference("kuramoto-sivashinsky")
    u = u.reshape(problem.counts)
    assert (u[:, 0] - u[:, -1]).abs().max() < 1e-9
    start, u = points[: problem.counts[1] - 1, 1], u[:, :-1]
    torch.testing.assert_close(u[0], -(PI * start).sin(), rtol=1e-9, atol=1e-9)
    k = 1j * PI * torch.fft.rfftfreq(u.shape[1], 1 / u.shape[1], dtype=torch.float64)
    u_x, u_xx, u_xxxx = (
        torch.fft.irfft(k**order * torch.fft.rfft(u), u.shape[1]) for order in (1, 2, 4)
    )
    u_t = differences(u, 0, points[-1, 0].item() / (problem.counts[0] - 1), 1)
    residual = (u_t + 5 * u * u_x + 0.5 * u_xx + 0.005 * u_xxxx)[5:-5]
    assert residual.square().mean().sqrt() < 0.02 * u_t[5:-5].square().mean().sqrt()


def test_ends_of_the_beam(nested):
    conditions = gallery.EulerBeam().conditions(40, dtype=torch.float64)
    assert list(conditions) == ["initial", "velocity", "boundary", "moment"]
    for label in ("boundary", "moment"):
        points = conditions[label].points
        assert ((points[:, 1] == 0) | (points[:, 1] == 1)).all()
    bent = ByAutograd(lambda x: x[:, 1:] ** 2 + 0 * x[:, :1], nested)
    assert conditions["moment"].loss(bent) == 4  # u_xx = 2


def test_wake_obeys_the_equations_and_has_vortices():
    points, values = gallery.Cylinder().fields()
    u, v, p = values.reshape(3, 57, 33, 3).unbind(-1)
    points = points.reshape(3, 57, 33, 3)
    dt, h = points[1, 0, 0, 0] - points[0, 0, 0, 0], points[0, 1, 0, 1] - points[0, 0, 0, 1]
    assert abs(p[:, 0, 0]).max() < 1e-6  # where it is counted from
    terms = {}
    for name, w, p_i in (
        ("u", u, differences(p[1], 0, h, 1)),
        ("v", v, differences(p[1], 1, h, 1)),
    ):
        slopes = [differences(w[1], axis, h, 1) for axis in (0, 1)]
        curved = sum(differences(w[1], axis, h, 2) for axis in (0, 1))
        w_t = (w[2] - w[0]) / (2 * dt)
        carried = u[1] * slopes[0] + v[1] * slopes[1]
        inner = slice(4, -4), slice(4, -4)
        residual = (w_t + carried + p_i - 0.01 * curved)[inner]
        assert residual.square().mean().sqrt() < 0.1 * w_t[inner].square().mean().sqrt()
        terms[name] = slopes
    divergence = (terms["u"][0] + terms["v"][1])[2:-2, 2:-2]
    assert (
        divergence.square().mean().sqrt() < 0.02 * terms["u"][1][2:-2, 2:-2].square().mean().sqrt()
    )
    assert v[1].max() > 0.3
    assert v[1].min() < -0.3


def test_measured_velocities_of_the_wake():
    wake = gallery.Cylinder()
    conditions = wake.conditions(500, dtype=torch.float64)
    assert [len(part.points) for part in conditions.values()] == [500] * 3
    # Those that were measured about t = 3 are near the field there.
    everything = wake.conditions(2000, dtype=torch.float64)["u"]
    points, values = wake.test_grid()
    near = (everything.points[:, 0] - 3).abs() < 0.01
    for where, u in zip(everything.points[near], everything.target[near], strict=True):
        distance = (points[:, 1:] - where[1:]).norm(dim=1)
        assert abs(values[distance.argmin(), 0] - u) < 0.15
    with pytest.raises(ValueError, match=r"Cylinder.conditions: points: expected at most 2,000"):
        wake.conditions(2001)


def test_constants_of_the_wake_are_learned():
    wake = gallery.Cylinder().double()
    wake.loss(small_network(wake), inside(wake)).backward()
    assert {name for name, p in wake.named_parameters() if p.grad.abs() > 0} == set(wake.truth)


def test_a_problem_without_an_exact_solution_says_so():
    points = torch.zeros(1, 2)
    with pytest.raises(NotImplementedError, match=r"AllenCahn.exact: there is none; test_grid\(\)"):
        gallery.AllenCahn().solution(points)
