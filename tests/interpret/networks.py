"""Small networks for images, series and tables, and all methods with one call each."""

from __future__ import annotations

from functools import partial

import torch

from pyneural import interpret, nn
from pyneural.models import Autoencoder, PatchTransformer


def image_network(classes=3):
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.BatchNorm2d(4),
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(36, classes),
    )  # fmt: skip


def series_network():
    return PatchTransformer(2, 2, 1, d_model=8, heads=2, layers=2)


def table_network():
    return nn.MLP(5, [16, 16], 1)


class Polynomial(torch.nn.Module):
    """x_0^3 + 2 x_1 x_2 of each sample."""

    def forward(self, x):
        return x[:, 0] ** 3 + 2 * x[:, 1] * x[:, 2]


class Two(torch.nn.Module):
    """Of two inputs, [N, 2] and [N, 3, 3]."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 4), torch.nn.Linear(9, 4)

    def forward(self, a, b):
        return (self.first(a) * self.second(b.flatten(1)).tanh()).tanh()


ATTRIBUTIONS = {
    "saliency": interpret.saliency,
    "gradient_times_input": interpret.gradient_times_input,
    "integrated_gradients": partial(interpret.integrated_gradients, tolerance=10.0),
    "smooth_grad": interpret.smooth_grad,
    "occlusion": interpret.occlusion,
}
GRADIENTS = [name for name in ATTRIBUTIONS if name != "occlusion"]


def every_call(x, target):
    """All that works on a model with inputs x, by name."""
    calls = {name: partial(method, x=x, target=target) for name, method in ATTRIBUTIONS.items()}
    saliency = ATTRIBUTIONS["saliency"]
    calls["completeness_gap"] = partial(
        interpret.completeness_gap, x=x, attributions=x, target=target
    )
    calls["deletion_curve"] = partial(
        interpret.deletion_curve, x=x, attributions=x, target=target, steps=3
    )
    calls["randomization_test"] = partial(
        interpret.randomization_test, method=saliency, x=x, target=target, repeats=1
    )
    calls["activation_maximisation"] = partial(
        interpret.activation_maximisation, shape=x.shape, target=target, bounds=(0, 1), steps=2
    )
    return calls


def autoencoder():
    return Autoencoder([6, 4, 2], "tanh")
