"""Distributed tensors and tensor-parallel plans, on one process: as with torch's layers."""

from __future__ import annotations

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from pyneural import nn

X = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    rendezvous = f"file://{tmp_path_factory.mktemp('mesh') / 'rendezvous'}"
    distributed.init_process_group("gloo", init_method=rendezvous, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def full(t):
    return t.full_tensor() if isinstance(t, DTensor) else t


def same(make, call):
    found = []
    for package in (torch.nn, nn):
        torch.manual_seed(0)
        model = make(package)
        y = full(call(model))
        grads = torch.autograd.grad(y.sin().sum(), list(model.parameters()))
        found.append([y, *map(full, grads)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "plan", "x"),
    [
        (
            lambda nn: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)),
            {"0": ColwiseParallel(), "2": RowwiseParallel()},
            X,
        ),
        (
            lambda nn: nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4)),
            {"0": ColwiseParallel(), "1": RowwiseParallel()},
            X[0],
        ),
        (
            lambda nn: nn.TransformerEncoderLayer(8, 2, 16, 0.0),
            {"linear1": ColwiseParallel(), "linear2": RowwiseParallel()},
            X,
        ),
        (lambda nn: nn.Sequential(nn.Linear(8, 4)), {"0": ColwiseParallel()}, X),
    ],
)
def test_plans(mesh, make, plan, x):
    def call(model):
        parallelize_module(model, mesh, plan)
        assert any(isinstance(p, DTensor) for p in model.parameters())
        return model(x)

    same(make, call)


@pytest.mark.parametrize(
    ("make", "x", "placement"),
    [
        (lambda nn: nn.Linear(8, 4), X, Shard(0)),
        (lambda nn: nn.Linear(8, 4), X, Replicate()),
        (lambda nn: nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4)), X[0], Shard(0)),
    ],
)
def test_distributed_tensors(mesh, make, x, placement):
    def call(model):
        distribute_module(model, mesh)
        return model(distribute_tensor(x, mesh, [placement]))

    same(make, call)


def test_distributed_attention_and_losses(mesh):
    x = distribute_tensor(X, mesh, [Replicate()])
    found = []
    for package in (torch.nn, nn):
        torch.manual_seed(0)
        layer = distribute_module(package.MultiheadAttention(8, 2), mesh)
        with torch.no_grad():
            found.append([full(t) for t in (layer(x, x, x)[0], package.MSELoss()(x, 2 * x))])
            assert full(package.Dropout(0.0)(x)).equal(X)
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_tensors_of_both_kinds_are_refused_as_torch_does(mesh):
    for package in (torch.nn, nn):
        layer = distribute_module(package.Linear(8, 4), mesh)
        with pytest.raises(RuntimeError, match=r"mixed .* and DTensor"):
            layer(X)


def test_fully_sharded(mesh):
    for make, x in (
        (lambda nn: nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4)), X[0]),
        (lambda nn: nn.TransformerEncoderLayer(8, 2, 16, 0.0), X),
    ):

        def call(model, x=x):
            fully_shard(model, mesh=mesh)
            return model(x)

        found = []
        for package in (torch.nn, nn):
            torch.manual_seed(0)
            found.append(call(make(package)))
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
