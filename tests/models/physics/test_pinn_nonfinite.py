"""A loss that is not finite names term, place and operation, and leaves finite weights."""

import math

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam, Descent, Trainable, Trainer, callbacks

BOX = pde.Box(t=(0, 1), x=(-1, 1))


def equation_of(function):
    class Given(pde.Equation):
        inputs, outputs, domain = "tx", "u", BOX
        residual = staticmethod(function)

    return Given()


def pinn(function, start=-1.0, **more):
    torch.manual_seed(0)
    drawing = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(0)}
    conditions = {"start": pde.Initial(BOX, start, 5, **drawing)} | more
    network = nn.MLP(2, [6], 1).double()
    generator = torch.Generator().manual_seed(0)
    equation = equation_of(function)
    return models.PINN(network, conditions, equation=equation, points=20, generator=generator)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


RESIDUALS = {
    "power": (lambda u: u.t + u.xx - u**1.2, r"u \*\* 1.2 is nan at \d+ of 20 points, .*u = -0"),
    "root, fused": (lambda u: u.xx - u.t**0.5, r"u.t \*\* 0.5 is nan .*u.t = -"),
    "logarithm, fused": (lambda u: u.t - torch.log(u.xx), r"log\(u.xx\) is nan .*u.xx = -"),
    "quotient, fused": (lambda u, x: u.t + u.xx / (0 * u), r"u.xx / a term is .*inf"),
    "reciprocal": (lambda u: u.tx + 1 / (u * 0), r"1 / a term is .*inf at 20 of 20"),
    "method": (lambda u: (u.xx - 3).sqrt() + u.t, r"sqrt\(a term\) is nan .*a term = -"),
    "of an input": (lambda u, x: u.t + u.xx + torch.log(x), r"log\(x\) is nan .* x = -"),
    "overflow": (lambda u: u.t + torch.exp(1e4 * u.x**2 + 800) + u.xx, r"exp\(a term\) is inf"),
}


@pytest.mark.parametrize("name", RESIDUALS)
@pytest.mark.parametrize("phase", [Adam(30), LBFGS(5), Descent("sgd", steps=3)])
def test_the_operation_is_named_and_the_weights_are_those_before(name, phase):
    function, message = RESIDUALS[name]
    model = pinn(function)
    before = weights(model)
    at = r"loss term 'residual': .* at step 1 of phase 1 \("
    with pytest.raises(FloatingPointError, match=f"{at}.*{message}.*the weights are finite"):
        model.fit(phase, progress=False)
    assert torch.equal(weights(model), before)


def test_a_value_of_a_condition_is_named():
    c = torch.nn.Parameter(torch.tensor(0.05, dtype=torch.float64))
    walls = pde.Dirichlet(BOX, lambda t: torch.log(c) * t, 6, dtype=torch.float64)
    model = pinn(lambda u: u.t + u.x, walls=walls)
    drop = callbacks.Every(3, lambda run: c.data.fill_(-0.5))
    with pytest.raises(FloatingPointError, match=r"'walls'.*step 4 .*log\(-0.5\) is nan"):
        model.fit(Adam(10), callbacks=[drop], progress=False)
    assert weights(model).isfinite().all()


def test_the_last_weights_are_kept_in_the_middle_of_a_training():
    # u is driven from 1 through 0, where its power has no value.
    model, seen = pinn(lambda u: u.t + u.x + 0 * u**1.5, start=0.5), []
    torch.nn.init.constant_(model.network.layers[-1].bias, 5.0)
    look = callbacks.Every(1, lambda run: seen.append(weights(run.model)))
    model.weights["start"] = 10
    with pytest.raises(FloatingPointError, match=r"at step (\d+) .* u \*\* 1.5 is nan") as error:
        model.fit(Adam(500, lr=0.1), callbacks=[look], progress=False)
    step = int(str(error.value).split("at step ")[1].split()[0])
    assert len(seen) == step - 1 > 3
    assert torch.equal(weights(model), seen[-1])
    assert math.isnan(model.losses()["residual"].item())


def test_lbfgs_goes_back_to_where_its_line_search_began():
    class Barrier(Trainable):
        """A long first trial step leaves the domain of the square root."""

        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))

        def losses(self, batch):
            return {"barrier": 1 + 50 * self.w.sum() + 0 * torch.sqrt(self.w).sum()}

    model = Barrier()
    with pytest.raises(FloatingPointError, match=r"'barrier'.*step \d of phase 1 \(L-BFGS\)"):
        Trainer(model, [LBFGS(20)], progress=False).fit()
    assert 0 <= model.w.item() <= 1


def test_weights_that_a_gradient_has_spoilt_are_put_back():
    class Kink(Trainable):
        """sqrt at 0: the loss is finite, its gradient is not."""

        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor([0.5, 0.0], dtype=torch.float64))
            self.norm = torch.nn.BatchNorm1d(1)

        def losses(self, batch):
            on = 1.0 if self.steps >= 70 else 0.0
            self.steps += 1
            smooth = (self.w[0] - 1) ** 2
            return {"kink": smooth + torch.sqrt(self.w[1]) if on else smooth}

        steps = 0

    model = Kink()
    text = r"nan at step 72 .*the weights are those after step (\d+), the last that are known"
    with pytest.raises(FloatingPointError, match=text):
        Trainer(model, [Adam(200)], progress=False, steps_per_epoch=1000).fit()
    assert model.w.isfinite().all()
    assert model.w[0] > 0.5


def test_a_table_in_a_residual_needs_its_points():
    table = torch.linspace(0, 1, 20, dtype=torch.float64)
    with pytest.raises(
        ValueError, match=r"PINN: equation: .* takes 20 and not 2 of them .*points="
    ):
        pinn(lambda u: u.t + u.x - table)
    points, net = BOX.grid(4, 5, dtype=torch.float64), nn.MLP(2, [6], 1).double()
    walls = {"walls": pde.Dirichlet(BOX, 0.0, 5, dtype=torch.float64)}
    table_of = equation_of(lambda u: u.t + u.x - table)
    model = models.PINN(net, walls, equation=table_of, points=points)
    expected = net.jet(points, [(0,), (1,)])
    expected = (expected[1] + expected[2] - table[:, None]).square().mean()
    torch.testing.assert_close(model.losses()["residual"], expected)
