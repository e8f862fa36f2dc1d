"""Models in files."""

import pytest
import torch
from torch import nn

from pyneural.nn import MLP, MaskedLinear, Maxout, random_mask
from pyneural.training import CheckpointError, Model, Sequential, load_model


def test_save_and_load(tmp_path):
    path = tmp_path / "model.safetensors"
    model = Sequential(
        [nn.Conv2d(1, 2, 3, padding="same"), nn.BatchNorm2d(2), nn.Flatten(), nn.Dropout(0.2),
         nn.Sequential(nn.Linear(32, 4, bias=False), nn.LeakyReLU(0.3)), nn.Softmax(-1)]
    ).double()  # fmt: skip
    x = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    model(x)
    expected = model.predict(x)
    model.save(path)
    again = load_model(path)
    assert torch.equal(again.predict(x), expected)
    assert repr(again) == repr(model)
    other = Sequential([nn.Linear(4, 2)])
    with pytest.raises(CheckpointError, match=r"load: 0.weight: expected shape \(2, 4\)"):
        other.load(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(path)


def test_files_make_no_other_classes_than_layers(tmp_path):
    class Mine(nn.Linear):
        pass

    path = tmp_path / "model.safetensors"
    model = Sequential([Mine(4, 1)])
    model.save(path)
    with pytest.raises(CheckpointError, match=r"expected layers of torch.nn.*Mine"):
        load_model(path)
    again = Sequential([Mine(4, 1)])
    again.load(path)
    assert torch.equal(again[0].weight, model[0].weight)
    wrapped = Model(nn.Linear(4, 1))
    wrapped.save(path)
    with pytest.raises(CheckpointError, match=r"expected a saved Sequential"):
        load_model(path)


@pytest.mark.parametrize(
    "layer",
    [
        MLP(3, [8, 5], 2, "sin"),
        MLP(3, [], 2, input_range=([0.0, 1.0, 2.0], 4.0)),
        MaskedLinear(random_mask(4, 3, sparsity=0.5), bias=False, activation="relu"),
        nn.Sequential(nn.Linear(3, 6), Maxout(2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_of_pyneural_come_back(layer, tmp_path):
    model = Sequential([layer, nn.Tanh()])
    x = torch.rand(5, 3)
    expected = model(x)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert torch.equal(again(x), expected)
    assert repr(again) == repr(model)


def test_damaged_file_is_refused_each_time_and_the_one_before_named(tmp_path):
    path, before = tmp_path / "model.safetensors", tmp_path / "model.previous.safetensors"
    model = Sequential([nn.Linear(3, 1)])
    model.save(path)
    first = model[0].weight.clone()
    nn.init.zeros_(model[0].weight)
    model.save(path)
    path.write_bytes(path.read_bytes()[:-5])
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"damaged.*or load .*model.previous"):
            load_model(path)
    assert torch.equal(load_model(before)[0].weight, first)
    path.unlink()  # as a writer leaves it that dies between two renames
    assert torch.equal(load_model(path)[0].weight, first)
    before.unlink()
    with pytest.raises(CheckpointError, match=r"load: expected a file .*, got none; save"):
        load_model(path)
