"""Losses against plain formulas, their shapes, and the table of losses and last layers."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from pyneural.training import Sequential
from pyneural.training.losses.functions import LOSSES, NAMES, Loss
from pyneural.training.losses.metrics import Metric
from pyneural.training.losses.table import FURTHER, TABLE, check_loss_and_last_layer

P = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=torch.float64)
Q = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
A = torch.tensor([[0.5, -1.0], [2.0, 3.0]], dtype=torch.float64)
Y = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "prediction", "y", "expected"),
    [
        ("mse", A, Y, (0.25 + 4 + 9 + 4) / 4),
        ("mae", A, Y, (0.5 + 2 + 3 + 2) / 4),
        ("msle", A.abs(), Y.abs(), ((A.abs() + 1).log() - math.log(2)).square().mean().item()),
        ("quadratic_cost", A, Y, 0.5 * (0.25 + 4 + 9 + 4) / 2),
        ("bce", P, Q, F.binary_cross_entropy(P, Q).item()),
        ("categorical_crossentropy", P, Q, (-math.log(0.7) - 0.5 * math.log(0.3 * 0.6)) / 2),
        ("sparse_categorical_crossentropy", P, torch.tensor([0, 2]), -math.log(0.7 * 0.6) / 2),
        ("kld", P, Q + 1e-7, (-math.log(0.7) + math.log(0.5) - 0.5 * math.log(0.3 * 0.6)) / 2),
        ("hinge", A, Y, (0.5 + 2 + 3 + 0) / 4),
        ("hinge", A, (Y + 1) / 2, (0.5 + 2 + 3 + 0) / 4),
    ],
)  # fmt: skip
def test_values(name, prediction, y, expected):
    assert Loss.of(name)(prediction, y).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    torch.manual_seed(0)
    prediction = torch.softmax(torch.randn(4, 3, dtype=torch.float64), -1).requires_grad_()
    y = torch.softmax(torch.randn(4, 3, dtype=torch.float64), -1)
    if name == "sparse_categorical_crossentropy":
        y = torch.tensor([0, 1, 2, 1])
    weight = torch.rand(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: Loss.of(name)(p, y, weight), prediction)


@pytest.mark.parametrize(
    "name", ["bce", "categorical_crossentropy", "sparse_categorical_crossentropy", "kld"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_certain_and_wrong_is_finite(name, dtype):
    prediction = torch.tensor([[0.0, 1.0]], dtype=dtype, requires_grad=True)
    y = torch.tensor([0]) if name.startswith("sparse") else torch.tensor([[1.0, 0.0]])
    loss = Loss.of(name)(prediction, y)
    loss.backward()
    assert 7 < loss.item() < 17  # -log(1e-7) = 16.1
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_mean_without_weights_is_that_with_weights_of_one(name):
    prediction = torch.tensor([[0.0, 1.0], [0.3, 0.7]], dtype=torch.float64)
    y = torch.tensor([0, 1]) if name.startswith("sparse") else prediction.flip(0)
    loss, ones = Loss.of(name), torch.ones(2, dtype=torch.float64)
    assert loss(prediction, y).item() == pytest.approx(loss(prediction, y, ones).item())


def test_weights_are_divided_by_the_number_of_samples():
    weight = torch.tensor([2.0, 0.0], dtype=torch.float64)
    assert Loss.of("mse")(A, Y, weight).item() == pytest.approx(2 * (0.25 + 4) / 2 / 2)
    by_torch = Loss.of(torch.nn.MSELoss(reduction="none"))
    assert by_torch(A, Y, weight) == Loss.of("mse")(A, Y, weight)
    with pytest.raises(ValueError, match=r"MSELoss: .*weights.*reduction='none'"):
        Loss.of(torch.nn.MSELoss())(A, Y, weight)


@pytest.mark.parametrize("loss", ["mse", "bce", torch.nn.MSELoss(), F.mse_loss])
def test_column_and_vector_are_the_same_and_nothing_else_broadcasts(loss):
    loss = Loss.of(loss)
    column, vector = torch.rand(5, 1), torch.rand(5)
    assert loss(column, vector) == loss(column, vector[:, None]) == loss(column[:, 0], vector)
    for wrong in (torch.rand(1), torch.rand(5, 2), torch.rand(1, 5)):
        with pytest.raises(ValueError, match=r"shape \(5, 1\).*got \(" + str(len(wrong))):
            loss(column, wrong)


@pytest.mark.parametrize(
    "loss", [torch.nn.PoissonNLLLoss(), F.kl_div, partial(F.smooth_l1_loss, beta=2.0)]
)
def test_torchs_elementwise_losses_do_not_broadcast(loss):
    with pytest.raises(ValueError, match=r"shape \(5, 1\).*got \(5, 2\)"):
        Loss.of(loss)(torch.rand(5, 1), torch.rand(5, 2))


def test_own_loss_may_take_another_shape():
    def gaussian(prediction, y):  # of mean and logarithm of the variance
        mean, logarithm = prediction.unbind(1)
        return ((y[:, 0] - mean) ** 2 / logarithm.exp() + logarithm).mean()

    assert Loss.of(gaussian)(torch.zeros(5, 2), torch.ones(5, 1)).item() == 1.0


def test_class_targets_name_the_other_loss():
    with pytest.raises(ValueError, match="use sparse_categorical_crossentropy"):
        Loss.of("categorical_crossentropy")(P, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="use categorical_crossentropy"):
        Loss.of("sparse_categorical_crossentropy")(P, Q)


def test_unknown_names_have_a_hint():
    with pytest.raises(ValueError, match="'mean_square_error'; did you mean 'mean_squared_error'"):
        Loss.of("mean_square_error")
    with pytest.raises(ValueError, match="'acuracy'; did you mean 'accuracy'"):
        Metric.of("acuracy", Loss.of("mse"))
    with pytest.raises(TypeError, match=r"compile: loss: expected .* got 3"):
        Loss.of(3)


@pytest.mark.parametrize(
    ("prediction", "y", "expected"),
    [
        (P, torch.tensor([0, 1]), 0.5),
        (P, torch.tensor([[0], [2]]), 1.0),
        (P, torch.eye(3)[:2], 0.5),
        (torch.tensor([[0.4], [0.6]]), torch.tensor([0.0, 0.0]), 0.5),
        (torch.tensor([0.4, 0.6]), torch.tensor([0.0, 1.0]), 1.0),
    ],
)
def test_accuracy_by_the_shape_of_the_target(prediction, y, expected):
    assert Metric.of("accuracy", Loss.of("mse"))(prediction, y).item() == expected


def test_accuracy_of_logits_and_of_signs_is_taken_at_zero():
    logits, y = torch.tensor([[0.2], [-0.2]]), torch.tensor([1.0, 0.0])
    assert Metric.of("accuracy", Loss.of(torch.nn.BCEWithLogitsLoss()))(logits, y) == 1.0
    assert Metric.of("accuracy", Loss.of("hinge"))(logits, 2 * y - 1) == 1.0
    assert Metric.of("accuracy", Loss.of("bce"))(logits, y) == 0.5


ACTIVATIONS = {
    "linear": torch.nn.Identity,
    "sigmoid": torch.nn.Sigmoid,
    "softmax": lambda: torch.nn.Softmax(-1),
    "relu": torch.nn.ReLU,
    "softplus": torch.nn.Softplus,
    "tanh": torch.nn.Tanh,
}


@pytest.mark.parametrize("row", TABLE + FURTHER, ids=lambda row: row.loss)
def test_each_row_fits_and_others_warn(row, recwarn):
    units = 1 if row.size == "one node" else 3
    for activation in row.activations:
        model = Sequential([torch.nn.Linear(2, units), ACTIVATIONS[activation]()])
        model.compile("sgd", NAMES.get(row.loss) or getattr(torch.nn, row.loss)())
    assert not recwarn.list
    wrong = "relu" if row.activations[0] != "linear" else "softmax"
    model = Sequential([torch.nn.Linear(2, units), ACTIVATIONS[wrong]()])
    with pytest.warns(UserWarning, match=rf"got {wrong}.*row: {row.loss}"):
        model.compile("sgd", NAMES.get(row.loss) or getattr(torch.nn, row.loss)())


@pytest.mark.parametrize(
    ("loss", "wrong"),
    [
        (torch.nn.MSELoss(), "softmax"),
        (F.l1_loss, "relu"),
        (torch.nn.BCELoss(), "linear"),
        (F.binary_cross_entropy, "tanh"),
        (F.cross_entropy, "softmax"),
        (F.binary_cross_entropy_with_logits, "sigmoid"),
    ],
)
def test_torchs_losses_are_those_of_the_rows(loss, wrong):
    model = Sequential([torch.nn.Linear(2, 3), ACTIVATIONS[wrong]()])
    with pytest.warns(UserWarning, match=rf"got {wrong}.*row: "):
        model.compile("sgd", loss)


def test_sigmoids_of_many_classes_are_refused_for_softmax():
    assert "do not sum to 1" in check_loss_and_last_layer("categorical_crossentropy", "sigmoid", 3)
    assert "always 1" in check_loss_and_last_layer("categorical_crossentropy", "softmax", 1)
    # An autoencoder of images.
    assert check_loss_and_last_layer("mean_squared_error", "sigmoid", 784) is None
    assert check_loss_and_last_layer("a loss of the user", "softmax", 3) is None


def _task(row):
    """Samples that a network can learn with the loss of a row."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=generator)
    if row.size == "N nodes":
        classes = (x[:, 0] > 0.3).long() + (x[:, 1] > 0).long()
        whole = row.loss in ("sparse_categorical_crossentropy", "CrossEntropyLoss")
        return x, classes if whole else F.one_hot(classes, 3).float()
    if "binary" in row.good_for:
        positive = (x.sum(1) > 0).float()
        return x, 2 * positive - 1 if row.loss == "hinge" else positive
    return x, x.sum(1).abs()


@pytest.mark.parametrize("row", TABLE + FURTHER, ids=lambda row: row.loss)
def test_each_row_trains(row):
    torch.manual_seed(0)
    x, y = _task(row)
    units = 1 if row.size == "one node" else 3
    layers = [torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, units)]
    model = Sequential([*layers, ACTIVATIONS[row.activations[0]]()])
    loss = NAMES.get(row.loss) or getattr(torch.nn, row.loss)()
    classifies = "classification" in row.good_for
    model.compile(
        lambda p: torch.optim.Adam(p, lr=0.03), loss, ["accuracy" if classifies else "mse"]
    )
    model.fit(x, y, 20, 20, verbose=0)
    _, measured = model.evaluate(x, y)
    assert measured > 0.93 if classifies else measured < 0.1 * y.var()
