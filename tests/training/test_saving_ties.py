"""Weights that are one in the model are stored once and are one again in what is loaded."""

import pytest
import torch
from safetensors import safe_open
from torch import nn

from pyneural.training import CheckpointError, Model, Sequential, load_checkpoint, load_model
from pyneural.training.state.file import save_checkpoint
from tests.training.fits import X, Y


def linear_twice():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    return [first, nn.Tanh(), second, nn.Linear(3, 1)]


def layer_twice():
    layer = nn.Linear(3, 3)
    return [layer, nn.Tanh(), layer, nn.Linear(3, 1)]


def norms_of_one_buffer():
    first, second = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    second.running_mean = first.running_mean
    return [first, second, nn.Linear(3, 1)]


def inside_and_outside():
    inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    last = nn.Linear(3, 3)
    last.weight, last.bias = inner[0].weight, inner[0].bias
    return [inner, last, nn.Linear(3, 1)]


def weight_and_bias():
    layer = nn.Linear(1, 1)
    layer.weight = nn.Parameter(torch.zeros(1, 1))
    other = nn.Linear(1, 1)
    other.weight, other.bias = layer.weight, layer.bias
    return [nn.Linear(3, 1), layer, other]


KINDS = [linear_twice, layer_twice, norms_of_one_buffer, inside_and_outside, weight_and_bias]


def groups(model):
    """The names of each tensor that has several."""
    names = {}
    for name, value in model.state_dict(keep_vars=True).items():
        names.setdefault(id(value), []).append(name)
    return [group for group in names.values() if len(group) > 1]


@pytest.mark.parametrize("layers", KINDS)
def test_save_and_load_model(tmp_path, layers):
    path = tmp_path / "model.safetensors"
    model = Sequential(layers())
    model.save(path)
    with safe_open(path, "pt") as file:
        tensors = {id(value) for value in model.state_dict(keep_vars=True).values()}
        assert len(list(file.keys())) == len(tensors)
    again = load_model(path)
    assert groups(again) == groups(model) != []
    x = torch.from_numpy(X)
    assert torch.equal(again.predict(x), model.predict(x))
    own = Sequential(layers())
    own.load(path)
    assert groups(own) == groups(model)
    assert torch.equal(own.predict(x), model.predict(x))


@pytest.mark.parametrize("layers", KINDS)
def test_resumed_fit_has_the_bits_of_one_that_was_not_stopped(tmp_path, layers):
    path = tmp_path / "fit.safetensors"

    def fit(epochs, seed=3, **options):
        torch.manual_seed(seed)
        model = Sequential(layers())
        model.compile("adam", "mse")
        model.fit(X, Y, 16, epochs=epochs, verbose=0, **options)
        return model

    whole = fit(4)
    fit(2, checkpoint=path)
    resumed = fit(4, seed=8, checkpoint=path, resume=True)
    assert groups(resumed) == groups(whole) != []
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_model_without_the_tie_takes_the_values_and_the_other_way_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    tied = Sequential(linear_twice())
    tied.save(path)
    free = Sequential([nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 1)])
    free.load(path)
    assert torch.equal(free[2].weight, tied[0].weight)
    assert groups(free) == []
    nn.init.zeros_(free[2].weight)
    free.save(path)
    before = tied[0].weight.clone()
    with pytest.raises(CheckpointError, match=r"load: 2.weight: expected the values of 0.weight"):
        tied.load(path)
    assert torch.equal(tied[0].weight, before)


def test_model_of_other_code(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.decoder.weight = self.encoder.weight

        def forward(self, x):
            return self.decoder(self.encoder(x))

    model, again = Model(Tied()), Model(Tied())
    model.save(tmp_path / "model.safetensors")
    again.load(tmp_path / "model.safetensors")
    x = torch.from_numpy(X)
    assert torch.equal(again.predict(x), model.predict(x))


BASE = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": BASE, "b": BASE[1]},
        {"a": BASE[0], "b": BASE},
        {"a": BASE, "b": BASE.T, "c": BASE.T},
        {"a": BASE[:, :2], "b": BASE[:, 2:], "c": BASE.flatten()},
        {"a": BASE[:1].expand(5, 4), "b": BASE[0]},
        {"a": BASE.view(torch.int32), "b": BASE},
        {"a": BASE[:0], "b": BASE[:0], "c": torch.empty(0)},
        {"a": torch.view_as_complex(BASE.reshape(6, 2)).conj(), "b": BASE},
        {"a": BASE.to(torch.complex128), "b": BASE.to(torch.complex128).conj().imag},
        {"a": BASE[0, 0], "b": BASE[:1, 0]},
    ],
    ids=["row", "whole after row", "transposed", "disjoint", "expanded", "bits", "empty",
         "conjugate", "complex128", "scalar"],
)  # fmt: skip
def test_tensors_that_share_memory(tmp_path, tensors):
    save_checkpoint(tmp_path / "a", tensors, {})
    again, _, refused = load_checkpoint(tmp_path / "a")
    assert not refused
    assert again.keys() == tensors.keys()
    for name, value in tensors.items():
        assert again[name].dtype == value.dtype
        assert torch.equal(again[name], value), name


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: torch.empty(2, device="meta"), "w: expected a dense tensor with values.*meta"),
        (lambda: torch.eye(2).to_sparse(), "w: expected a dense tensor.*sparse_coo"),
        (lambda: torch.zeros(2, dtype=torch.complex32), "expected tensors of types.*complex32"),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path, make, text):
    with pytest.raises(ValueError, match=f"save: {text}"):
        save_checkpoint(tmp_path / "a", {"w": make()}, {})
    assert not list(tmp_path.iterdir())
