"""A resumed training has the parameters of the first run, each with its own moments, or none."""

import copy

import pytest
import torch
from torch import nn

from pyneural.optim import Adadelta
from pyneural.training import (
    LBFGS,
    CheckpointError,
    Model,
    Trainer,
    load_checkpoint,
    save_checkpoint,
)
from pyneural.training.state import stateful
from tests.training.problems import small_pinn

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
SIZES = {"a": (3, 40), "b": (40, 3), "c": (3, 3), "d": (3, 3), "e": (3, 1)}


class Chain(nn.Module):
    """a to e one after the other, whatever the order in which they are made."""

    def __init__(self, order="abcde", frozen=""):
        super().__init__()
        for name in order:
            setattr(self, name, nn.Linear(*SIZES[name]))
        for name in frozen:
            getattr(self, name).requires_grad_(False)

    def forward(self, x):
        return self.e(self.d(self.c(self.b(self.a(x)))))


def fit(path, optimizer="adam", epochs=4, resume=True, **options):
    torch.manual_seed(0)
    chain = Chain(**options)
    model = Model(chain)
    model.compile(optimizer(chain) if callable(optimizer) else optimizer, "mse")
    given = {"checkpoint": path, "resume": resume} if path else {}
    model.fit(X, Y, 16, epochs=epochs, verbose=0, shuffle=False, **given)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(chain):
    return [parameter for parameter in chain.parameters() if parameter.requires_grad]


def momentum(chain):
    return torch.optim.SGD(trained(chain), 0.01, momentum=0.9)


def adadelta(chain):
    return Adadelta(trained(chain), 0.1)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "nadam", momentum, adadelta])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"order": "bacde"}, r"parameter 0: expected module.a.weight \[40, 3\].*module.b.weight"),
        ({"order": "abdce"}, r"parameter 4: expected module.c.weight \[3, 3\].*module.d.weight"),
        ({"order": "abcde", "frozen": "e"}, "parameter 8: expected module.e.weight.*got none"),
    ],
    ids=["other shapes", "same shapes", "frozen"],
)
def test_other_order_or_other_parameters(tmp_path, optimizer, options, text):
    path = tmp_path / "fit.safetensors"
    fit(path, optimizer, epochs=2)
    with pytest.raises(CheckpointError, match=f"resume: optimizer: {text}"):
        fit(path, optimizer, **options)


def test_other_frozen_layer_of_the_same_shape(tmp_path):
    path = tmp_path / "fit.safetensors"
    fit(path, epochs=2, frozen="c")
    with pytest.raises(CheckpointError, match=r"expected module.d.weight .*got module.c.weight"):
        fit(path, frozen="d")
    assert torch.equal(fit(path, frozen="c"), fit(None, frozen="c"))


def swap(state):
    states = state["solver"]["optimizers"][0]["state"]
    states[0], states[2] = states[2], states[0]


def transpose(state):
    entry = state["solver"]["optimizers"][0]["state"][0]
    entry["exp_avg"] = entry["exp_avg"].T.contiguous()


def shrink(state):
    entry = state["solver"]["optimizers"][0]["state"][0]
    entry["exp_avg_sq"] = torch.zeros(())


def long_count(state):
    state["solver"]["optimizers"][0]["state"][0]["step"] = torch.zeros(0)


def permute(state):
    numbers = state["solver"]["optimizers"][0]["param_groups"][0]["params"]
    numbers[0], numbers[2] = numbers[2], numbers[0]


def stray(state):
    states = state["solver"]["optimizers"][0]["state"]
    states[99] = copy.deepcopy(states[0])


def no_names(state):
    del state["trained"]


def fewer(state):
    state["trained"][0].pop()


def no_moment(state):
    del state["solver"]["optimizers"][0]["state"]


def no_place(state):
    del state["place"]


def weights_of_another(state):
    state["model"].pop("module.a.weight")


TAMPERED = [swap, transpose, shrink, long_count, permute, stray, no_names, fewer, no_moment,
            no_place, weights_of_another]  # fmt: skip


@pytest.mark.parametrize("change", TAMPERED)
def test_tampered_record_with_a_right_sum(tmp_path, change):
    path = tmp_path / "fit.safetensors"
    fit(path, epochs=2)
    tensors, record, _ = load_checkpoint(path)
    state = stateful.join(record["state"], tensors)
    change(state)
    record["state"], tensors = stateful.split(state)
    save_checkpoint(path, tensors, record)
    with pytest.raises(CheckpointError, match=r"resume|fit: expected the state"):
        fit(path)


def test_record_without_a_configuration(tmp_path):
    path = tmp_path / "fit.safetensors"
    fit(path, epochs=2)
    tensors, record, _ = load_checkpoint(path)
    del record["config"]
    save_checkpoint(path, tensors, record)
    with pytest.raises(CheckpointError, match=r"fit: expected the state of a training.*config"):
        fit(path)


def test_lbfgs(tmp_path):
    path = tmp_path / "fit.safetensors"

    def trainer():
        return Trainer(small_pinn(), [LBFGS(8)], checkpoint=path, every=1e9, progress=False)

    trainer().fit()
    tensors, record, _ = load_checkpoint(path)
    state = stateful.join(record["state"], tensors)
    entry = state["solver"]["optimizer"]["0"]
    entry["d"] = torch.cat([entry["d"], entry["d"]])
    record["state"], tensors = stateful.split(state)
    save_checkpoint(path, tensors, record)
    resumed = trainer()
    resumed.resume()
    with pytest.raises(CheckpointError, match=r"parameter 0: d: expected shape \[\d+\], got"):
        resumed.fit()


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "sgd", "adagrad"])
def test_moments_have_the_order_in_memory_of_their_parameters(tmp_path, optimizer):
    x = torch.randn(32, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    y = x.mean((1, 2, 3))[:, None]

    def train(epochs, path=None):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(80, 1)
        model = Model(nn.Sequential(*layers).to(memory_format=torch.channels_last))
        model.compile(optimizer, "mse")
        given = {"checkpoint": path, "resume": True} if path else {}
        model.fit(x, y, 16, epochs=epochs, verbose=0, shuffle=False, **given)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    path = tmp_path / "fit.safetensors"
    train(3, path)
    assert torch.equal(train(6, path), train(6))
