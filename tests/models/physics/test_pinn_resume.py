"""A training is resumed by the same problem only: another domain, equation or condition is refused.

What is the same is resumed bit by bit; the other tests of this folder see to that.
"""

import pytest
import torch

from pyneural import nn, pde
from pyneural.models import PINN
from pyneural.pde import Box, Dirichlet, Initial, Operator, Periodic
from pyneural.training import Adam, CheckpointError

BOX, SQUARE = Box(t=(0, 1), x=(-1, 1)), Box(x=(0, 1), y=(0, 1))
CORNERS = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]


class Diffusion(pde.Equation):
    """u_t = k u_xx, with a sink or without."""

    inputs, outputs = "tx", "u"

    def __init__(self, k, sink=False):
        super().__init__()
        self.k, self._sink = k, sink

    def residual(self, u):
        return u.t - self.k * u.xx + (u if self._sink else 0)


def pinn(domain=BOX, equation=None, condition=None):
    torch.manual_seed(0)
    if condition is None:
        middle = sum(domain.range)[None].float() / 2
        condition = pde.Data(middle, torch.zeros(1), output=0)
    outputs = 2 if equation is None else 1
    network = nn.MLP(domain.dim, [4], outputs)
    return PINN(network, {"given": condition}, equation=equation, domain=domain, points=10)


def ragged(shift):
    """A polygon of more corners than its repr shows."""
    angle = torch.arange(9) * 2 * torch.pi / 9
    corners = 0.5 + 0.3 * torch.stack([angle.cos(), angle.sin()], 1)
    corners[0, 0] += shift
    return pde.Polygon(corners)


def mesh(cells):
    return pde.Mesh(CORNERS, cells)


def cloud(x):
    return pde.PointCloud([(x, 0.0), (0.5, 0.5), *CORNERS], names="xy")


def drawn(kind, *arguments, **options):
    return {"condition": kind(*arguments, generator=torch.Generator().manual_seed(1), **options)}


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [
        ("domain", {"domain": BOX}, {"domain": Box(t=(0, 2), x=(-2, 2))}),
        ("domain", {"domain": mesh([(0, 1, 2), (0, 2, 3)])}, {"domain": mesh([(0, 1, 2)])}),
        ("domain", {"domain": cloud(0.2)}, {"domain": cloud(0.7)}),
        ("domain", {"domain": ragged(0.0)}, {"domain": ragged(0.1)}),
        ("domain", {"domain": SQUARE & ragged(0.0)}, {"domain": SQUARE & ragged(0.1)}),
        (
            "domain",
            {"domain": ragged(0.0).with_time(0, 1)},
            {"domain": ragged(0.1).with_time(0, 1)},
        ),
        ("equation", {"equation": Diffusion(1)}, {"equation": Diffusion(2)}),
        (
            "equation",
            {"equation": Diffusion(torch.tensor(1.0))},
            {"equation": Diffusion(torch.tensor(2.0))},
        ),
        ("residual", {"equation": Diffusion(1)}, {"equation": Diffusion(1, sink=True)}),
        (
            "conditions",
            drawn(Dirichlet, BOX, 0.0, 4, output=0),
            drawn(Dirichlet, BOX, 0.0, 4, output=1),
        ),
        ("conditions", drawn(Initial, BOX, 0.0, 4), drawn(Initial, BOX, 0.0, 4, order=1)),
        ("conditions", drawn(Periodic, BOX, "x", 4), drawn(Periodic, BOX, "x", 4, order=2)),
        (
            "conditions",
            drawn(Operator, lambda u, v: u.x - v, 4, domain=BOX, outputs="uv"),
            drawn(Operator, lambda u, v: u.x + v, 4, domain=BOX, outputs="uv"),
        ),
    ],
)
def test_another_problem_is_refused(key, first, second, tmp_path):
    path, quiet = tmp_path / "run.safetensors", {"progress": False}
    pinn(**first).fit(Adam(1), checkpoint=path, **quiet)
    pinn(**first).fit(Adam(2), checkpoint=path, resume=True, **quiet)
    with pytest.raises(CheckpointError, match=f"{key}: expected"):
        pinn(**second).fit(Adam(3), checkpoint=path, resume=True, **quiet)


def test_a_learned_constant_is_the_same_training(tmp_path):
    path = tmp_path / "run.safetensors"

    def learned():
        return Diffusion(torch.nn.Parameter(torch.tensor(1.0)))

    pinn(equation=learned()).fit(Adam(3), checkpoint=path, progress=False)
    report = pinn(equation=learned()).fit(Adam(5), checkpoint=path, resume=True, progress=False)
    assert report.steps == 5
