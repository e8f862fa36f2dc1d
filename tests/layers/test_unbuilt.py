"""Layers that wait for the shape of their input, in the hands of torch's own tools."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from pyneural import layers
from pyneural.training import Model

X = torch.randn(8, 3)
WEIGHTS = ["0.linear.weight", "0.linear.bias", "1.linear.weight", "1.linear.bias"]


def unbuilt():
    return nn.Sequential(layers.Dense(4), layers.Dense(2))


def names(model):
    return [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile_builds_the_layers(backend):
    torch.compiler.reset()
    model = unbuilt()
    compiled = torch.compile(model, backend=backend)
    found = compiled(X)
    torch.testing.assert_close(found, model(X))
    assert names(model) == WEIGHTS
    compiled(X).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_functional_call_leaves_built_layers():
    model = unbuilt()
    found = torch.func.functional_call(model, dict(model.named_parameters()), (X,))
    assert names(model) == WEIGHTS
    torch.testing.assert_close(found, model(X))
    torch.optim.SGD(model.parameters())
    trained = Model(model)
    trained.compile("sgd", "mse")
    trained.fit(X, X[:, :2], verbose=0)


def by_torch_save(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), by_torch_save]
)
@pytest.mark.parametrize("frozen", [False, True])
def test_optimizers_refuse_a_copy_too(copied, frozen):
    model = copied(unbuilt().requires_grad_(not frozen))
    for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS):
        with pytest.raises(ValueError, match="parameters of layers that are built"):
            optimizer(model.parameters())
    model(X)
    assert names(model) == WEIGHTS
    assert [p.requires_grad for p in model.parameters()] == [not frozen] * 4


def test_what_stands_for_the_weights_is_converted_and_moved():
    model = unbuilt()
    model[1].requires_grad_(False)
    for move, dtype, device in (
        (lambda: model.double(), torch.float64, "cpu"),
        (lambda: model.to("meta", torch.bfloat16), torch.bfloat16, "meta"),
        (lambda: model.to_empty(device="cpu").float(), torch.float32, "cpu"),
        (model.share_memory, torch.float32, "cpu"),
    ):
        found = [(p.dtype, p.device.type, p.requires_grad) for p in move().parameters()]
        assert found == [(dtype, device, True), (dtype, device, False)]
    with pytest.raises(ValueError, match="parameters of layers that are built"):
        torch.optim.SGD(model.parameters())
    model.double()(X.to(next(model.parameters()).dtype))
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, False]


def test_averages_refuse_what_is_not_built():
    model = unbuilt()
    average = torch.optim.swa_utils.AveragedModel(model)
    assert all(p.detach().clone().numel() == 0 for p in model.parameters())  # a snapshot is none
    model(X)
    with pytest.raises(ValueError, match="call the model with one batch first"):
        average.update_parameters(model)
    average = torch.optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    torch.testing.assert_close(average(X), model(X))
