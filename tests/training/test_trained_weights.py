"""What requires a gradient is trained and nothing else, whenever that was said."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pyneural import layers
from pyneural.training import (
    Adam,
    LevenbergMarquardt,
    Model,
    Sequential,
    Trainable,
    Trainer,
    callbacks,
)

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def moved(model, **options):
    """Names of the parameters that a fit changes."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.fit(X, Y, epochs=2, verbose=0, **options)
    now = dict(model.named_parameters())
    return {name for name in now if name not in before or not torch.equal(now[name], before[name])}


def parameters_of(model, *indices):
    return {n for n, _ in model.named_parameters() if n.split(".")[0] in map(str, indices)}


def three(kind=nn.Linear):
    torch.manual_seed(0)
    sizes = [(3, 4), (4, 4), (4, 1)]
    if kind is nn.Linear:
        return Sequential([nn.Linear(*size) for size in sizes])
    if kind is nn.LazyLinear:
        return Sequential([nn.LazyLinear(size[1]) for size in sizes])
    return Sequential([layers.Dense(size[1]) for size in sizes])


KINDS = [nn.Linear, nn.LazyLinear, layers.Dense]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["trainable", "requires_grad_"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", partial(torch.optim.Adam, weight_decay=1.0)])
def test_frozen_before_the_layer_is_built(kind, way, optimizer):
    model = three(kind)
    if way == "trainable":
        model[1].trainable = False
    elif kind is nn.LazyLinear:  # whose method refuses, in torch, too
        model[1].weight.requires_grad = model[1].bias.requires_grad = False
    else:
        model[1].requires_grad_(False)
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    assert moved(model) == parameters_of(model, 0, 2)
    count = model.count()
    assert (count.total, count.trained) == (41, 21)
    assert model[1].trainable is False if hasattr(model[1], "trainable") else True


def test_a_whole_model_frozen_before_it_is_built():
    base = Sequential([layers.Dense(4), layers.Dense(3)])
    base.trainable = False
    model = Sequential([base, layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert moved(model) == parameters_of(model, 1)
    base.trainable = True
    assert moved(model) == parameters_of(model, 0, 1)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="at least one parameter that requires a gradient"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("optimizer", ["adam", partial(torch.optim.Adam, lr=1e-3)])
def test_layers_that_are_unfrozen_replaced_and_added_after_compile(optimizer):
    model = three()
    model[0].requires_grad_(False)
    model.compile(optimizer, "mse")
    assert moved(model) == parameters_of(model, 1, 2)
    model.optimizer.param_groups[0]["lr"] = 0.5
    steps = model.optimizer.state[model[2].weight]["step"].item()
    model[0].requires_grad_(True)
    assert moved(model) == parameters_of(model, 0, 1, 2)
    assert model.optimizer.param_groups[0]["lr"] == 0.5
    assert model.optimizer.state[model[2].weight]["step"] == steps + 2
    gone = model[2].weight
    model[2] = layers.Dense(1)  # not built yet
    assert moved(model) == parameters_of(model, 0, 1, 2)
    assert all(gone is not p for group in model.optimizer.param_groups for p in group["params"])
    model.add(nn.Linear(1, 1))
    assert moved(model) == parameters_of(model, 0, 1, 2, 3)
    setattr(model, "1", nn.Linear(4, 4))
    assert moved(model) == parameters_of(model, 0, 1, 2, 3)
    with pytest.raises(TypeError, match="item assignment"):
        model.layers[0] = nn.Linear(3, 4)


def test_layers_replaced_within_a_module():
    network = nn.Sequential(nn.Linear(3, 4), layers.Dense(1))
    model = Model(network)
    with pytest.raises(ValueError, match="summary: expected built layers"):
        model.summary()
    model.compile("sgd", "mse")
    assert {"module.1.linear.weight", "module.0.weight"} <= moved(model)
    network[0] = layers.Dense(4)
    assert {"module.1.linear.weight", "module.0.linear.weight"} <= moved(model)


def test_groups_of_parameters_stay_what_they_are():
    def two(parameters):
        matrices = [p for p in parameters if p.dim() > 1]
        vectors = [p for p in parameters if p.dim() < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors}]
        return torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.0)

    model = three()
    model[0].requires_grad_(False)
    model.compile(two, "mse")
    moved(model)
    model.optimizer.param_groups[1]["lr"] = 0.25
    model[0].requires_grad_(True)
    assert moved(model) == parameters_of(model, 0, 1, 2)
    first, second = model.optimizer.param_groups
    assert (first["weight_decay"], second["weight_decay"]) == (0.1, 0.0)
    assert (first["lr"], second["lr"]) == (1e-2, 0.25)
    assert [len(first["params"]), len(second["params"])] == [3, 3]


def test_a_users_own_optimiser_is_refused_where_it_lacks_a_parameter():
    model = three()
    model.compile(torch.optim.SGD(model[2].parameters(), lr=0.1), "mse")
    with pytest.raises(ValueError, match=r"fit: optimizer: .* got one without 0\.weight"):
        model.fit(X, Y, verbose=0)
    model[0].requires_grad_(False)
    model[1].trainable = False
    assert moved(model) == parameters_of(model, 2)
    assert model.count().trained == 5
    model[1].trainable = True
    model.optimizer.add_param_group({"params": model[1].parameters()})
    assert moved(model) == parameters_of(model, 1, 2)


def test_layers_unfrozen_while_it_trains():
    model = three()
    model[0].requires_grad_(False)
    model.compile("sgd", "mse")
    unfreeze = callbacks.Every(1, lambda run: run.model[0].requires_grad_(True), "epoch")
    with pytest.raises(RuntimeError, match=r"'0\.weight' beside them; end the training"):
        model.fit(X, Y, epochs=3, verbose=0, callbacks=[unfreeze])


def test_a_frozen_batch_normalisation_keeps_its_averages():
    model = Sequential([layers.BatchNormalization(), layers.Dense(1)])
    model[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert torch.equal(model[0].norm.running_mean, torch.zeros(3))
    model[0].trainable = True
    model.fit(X, Y, verbose=0)
    assert not torch.equal(model[0].norm.running_mean, torch.zeros(3))


class Line(Trainable):
    """r = w_0 + w_1 - (1, 2)."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        self.b = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def residual(self):
        return self.a + self.b - torch.tensor([1.0, 2.0], dtype=torch.float64)

    def least_squares(self, batch):
        return {"r": self.residual}

    def losses(self, batch):
        return {"r": self.residual().square().sum()}


@pytest.mark.parametrize("phase", [Adam(20), LevenbergMarquardt(20)])
def test_phases_leave_frozen_parameters_alone(phase):
    model = Line()
    model.a.requires_grad_(False)
    Trainer(model, [phase], progress=False).fit()
    assert torch.equal(model.a, torch.zeros(2, dtype=torch.float64))
    assert not torch.equal(model.b, torch.zeros(2, dtype=torch.float64))


def test_a_parameter_of_its_own_counts_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)
            self.weight = self.inner.weight
            self.scale = nn.Parameter(torch.ones(3))

    count = Model(Tied()).count()
    assert (count.total, count.trained) == (9, 9)


CONTAINERS = {
    "Sequential": lambda *parts: nn.Sequential(*parts),
    "ModuleList": lambda *parts: Listed(parts),
    "two deep": lambda *parts: nn.Sequential(nn.Sequential(*parts), nn.Identity()),
}
UNBUILT = {
    "Dense": lambda: [layers.Dense(4), layers.Dense(3)],
    "BatchNormalization": lambda: [layers.BatchNormalization(), layers.Dense(3)],
    "no weights": lambda: [layers.Flatten(), layers.Dense(3)],
    "partly built": lambda: [nn.Linear(3, 4), layers.Dense(3)],
}


class Listed(nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", UNBUILT)
@pytest.mark.parametrize("outer", [lambda *parts: Model(nn.Sequential(*parts)),
                                   lambda *parts: Sequential(parts)])  # fmt: skip
def test_a_plain_container_frozen_before_its_layers_are_built(container, kind, outer):
    base = CONTAINERS[container](*UNBUILT[kind]()).requires_grad_(False)
    model = outer(base, layers.Dense(1))
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    frozen, own = dict(base.named_parameters()), dict(model.named_parameters())
    assert frozen
    assert not any(p.requires_grad for p in frozen.values())
    assert not any("unbuilt" in name for name in own)
    assert moved(model) == {n for n, p in own.items() if not any(p is q for q in frozen.values())}
    base.requires_grad_(True)
    assert moved(model) == set(own)


def test_frozen_and_thawed_before_it_is_built():
    base = nn.Sequential(layers.Dense(4)).requires_grad_(False).requires_grad_(True)
    base(torch.zeros(1, 3))
    assert all(p.requires_grad for p in base.parameters())
    frozen = copy.deepcopy(nn.Sequential(layers.Dense(4)).requires_grad_(False))
    frozen = pickle.loads(pickle.dumps(frozen)).double()
    frozen(torch.zeros(1, 3, dtype=torch.float64))
    assert [p.requires_grad for p in frozen.parameters()] == [False, False]
    assert frozen[0].trainable is False


def test_what_stands_for_weights_is_not_trained_nor_saved():
    base = nn.Sequential(layers.Dense(4))
    assert base.state_dict() == {}
    base.load_state_dict({})
    assert sum(p.numel() for p in base.parameters()) == 0
    with pytest.raises(ValueError, match="optimizer: expected parameters of layers that are built"):
        torch.optim.Adam(base.parameters())
    with pytest.raises(ValueError, match="call the model with one batch first"):
        torch.optim.SGD(nn.Sequential(nn.Linear(3, 3), layers.Dense(4)).parameters(), lr=0.1)
    base(torch.zeros(1, 3))
    assert len(list(base.parameters())) == 2
    torch.optim.Adam(base.parameters())


@pytest.mark.parametrize("outer", [lambda *parts: Model(nn.Sequential(*parts)),
                                   lambda *parts: Sequential(parts)])  # fmt: skip
def test_the_type_of_a_model_is_that_of_the_weights_that_it_has(outer):
    model = outer(layers.Flatten(), nn.Linear(3, 1).double())
    assert model.predict(X).dtype == np.float64
