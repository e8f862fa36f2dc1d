"""The randomisation test: its layers, its numbers, and the bar of the methods recommended."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch

from pyneural import data, interpret, nn
from pyneural.errors import ArgumentError
from pyneural.interpret.layers import layers_top_down, randomise_
from pyneural.models import Model, PatchTransformer, SequenceRegressor
from tests.interpret.networks import Two, image_network, series_network, table_network

BAR = 0.2


def names(model, *inputs):
    return [name for name, _ in layers_top_down(model, model(*inputs))]


def test_layers_from_the_output_down():
    assert names(image_network().eval(), torch.rand(2, 2, 8, 8)) == ["5", "2", "0"]
    found = names(nn.MLP(3, [4, 4], 1), torch.rand(2, 3))  # one kernel computes all layers
    assert found == ["layers.2", "layers.1", "layers.0"]
    found = names(SequenceRegressor("gru", 2, 5, 1), torch.rand(2, 6, 2))
    assert found == ["readout", "recurrent"]
    found = names(series_network(), torch.rand(2, 6, 2))
    assert found[:2] == ["readout", "encoder.norm"]
    assert found[-1] == "embedding"
    places = [int(name.split(".")[2]) for name in found if ".layers." in name]
    assert places == sorted(places, reverse=True)


def test_order_is_that_of_the_calls_not_of_the_registration():
    class Backwards(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.top, self.bottom = torch.nn.Linear(4, 1), torch.nn.Linear(3, 4)
            self.scale, self.idle = torch.nn.Parameter(torch.ones(1)), torch.nn.Linear(1, 1)

        def forward(self, x):
            h = self.bottom(x * self.scale)
            return self.top(h + h.sin().tanh().exp())  # a residual sum

    assert names(Backwards(), torch.rand(2, 3)) == ["top", "bottom", "", "idle"]


def test_deep_graphs():
    class Deep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.above = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)

        def forward(self, x):
            x = self.below(x)
            for _ in range(3000):
                x = x + 1e-3
            return self.above(x)

    assert names(Deep(), torch.rand(1, 2)) == ["above", "below"]


def test_every_parameter_is_drawn_anew():
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(8, 2)  # its in_proj_weight has no reset_parameters
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(8, 8))
    pruned = torch.nn.utils.prune.random_unstructured(torch.nn.Linear(8, 8), "weight", 0.5)
    for model in (attention, normed, pruned, series_network(), torch.nn.GRU(3, 4)):
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        for part in model.modules():
            randomise_(part)
        for name, value in model.named_parameters():
            varies = bool((before[name] != before[name].flatten()[0]).any())
            assert not varies or not torch.equal(before[name], value), name
    size = 3 * torch.randn(1000)
    free = torch.nn.ParameterList([size.clone()])
    randomise_(free)
    assert float(free[0].std()) == pytest.approx(3, rel=0.15)
    assert abs(float(interpret.rank_correlation(free[0][None], size[None]))) < 0.15


def test_a_method_that_shows_the_input_keeps_everything():
    def edges(model, x, target):
        return x.diff(dim=3)

    model, x = image_network(), torch.rand(4, 2, 8, 8)
    test = interpret.randomization_test(model, edges, x, 0, repeats=2)
    assert test.layers == ("5", "2", "0")
    assert test.signed.shape == test.magnitude.shape == (2, 3, 4)
    assert test.signed.min() == pytest.approx(1)
    assert test.remaining == pytest.approx(1)


def test_the_cascade_by_hand():
    torch.manual_seed(0)
    model, x = table_network(), torch.randn(6, 5)
    test = interpret.randomization_test(model, interpret.saliency, x, repeats=2, seed=5)
    trained = interpret.saliency(model, x)
    networks = [copy.deepcopy(model) for _ in range(2)]
    torch.manual_seed(5)
    for repeat, network in enumerate(networks):
        for number, name in enumerate(("layers.2", "layers.1", "layers.0")):
            network.get_submodule(name).reset_parameters()
            found = interpret.saliency(network, x)
            rho = interpret.rank_correlation(trained, found)
            assert torch.allclose(test.signed[repeat, number], rho)
            rho = interpret.rank_correlation(trained.abs(), found.abs())
            assert torch.allclose(test.magnitude[repeat, number], rho)
    last = test.signed[:, -1].mean().abs(), test.magnitude[:, -1].mean().abs()
    assert test.remaining == pytest.approx(float(max(last)))


def test_seeds():
    model, x = table_network(), torch.randn(6, 5)
    run = partial(interpret.randomization_test, model, interpret.saliency, x)
    assert torch.equal(run(seed=1).signed, run(seed=1).signed)
    assert not torch.equal(run(seed=1).signed, run(seed=2).signed)


def test_dead_networks_keep_nothing():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.rand(4))

        def reset_parameters(self):
            self.weight.data.zero_()

        def forward(self, x):
            return x @ self.weight

    test = interpret.randomization_test(Scaled(), interpret.saliency, torch.rand(3, 4), repeats=1)
    assert test.layers == ("Scaled",)
    assert test.remaining == 0


def test_several_inputs_and_frozen_models():
    model = Two().requires_grad_(False)
    x = torch.randn(30, 2), torch.randn(30, 3, 3)
    test = interpret.randomization_test(model, interpret.saliency, x, 1, repeats=2)
    assert set(test.layers) == {"first", "second"}


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (lambda model, x, target: torch.ones_like(x), "equal ones"),
        (lambda model, x, target: x.long(), "int64"),
        (lambda model, x, target: x / 0, "not finite"),
        (lambda model, x, target: x[:1], "[1, 5]"),
        (lambda model, x, target: x.sum(1), "[6]"),
        (lambda model, x, target: None, "NoneType"),
    ],
)
def test_methods_that_do_not_fit(method, words):
    with pytest.raises(ArgumentError) as caught:
        interpret.randomization_test(table_network(), method, torch.randn(6, 5))
    assert words in str(caught.value)


def test_models_that_do_not_fit():
    x = torch.rand(3, 4)
    with pytest.raises(ArgumentError, match="one with parameters"):
        interpret.randomization_test(torch.nn.Softmax(1), interpret.saliency, x, 0)
    model = torch.nn.Linear(4, 1)
    model.kept = model(x)  # cannot be copied
    with pytest.raises(ArgumentError, match=r"copy\.deepcopy"):
        interpret.randomization_test(model, interpret.saliency, x)
    with pytest.raises(ArgumentError, match="repeats"):
        interpret.randomization_test(table_network(), interpret.saliency, x, repeats=0)


@pytest.fixture(scope="module")
def trained_on_digits():
    pytest.importorskip("sklearn")
    (x, y), (x_test, y_test) = data.digits_8x8()
    torch.manual_seed(0)
    model = Model(
        torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, 8, 8)), torch.nn.Conv2d(1, 16, 3, padding=1),
            torch.nn.ReLU(), torch.nn.Flatten(), nn.Linear(1024, 32, activation="relu"),
            nn.Linear(32, 10),
        )
    )  # fmt: skip
    model.compile(torch.optim.Adam, torch.nn.functional.cross_entropy)
    model.fit(x / 16, y, epochs=10, batch_size=32, verbose=0)
    assert (model.predict(x_test / 16).argmax(1) == y_test).float().mean() > 0.85
    return model, x_test[:40] / 16, y_test[:40]


@pytest.fixture(scope="module")
def trained_on_series():
    x, y = data.adding_problem(1000, 16)
    torch.manual_seed(0)
    model = Model(PatchTransformer(2, 2, 1, d_model=16, heads=2, layers=2))
    model.compile(partial(torch.optim.Adam, lr=5e-3), "mse")
    model.fit(x, y, epochs=6, batch_size=32, verbose=0)
    return model, x[:40], None


@pytest.fixture(scope="module")
def trained_on_a_table():
    torch.manual_seed(0)
    x = torch.randn(1000, 8)
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3].sin()
    model = Model(nn.MLP(8, [32, 32], 1))
    model.compile(partial(torch.optim.Adam, lr=1e-2), "mse")
    model.fit(x, y, epochs=10, batch_size=50, verbose=0)
    return model, x[:100], None


KINDS = ["trained_on_digits", "trained_on_series", "trained_on_a_table"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [interpret.saliency, interpret.smooth_grad])
def test_recommended_methods_are_below_the_bar(kind, method, request):
    model, x, target = request.getfixturevalue(kind)
    if method is interpret.smooth_grad:
        method = partial(method, samples=8)
    test = interpret.randomization_test(model, method, x, target, repeats=10)
    assert test.remaining <= BAR


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize(
    "method",
    [
        interpret.gradient_times_input,
        partial(interpret.integrated_gradients, steps=8, tolerance=10.0),
    ],
)
def test_products_with_the_input_are_above_it(kind, method, request):
    model, x, target = request.getfixturevalue(kind)
    test = interpret.randomization_test(model, method, x, target, repeats=2)
    assert test.remaining > 2 * BAR
