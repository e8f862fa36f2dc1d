"""Whatever is wrong with a file, it is one class of error, and the file before is used."""

import json

import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pyneural import layers
from pyneural.nn import MLP, MaskedLinear, random_mask
from pyneural.training import CheckpointError, Sequential, load_checkpoint, load_model
from pyneural.training.state.file import FORMAT, previous_path, read_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of step 2, with tied and complex tensors, and that of step 1 before it."""
    path = tmp_path / "run.safetensors"
    w = torch.arange(5.0)
    for step in (1, 2):
        tensors = {"w": w + step, "tied": w, "v": w, "c": torch.ones(2, dtype=torch.complex128)}
        save_checkpoint(path, tensors, {"step": step})
    return path


def test_each_single_bit(saved):
    whole, path = saved.read_bytes(), saved.with_name("flipped")
    for place in range(8 * len(whole)):
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


def test_each_length(saved):
    whole, path = saved.read_bytes(), saved.with_name("cut")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
    for more in (b"\0", b" ", b"}", whole):
        path.write_bytes(whole + more)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"record"', b'"recorc"'),
        (b'"sha256"', b'"sha257"'),
        (b'"format"', b'"fosmat"'),
        (b'"__metadata__"', b'"__metadatb__"'),
        (b'"beside"', b'"besidf"'),
        (b"step", b"st\xe9p"),  # not UTF-8
        (b'"F64"', b'"F65"'),
        (FORMAT.encode(), FORMAT.encode()[:-1] + b"2"),
    ],
)
def test_header_of_the_last_file(saved, old, new):
    data = saved.read_bytes()
    assert old in data
    saved.write_bytes(data.replace(old, new))
    tensors, record, refused = load_checkpoint(saved)
    assert record == {"step": 1}
    assert torch.equal(tensors["w"], torch.arange(5.0) + 1)
    assert len(refused) == 1


def test_directory_in_the_place_of_the_file(saved):
    saved.unlink()
    saved.mkdir()
    assert load_checkpoint(saved)[1] == {"step": 1}


def with_header(**header):
    return save({"w": torch.ones(2)}, metadata={"format": FORMAT, **header})


@pytest.mark.parametrize(
    "beside", ["no", "[]", '{"tied": {}}', '{"tied": {"a": "x"}, "complex128": []}', "7",
               '{"tied": [1], "complex128": []}', '{"tied": {}, "complex128": ["w", "x"]}'],
)  # fmt: skip
def test_forged_notes_with_a_right_sum(tmp_path, monkeypatch, beside):
    path = tmp_path / "run"
    monkeypatch.setattr("pyneural.training.state.file._digest", lambda tensors, text: "sum")
    path.write_bytes(with_header(record="{}", sha256="sum", beside=beside))
    with pytest.raises(CheckpointError, match="a file that pyneural wrote"):
        read_checkpoint(path)


class Largest(TorchDispatchMode):
    """The largest tensor with memory that was made."""

    elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        if isinstance(result, torch.Tensor) and not result.is_meta:
            self.elements = max(self.elements, result.numel())
        return result


TORCH = "torch.nn.modules"


def layer(kind, **arguments):
    return {"class": kind, "arguments": arguments}


@pytest.mark.parametrize(
    ("input_shape", "described"),
    [
        (None, layer(f"{TORCH}.linear.Linear", in_features=30000, out_features=30000)),
        ([3], layer(f"{TORCH}.linear.Linear", in_features=3, out_features=10**9)),
        (None, layer(f"{TORCH}.conv.Conv2d", in_channels=9000, out_channels=9000, kernel_size=9)),
        (None, layer(f"{TORCH}.sparse.Embedding", num_embeddings=10**6, embedding_dim=10**4)),
        (None, layer(f"{TORCH}.batchnorm.BatchNorm1d", num_features=10**9)),
        (None, layer("pyneural.nn.mlp.MLP", in_features=3, hidden=[40000, 40000], out_features=1)),
        (None, layer("pyneural.nn.mlp.MLP", in_features=3, hidden=[40000, 40000], out_features=1,
                     input_range=[0.0, 1.0])),
        (None, layer("pyneural.nn.masked_linear.MaskedLinear", in_features=40000, edges=10**9,
                     out_features=40000, bias=True, activation="tanh")),
        (None, layer("pyneural.nn.recurrent.LSTM", input_size=10**4, hidden_size=10**4)),
        ([30000], layer("pyneural.layers.core.Dense", units=30000)),
        ([10**6, 10**6], layer(f"{TORCH}.activation.ReLU")),
        (None, layer(f"{TORCH}.container.Sequential", layers=[
            layer(f"{TORCH}.linear.Linear", in_features=30000, out_features=30000)])),
    ],
    ids=["Linear", "wide", "Conv2d", "Embedding", "BatchNorm1d", "MLP", "scaled MLP",
         "MaskedLinear", "LSTM", "Dense", "samples", "nested"],
)  # fmt: skip
def test_a_small_file_takes_little_memory_before_it_is_refused(tmp_path, input_shape, described):
    path = tmp_path / "model.safetensors"
    small = layer(f"{TORCH}.linear.Linear", in_features=1, out_features=1)
    config = {"input_shape": input_shape, "layers": [described, small]}
    record = {"model": "Sequential", "config": config}
    save_checkpoint(path, {"0.weight": torch.ones(1)}, record)
    with Largest() as largest, pytest.raises(CheckpointError):
        load_model(path)
    assert largest.elements < 1e6


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"input_shape": None},
        {"input_shape": None, "layers": [{}]},
        {"input_shape": None, "layers": [layer(f"{TORCH}.linear.Linear")]},
        {"input_shape": None, "layers": [layer(f"{TORCH}.linear.Linear", width=3)]},
        {"input_shape": None, "layers": [layer(f"{TORCH}.linear.Lineal", in_features=3)]},
        {"input_shape": None, "layers": [layer(f"{TORCH}.linea.Linear", in_features=3)]},
        {"input_shape": None, "layers": [layer(f"{TORCH}.linear.Linear", in_features=-3,
                                               out_features=1)]},
        {"input_shape": None, "layers": [7]},
        {"input_shape": 7, "layers": []},
        7,
    ],
    ids=json.dumps,
)  # fmt: skip
def test_descriptions_that_make_no_model(tmp_path, config):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, {}, {"model": "Sequential", "config": config})
    with pytest.raises(CheckpointError, match="load"):
        load_model(path)


def test_good_models_still_come_back(tmp_path):
    path = tmp_path / "model.safetensors"
    models = [
        Sequential([layers.Dense(5, input_shape=(3,)), layers.Dropout(0.5), layers.Dense(1)]),
        Sequential(
            [layers.Conv2D(2, 3, input_shape=(6, 6, 1)), layers.Flatten(), nn.Linear(32, 2)]
        ),
        Sequential([MaskedLinear(random_mask(4, 3, sparsity=0.5)), MLP(4, [5], 2)]),
        Sequential([nn.Linear(3, 4), nn.LayerNorm(4)]).double(),
    ]
    for model in models:
        x = torch.rand(2, *model.input_shape, dtype=next(model.parameters()).dtype)
        model.save(path)
        again = load_model(path)
        assert torch.equal(again.eval()(x), model.eval()(x))
        assert again.output_shapes == model.output_shapes
    assert previous_path(path).exists()
