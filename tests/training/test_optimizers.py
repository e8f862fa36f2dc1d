"""Keras's names and defaults, and the three ways to give an optimiser."""

from functools import partial

import pytest
import torch

from pyneural.training.solvers.optimizers import OPTIMIZERS, make_optimizer


def parameters():
    return list(torch.nn.Linear(2, 1).parameters())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", {"lr": 0.01, "momentum": 0}),
        ("rmsprop", {"lr": 0.001, "alpha": 0.9, "eps": 1e-7, "momentum": 0}),
        ("adagrad", {"lr": 0.001, "initial_accumulator_value": 0.1, "eps": 1e-7}),
        ("adadelta", {"lr": 0.001, "rho": 0.95, "eps": 1e-7}),
        ("adam", {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-7, "weight_decay": 0}),
        ("adamw", {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-7, "weight_decay": 0.004}),
        ("adamax", {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-7}),
        ("nadam", {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-7}),
    ],
)
def test_defaults_are_those_of_keras(name, expected):
    made = make_optimizer(name.title(), parameters())
    assert {key: made.defaults[key] for key in expected} == expected


def test_every_name_makes_a_step():
    for name in OPTIMIZERS:
        weights = parameters()
        optimizer = make_optimizer(name, weights)
        before = weights[0].detach().clone()
        torch.nn.functional.linear(torch.ones(1, 2), *weights).sum().backward()
        optimizer.step()
        assert not torch.equal(weights[0], before), name


def test_instances_and_factories_pass_through():
    weights = parameters()
    mine = torch.optim.Adam(weights, lr=0.3)
    assert make_optimizer(mine, weights) is mine
    made = make_optimizer(partial(torch.optim.SGD, lr=0.2), weights)
    assert made.param_groups[0]["lr"] == 0.2
    assert made.param_groups[0]["params"][0] is weights[0]
