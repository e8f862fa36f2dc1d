"""Attributions against captum, and against results by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pyneural import interpret, nn
from pyneural.errors import ArgumentError
from pyneural.interpret import scores
from pyneural.models import SequenceRegressor
from tests.interpret.networks import (
    ATTRIBUTIONS,
    GRADIENTS,
    Polynomial,
    Two,
    image_network,
    series_network,
    table_network,
)  # fmt: skip

ATOL = 1e-5  # of the issue; captum adds the same terms in another order


def images():
    return image_network().eval(), torch.rand(4, 2, 8, 8), torch.tensor([0, 2, 1, 1])


def a_series():
    return series_network().eval(), torch.randn(3, 6, 2), None


def gru():
    return SequenceRegressor("gru", 2, 5, 2).eval(), torch.randn(3, 6, 2), torch.tensor([1, 0, 1])


def a_table():
    return table_network().eval(), torch.randn(6, 5), None


CASES = {"images": images, "transformer": a_series, "gru": gru, "table": a_table}


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    return CASES[request.param]()


def captums(name, model, x, target, **options):
    attr = pytest.importorskip("captum.attr")
    return getattr(attr, name)(model).attribute(x.clone(), target=target, **options).detach()


def test_saliency_is_captums(case):
    model, x, target = case
    found = interpret.saliency(model, x, target)
    assert torch.allclose(found, captums("Saliency", model, x, target, abs=False), atol=ATOL)


def test_gradient_times_input_is_captums(case):
    model, x, target = case
    found = interpret.gradient_times_input(model, x, target)
    assert torch.allclose(found, captums("InputXGradient", model, x, target), atol=ATOL)


@pytest.mark.parametrize("baseline", [0.0, 0.7, "samples"])
@pytest.mark.parametrize("elements", [1, 1 << 20])  # a step at a time, and all of them
def test_integrated_gradients_are_captums(case, baseline, elements, monkeypatch):
    monkeypatch.setattr(scores, "_ELEMENTS", elements)
    model, x, target = case
    b = torch.rand_like(x) if baseline == "samples" else baseline
    options = {"baselines": b, "n_steps": 20, "method": "gausslegendre"}
    expected = captums("IntegratedGradients", model, x, target, **options)
    found = interpret.integrated_gradients(model, x, target, baseline=b, steps=20, tolerance=10.0)
    assert torch.allclose(found, expected, atol=ATOL)


@pytest.mark.parametrize(
    ("name", "window", "stride", "elements"),
    [
        ("images", (2, 3, 3), (2, 2, 2), 1 << 20),
        ("images", (1, 4, 3), (1, 3, 1), 1),
        ("transformer", (2, 2), (1, 2), 1 << 20),
        ("gru", (4, 1), (3, 1), 1),
        ("table", (1,), (1,), 1 << 20),
        ("table", (2,), (2,), 1),
    ],
)
def test_occlusion_is_captums(name, window, stride, elements, monkeypatch):
    monkeypatch.setattr(scores, "_ELEMENTS", elements)
    torch.manual_seed(0)
    model, x, target = CASES[name]()
    options = {"sliding_window_shapes": window, "strides": stride, "baselines": 0.3}
    expected = captums("Occlusion", model, x, target, **options)
    found = interpret.occlusion(model, x, target, window=window, stride=stride, baseline=0.3)
    assert torch.allclose(found, expected, atol=ATOL)


def test_completeness_gap_is_captums_delta(case):
    attr = pytest.importorskip("captum.attr")
    model, x, target = case
    maps, delta = attr.IntegratedGradients(model).attribute(
        x, target=target, n_steps=5, return_convergence_delta=True
    )
    found = interpret.completeness_gap(model, x, maps.detach().float(), target)
    assert torch.allclose(found.float(), delta.float(), atol=ATOL)


def test_polynomial_by_hand():
    x = torch.tensor([[2.0, 3.0, 5.0], [-1.0, 0.0, 4.0]])
    gradient = torch.tensor([[12.0, 10.0, 6.0], [3.0, 8.0, 0.0]])
    assert torch.allclose(interpret.saliency(Polynomial(), x), gradient)
    assert torch.allclose(interpret.gradient_times_input(Polynomial(), x), gradient * x)
    exact = torch.tensor([[8.0, 15.0, 15.0], [-1.0, 0.0, 0.0]])
    found = interpret.integrated_gradients(Polynomial(), x, steps=2)  # two points: cubic is exact
    assert torch.allclose(found, exact, atol=1e-5)
    removed = torch.tensor([[8.0, 30.0, 30.0], [-1.0, 0.0, 0.0]])
    assert torch.allclose(interpret.occlusion(Polynomial(), x), removed, atol=1e-5)
    pairs = torch.tensor([[38.0, (38 + 30) / 2, 30.0], [-1.0, -0.5, 0.0]])  # windows 01, 12
    assert torch.allclose(interpret.occlusion(Polynomial(), x, window=2), pairs, atol=1e-5)


def test_baselines_of_one_sample_of_all_and_a_number_agree():
    model, x, target = images()
    one = torch.full(x.shape[1:], 0.3)
    for method in (interpret.occlusion, partial(interpret.integrated_gradients, tolerance=10.0)):
        found = [method(model, x, target, baseline=b) for b in (0.3, one, one.expand_as(x))]
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])


def test_smooth_grad_of_a_polynomial_is_the_expectation():
    x = torch.tensor([[2.0, 3.0, 5.0]], dtype=torch.float64)
    sigma = torch.tensor([0.5, 0.1, 0.2], dtype=torch.float64)
    found = interpret.smooth_grad(Polynomial(), x, noise=sigma, samples=20_000)
    expected = torch.tensor([[3 * (4 + 0.25), 10.0, 6.0]], dtype=torch.float64)
    error = torch.tensor([3 * 2 * 2 * 0.5, 2 * 0.2, 2 * 0.1]) / 20_000**0.5
    assert bool(((found - expected).abs() < 4 * error).all())


def test_smooth_grad_is_seeded_and_its_noise_a_share_of_the_range(monkeypatch):
    model, x, target = images()
    ranges = (x.amax((1, 2, 3)) - x.amin((1, 2, 3))).view(-1, 1, 1, 1)
    first = interpret.smooth_grad(model, x, target, seed=3)
    same = interpret.smooth_grad(model, x, target, seed=3, noise=(0.15 * ranges).expand_as(x))
    assert torch.allclose(first, same, atol=1e-6)
    assert not torch.allclose(first, interpret.smooth_grad(model, x, target, seed=4), atol=1e-4)
    saliency = interpret.saliency(model, x, target)
    assert torch.allclose(interpret.smooth_grad(model, x, target, noise=0.0), saliency, atol=1e-6)


@pytest.mark.parametrize("name", GRADIENTS)
def test_several_inputs(name):
    torch.manual_seed(0)
    a, b, model = torch.randn(5, 2), torch.randn(5, 3, 3), Two()

    class Joined(torch.nn.Module):
        def forward(self, x):
            return model(x[:, :2], x[:, 2:].view(-1, 3, 3))

    method = ATTRIBUTIONS[name]
    if name == "smooth_grad":  # the noise of one tensor is not that of two
        method = partial(interpret.smooth_grad, noise=0.0)
    first, second = method(model, (a, b), 2)
    joined = method(Joined(), torch.cat([a, b.flatten(1)], 1), 2)
    assert torch.allclose(torch.cat([first, second.flatten(1)], 1), joined, atol=1e-6)


def test_noise_and_baseline_of_several_inputs():
    a, b, model = torch.randn(5, 2), torch.randn(5, 3, 3), Two()
    found = interpret.smooth_grad(model, (a, b), 0, noise=(0.0, torch.zeros(3, 3)))
    for one, other in zip(found, interpret.saliency(model, (a, b), 0), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    maps = interpret.integrated_gradients(model, (a, b), 0, baseline=(torch.ones(2), 0.0))
    gap = interpret.completeness_gap(model, (a, b), maps, 0, baseline=(torch.ones(2), 0.0))
    assert gap.abs().max() < 1e-4
    assert interpret.completeness_gap(model, (a, b), maps, 0).abs().max() > 1e-2


def test_targets_of_every_kind():
    class Grid(torch.nn.Module):
        def forward(self, x):
            return x[:, None, None] ** torch.arange(1, 7.0).view(2, 3)

    x = torch.tensor([1.0, 2.0])
    assert interpret.saliency(Grid(), x, (1, 0)).tolist() == [4.0, 32.0]
    each = torch.tensor([[0, 0], [1, 2]])
    assert interpret.saliency(Grid(), x, each).tolist() == [1.0, 192.0]
    assert interpret.integrated_gradients(Grid(), x, each).tolist() == pytest.approx([1.0, 64.0])


def test_double_precision_stays():
    model, x = table_network().double(), torch.randn(3, 5, dtype=torch.float64)
    for method in ATTRIBUTIONS.values():
        assert method(model, x).dtype == torch.float64


class Lengths(torch.nn.Module):
    """A GRU that is told how long each series is."""

    def __init__(self):
        super().__init__()
        self.cell, self.readout = nn.GRU(2, 5, batch_first=True), torch.nn.Linear(5, 2)

    def forward(self, x, lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        return self.readout(self.cell(packed)[1][-1])


@pytest.mark.parametrize("name", ["Saliency", "InputXGradient", "IntegratedGradients", "Occlusion"])
def test_series_with_lengths_are_captums(name):
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    model, x, lengths = Lengths().eval(), torch.randn(3, 6, 2), torch.tensor([6, 3, 4])
    held = interpret.FixedInputs(model, lengths)
    ours, options = {
        "Saliency": (interpret.saliency, {"abs": False}),
        "InputXGradient": (interpret.gradient_times_input, {}),
        "IntegratedGradients": (
            partial(interpret.integrated_gradients, steps=20),
            {"n_steps": 20, "method": "gausslegendre"},
        ),
        "Occlusion": (
            partial(interpret.occlusion, window=(3, 1)), {"sliding_window_shapes": (3, 1)},
        ),
    }[name]  # fmt: skip
    method = getattr(attr, name)(model)
    expected = method.attribute(x, target=1, additional_forward_args=(lengths,), **options)
    found = ours(held, x, 1)
    assert torch.allclose(found, expected, atol=ATOL)
    assert float(found[1, 5:].abs().max()) == 0  # no window there holds any of its three steps
    test = interpret.randomization_test(held, interpret.saliency, x, 1, repeats=1)
    assert test.layers == ("model.readout", "model.cell")


def test_fixed_inputs_that_do_not_fit():
    with pytest.raises(ArgumentError, match=r"the same samples, got \[\[3\], \[2\]\]"):
        interpret.FixedInputs(Lengths(), torch.ones(3), torch.ones(2))
    with pytest.raises(ArgumentError, match="a tensor, got list"):
        interpret.FixedInputs(Lengths(), [6, 3, 4])
    held = interpret.FixedInputs(Lengths(), torch.tensor([6, 3, 4]))
    with pytest.raises(ArgumentError, match="FixedInputs: x: expected 3 samples"):
        interpret.saliency(held, torch.randn(4, 6, 2), 1)


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "occlusion"])
def test_memory_formats_and_compiled_models(name):
    model, x, target = images()
    method = ATTRIBUTIONS[name]
    expected = method(model, x, target)
    last = x.to(memory_format=torch.channels_last)
    assert torch.allclose(method(model, last, target), expected, atol=1e-6)
    compiled = torch.compile(model, backend="eager")
    assert torch.allclose(method(compiled, x, target), expected, atol=1e-6)
