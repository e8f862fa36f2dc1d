"""Terms see the parameters as they are, whatever has written to them; dtypes; what is refused."""

from __future__ import annotations

import pytest
import torch

from pyneural import models, nn
from pyneural.training import Trainable
from pyneural.training.least_squares import (
    AutogradTerm,
    KernelTerm,
    least_squares,
    parameter_map,
)
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close
from tests.training.least_squares import dense
from tests.training.least_squares.problems import (
    BOX,
    Burgers,
    Clamped,
    Learned,
    hard,
    mlp,
    periodic,
    pinn,
)


def in_place(parameters, theta):
    dense.assign(parameters, theta)


def by_data(parameters, theta):
    for parameter, part in zip(
        parameters, theta.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.data = part.view_as(parameter).clone()


def in_data(parameters, theta):
    for parameter, part in zip(
        parameters, theta.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.data.copy_(part.view_as(parameter))


@pytest.mark.parametrize("write", [in_place, by_data, in_data])
@pytest.mark.parametrize("given", [None, periodic])
def test_terms_follow_the_parameters(write, given):
    model = pinn(mlp(input_range=BOX.range), given=None if given is None else given())
    parameters = dense.trained(model)
    terms = least_squares(model, parameters)
    start = dense.flat(parameters)
    before = [term.gram() for term in terms]
    write(parameters, start + 0.1)
    for term in terms:
        values = dense.residuals(model, term.name)
        jacobian = dense.jacobian(values, parameters)
        assert_close(term.residuals(), values, FLOAT64)
        assert_close(term.jacobian(), jacobian, FLOAT64_GRADIENT)
        assert_close(term.vjp(values.detach()), jacobian @ values, FLOAT64_GRADIENT)
    write(parameters, start)  # a trial is taken back
    for term, expected in zip(terms, before, strict=True):
        direction = torch.ones(2, len(start), dtype=torch.float64)
        assert term.path(direction).isfinite().all()
        for mine, theirs in zip(term.gram(), expected, strict=True):
            assert torch.equal(mine, theirs)


def test_a_term_is_the_same_without_gradients_being_recorded():
    model = pinn(mlp(input_range=BOX.range), given=periodic())
    parameters = dense.trained(model)
    expected = [term.jacobian() for term in least_squares(model, parameters)]
    with torch.no_grad():
        terms = least_squares(model, parameters)
        found = [term.jacobian() for term in terms]
        for term in terms:
            term.gram(), term.path(torch.ones(3, len(found[0]), dtype=torch.float64))
    assert all(map(torch.equal, found, expected))


def test_order_and_choice_of_parameters():
    model = pinn(mlp(input_range=BOX.range), Learned())
    parameters = dense.trained(model)
    chosen = [parameters[-1], parameters[2], parameters[0]]
    for term in least_squares(model, chosen):
        jacobian = dense.jacobian(dense.residuals(model, term.name), chosen)
        assert_close(term.gram()[2], jacobian @ jacobian.T, FLOAT64_GRADIENT)
        assert_close(term.jacobian(), jacobian, FLOAT64_GRADIENT)
        direction = torch.randn(1, len(jacobian), dtype=torch.float64)
        assert_close(term.path(direction), direction @ jacobian, FLOAT64_GRADIENT)


def test_float32_networks_give_float64():
    model = pinn(mlp(input_range=BOX.range), Learned(), given=periodic()).float()
    parameters = dense.trained(model)
    for term in least_squares(model, parameters):
        count = sum(p.numel() for p in parameters)
        directions = torch.randn(2, count, dtype=torch.float64)
        values, jacobian = term.residuals(), term.jacobian()
        found = [*term.gram(), values, jacobian, term.path(directions), term.vjp(values)]
        assert {each.dtype for each in found} == {torch.float64}
        rows = dense.jacobian(dense.residuals(model, term.name), parameters)
        assert_close(jacobian, rows, 1e-5)
        assert_close(found[2], rows.double() @ rows.double().T, 1e-5)
        assert_close(found[5][0], directions[0] @ rows.double(), 1e-5)


class Circle(Trainable):
    """Residuals that are any function."""

    def __init__(self):
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.unused = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.x = torch.randn(9, 2, dtype=torch.float64)
        self.term_weights = {"distance": 2.0}

    def distances(self):
        return self.x.norm(dim=1) - self.radius

    def losses(self, batch):
        return {"distance": self.distances().square().mean(), "size": self.radius**2}

    def least_squares(self, batch):
        return {"distance": lambda: self.distances() / 3, "size": lambda: self.radius.view(1)}


def test_residuals_that_a_model_writes():
    model = Circle()
    distance, size = least_squares(model, list(model.parameters()))
    loss, gradient, gram = distance.gram()
    assert_close(loss, 2 * model.losses(None)["distance"], FLOAT64)
    half = dense.gradient(2 * model.losses(None)["distance"], list(model.parameters())) / 2
    assert_close(gradient, half, FLOAT64)
    assert gram[0, 0].item() == pytest.approx(2.0)
    assert not gram[1:].any()
    assert size.path(torch.ones(3, 4, dtype=torch.float64)).tolist() == [[1.0], [1.0], [1.0]]
    assert isinstance(size, AutogradTerm)
    assert distance.gram_bytes() >= 8 * (16 + 4 * 9)


def test_memory_of_a_kernel_term():
    model = pinn()
    parameters = dense.trained(model)
    count = sum(p.numel() for p in parameters)
    term = least_squares(model, parameters)[-1]
    assert isinstance(term, KernelTerm)
    assert term.gram_bytes() == 8 * count**2


def test_what_is_refused():
    model = Circle()
    with pytest.raises(ValueError, match="expected parameters that require a gradient, got none"):
        least_squares(model, [])
    model.unused.requires_grad_(False)
    with pytest.raises(ValueError, match=r"that require a gradient, got \[\[3\]\]"):
        least_squares(model, list(model.parameters()))
    with pytest.raises(ValueError, match="each parameter once"):
        least_squares(model, [model.radius, model.radius])
    model.least_squares = lambda batch: {"distance": model.distances().sum}
    with pytest.raises(ValueError, match=r"\['distance'\]: expected residuals \[R\], got \[\]"):
        least_squares(model, [model.radius])[0].gram()
    with pytest.raises(NotImplementedError, match="Plain: expected a method least_squares"):
        least_squares(Plain(), [torch.nn.Parameter(torch.ones(1))])


class Plain(Trainable):
    pass


def test_a_network_whose_jet_loss_is_its_own_is_not_taken_for_another():
    class Doubled(nn.MLP):
        def jet_loss(self, *asked):
            return 2 * super().jet_loss(*asked)

        def jet(self, x, derivatives):
            return tuple(2**0.5 * part for part in super().jet(x, derivatives))

    model = pinn(Doubled(2, [5], 1).double(), given={"ring": periodic()["ring"]})
    kinds = {term.name: type(term) for term in least_squares(model, dense.trained(model))}
    assert kinds == {"ring": AutogradTerm, "residual": AutogradTerm}


def test_what_takes_long_is_said():
    model = pinn(hard(), Clamped(), given={}, points=1000)
    (term,) = least_squares(model, [list(model.parameters())[-1]])
    with pytest.warns(UserWarning, match=r"PINN: term 'residual': no kernel .* 1000 residuals"):
        term.gram()


def test_losses_of_ones_own_are_not_taken_for_others():
    class More(models.PINN):
        def losses(self, batch=None):
            return {**super().losses(batch), "more": self.network(self.collocation).mean() ** 2}

    model = pinn()
    model.__class__ = More
    with pytest.raises(ValueError, match=r"More.least_squares: expected one beside losses"):
        least_squares(model, dense.trained(model))

    class Doubled(Burgers):
        def eager_loss(self, *asked):
            return 2 * super().eager_loss(*asked)

    model = pinn(equation=Doubled())
    with pytest.raises(ValueError, match="'residual': expected residuals beside a loss of its own"):
        least_squares(model, dense.trained(model))


def normalised():
    network = nn.MLP(2, [6, 6], 1).double()
    torch.nn.utils.parametrizations.weight_norm(network.layers[1])
    model = pinn(network)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return model, parameters


def test_derivatives_of_computed_weights_are_counted():
    model, parameters = normalised()
    term = least_squares(model, parameters)[-1]
    assert isinstance(term, KernelTerm)
    count = sum(p.numel() for p in parameters)
    assert term.gram_bytes() >= 8 * (count**2 + (count - 6) ** 2 + 36 * (36 + 6))


def test_derivatives_of_computed_weights_that_do_not_fit_are_refused(monkeypatch):
    model, parameters = normalised()
    term = least_squares(model, parameters)[-1]
    needed = 8 * 36 * (36 + 6)
    monkeypatch.setattr(parameter_map, "available_memory", lambda device: needed - 1)
    message = r"least_squares: parameters: .* got 12.1 kB for the 36 numbers of a tensor \[6, 6\]"
    with pytest.raises(MemoryError, match=message):
        term.gram_bytes()
    monkeypatch.setattr(parameter_map, "available_memory", lambda device: needed)
    term.gram()
