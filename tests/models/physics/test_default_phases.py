"""What PINN.fit takes where no phases are given."""

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.models.physics.default_phases import default_phases
from pyneural.training import LevenbergMarquardt
from pyneural.training.callbacks import AdaptivePoints, Resample

ADAM, LBFGS = "Adam", "L-BFGS"


def pinn(dtype=torch.float64, hidden=(6,), points=40, **options):
    torch.manual_seed(0)
    burgers = pde.Burgers()
    network = nn.MLP(2, list(hidden), 1, input_range=burgers.domain.range).to(dtype)
    conditions = burgers.conditions(10, dtype=dtype)
    return models.PINN(network, conditions, equation=burgers, points=points, **options)


def given_points():
    return torch.rand(30, 2, dtype=torch.float64)


LEARNED = {"initial": torch.nn.Parameter(torch.ones((), dtype=torch.float64))}
CASES = {
    "small, float64": (pinn, False, ["Levenberg-Marquardt"], 1),
    "float32": (lambda: pinn(torch.float32), False, [ADAM, LBFGS], 0),
    "large": (lambda: pinn(hidden=(70, 70)), False, ["Gauss-Newton-CG"], 1),
    "large, float32": (
        lambda: pinn(torch.float32, hidden=(70, 70)), False, [ADAM, LBFGS], 0),
    "batches": (pinn, True, [ADAM], 0),
    "learned weights": (lambda: pinn(weights=LEARNED), False, [ADAM], 0),
    "given points": (lambda: pinn(points=given_points()), False, ["Levenberg-Marquardt"], 0),
    "weights of points": (
        lambda: pinn(weights={"residual": torch.ones(40).double()}), False,
        ["Levenberg-Marquardt"], 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_choice(case):
    make, in_batches, names, callbacks = CASES[case]
    phases, more = default_phases(make(), in_batches=in_batches)
    assert [phase.name for phase in phases] == names
    assert [type(callback) for callback in more] == [AdaptivePoints] * callbacks


class Huber(pde.Data):
    def loss(self, network, weights=None):
        return torch.nn.functional.huber_loss(network(self.points), self.target)


class OwnLosses(models.PINN):
    def losses(self, batch=None):
        return {name: term.sqrt() for name, term in super().losses(batch).items()}


class Cubic(torch.nn.Module):
    """Whose residual no kernel knows."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 6, dtype=torch.float64)

    def forward(self, x):
        return (self.layer(x) ** 3).sum(1, keepdim=True)


def with_huber():
    model = pinn()
    x = torch.rand(10, 2, dtype=torch.float64)
    return models.PINN(model.network, {"data": Huber(x, x[:, :1])}, domain=model.domain)


def with_own_losses(hidden=(6,)):
    model = pinn(hidden=hidden)
    return OwnLosses(model.network, dict(model.conditions), equation=model.equation, points=40)


def without_kernel(points):
    model = pinn()
    return models.PINN(Cubic(), dict(model.conditions), equation=model.equation, points=points)


@pytest.mark.parametrize("make", [with_huber, with_own_losses])
def test_a_loss_that_is_no_sum_of_squares(make):
    model = make()
    before = sum(float(term.detach()) for term in model.losses().values())
    report = model.fit(time_limit=1.0, progress=False)
    assert [phase.name for phase in report.phases] == ["SSBroyden"]
    assert report.phases[0].loss < 0.9 * before
    large = default_phases(with_own_losses(hidden=(70, 70)))[0]
    assert [phase.name for phase in large] == [ADAM, LBFGS]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("points", "name"), [(40, "Levenberg-Marquardt"), (1200, "SSBroyden")])
def test_many_residuals_that_no_kernel_knows(points, name):
    assert default_phases(without_kernel(points))[0][0].name == name


def test_frozen_parameters_do_not_count():
    model = pinn(hidden=(70, 70))
    model.network.layers[1].requires_grad_(False)
    assert isinstance(default_phases(model)[0][0], LevenbergMarquardt)


def test_points_of_the_user_stay():
    resample = Resample(5, adaptive=False, unit="step")
    assert default_phases(pinn(), callbacks=[resample])[1] == []


def test_fit_without_phases():
    model = pinn()
    before = sum(float(term.detach()) for term in model.losses().values())
    report = model.fit(time_limit=3.0, progress=False)
    assert report.phases[0].name == "Levenberg-Marquardt"
    assert report.phases[0].loss < 0.1 * before
