"""Tensors without values: on meta beside real ones, on meta alone, fake and with symbolic sizes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from pyneural import nn, ops
from tests.fuzz.draw import OPS, Draw
from tests.fuzz.op_calls import CALLS, IN_PLACE

META = torch.device("meta")
ON_CPU = ("lengths", "seed", "steps")  # by the ops' own rules


def good_call(name, seed="1"):
    return CALLS[name](Draw(f"{seed} {name}", sizes=(2, 3, 5)))


def names_of(name, args):
    """The argument that each leaf of the arguments belongs to."""
    schema = getattr(OPS, name).default._schema.arguments
    pairs = zip(schema, args, strict=True)
    return [argument.name for argument, value in pairs for _ in tree_flatten(value)[0]]


def test_every_op_is_called_here():
    prefix = "pyneural::"
    schemas = torch._C._jit_get_all_schemas()
    every = {s.name.removeprefix(prefix) for s in schemas if s.name.startswith(prefix)}
    checks = {name for name in every if name.startswith("check_")}
    others = {"multiply_add_probe", "residual_loss"}  # the latter is of pde, for compiled graphs
    assert every - checks - others == CALLS.keys()


def sole(args, name):
    """The argument without which no tensor has to be on a device."""
    pairs = zip(tree_flatten(args)[0], names_of(name, args), strict=True)
    owners = [owner for leaf, owner in pairs if isinstance(leaf, torch.Tensor)]
    placed = [owner for owner in owners if owner not in ON_CPU] or owners
    return placed[0] if len(placed) == 1 else None


@pytest.mark.parametrize("name", CALLS)
def test_one_tensor_on_meta_is_named(name):
    op = getattr(OPS, name)
    for seed in range(4):
        args = good_call(name, seed)
        leaves, structure = tree_flatten(args)
        for place, argument in enumerate(names_of(name, args)):
            if not isinstance(leaves[place], torch.Tensor) or sole(args, name) == argument:
                continue
            mixed = [*leaves[:place], leaves[place].to(META), *leaves[place + 1 :]]
            with pytest.raises(ValueError, match=rf"^{name.split('_with')[0]}\w*: ") as caught:
                op(*tree_unflatten(mixed, structure))
            assert "meta" in str(caught.value) or argument in ON_CPU
            others = [
                leaf.to(META) if isinstance(leaf, torch.Tensor) and i != place else leaf
                for i, leaf in enumerate(leaves)
            ]
            if argument in ON_CPU:
                continue
            with pytest.raises(ValueError, match=r"meta|cpu"):
                op(*tree_unflatten(others, structure))


def shapes(result):
    return [(t.shape, t.dtype) for t in tree_leaves(result) if t is not None]


def without_values(name, args, convert):
    """All tensors but those that are on the CPU wherever the others are."""
    leaves, structure = tree_flatten(args)
    pairs = zip(leaves, names_of(name, args), strict=True)
    converted = [
        convert(leaf) if isinstance(leaf, torch.Tensor) and argument not in ON_CPU else leaf
        for leaf, argument in pairs
    ]
    return tree_unflatten(converted, structure)


@pytest.mark.parametrize("name", CALLS)
def test_all_on_meta_and_fake(name):
    op = getattr(OPS, name)
    for seed in range(4):
        args = good_call(name, seed)
        expected = shapes(op(*args))
        if name != "attention_keep":
            found = op(*without_values(name, args, lambda t: t.to(META)))
            assert all(leaf is None or leaf.is_meta for leaf in tree_leaves(found))
            assert shapes(found) == expected
        if name in IN_PLACE:  # in place, in plain torch
            continue
        mode = FakeTensorMode()
        with mode:
            fakes = tree_map_only(torch.Tensor, mode.from_tensor, args)
            found = op(*fakes)
        assert shapes(found) == expected
        assert all(leaf.device.type == "cpu" for leaf in tree_leaves(found))


def on_gpu(t):
    return torch.empty(t.shape, dtype=t.dtype, device="cuda")


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"attention_keep", *IN_PLACE}))
def test_fakes_are_checked_as_tensors_are(name):
    op = getattr(OPS, name)
    args = good_call(name)
    leaves, structure = tree_flatten(args)
    tensors = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    owners = names_of(name, args)
    refused = 0
    for place, change in itertools.product(
        tensors, (lambda t: t.to(torch.int32), lambda t: t[None], on_gpu)
    ):
        mode = FakeTensorMode()
        with mode:
            fakes = tree_map_only(torch.Tensor, mode.from_tensor, leaves)
            fakes[place] = change(fakes[place])
            given = tree_unflatten(fakes, structure)
            if owners[place] in ON_CPU:
                continue
            try:
                op(*given)
            except ValueError as error:
                refused += name.split("_with")[0] in str(error)
    assert refused >= 2 * len({owners[i] for i in tensors if owners[i] not in ON_CPU}) - 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: (nn.Linear(3, 4, device=META), torch.ones(2, 3)),
        lambda: (nn.Linear(3, 4, bias=False, device=META, activation="tanh"), torch.ones(2, 3)),
        lambda: (nn.MLP(3, [4], 2).to(META), torch.ones(2, 3)),
        lambda: (nn.MLP(3, [200], 2).to(META), torch.ones(2, 3)),
        lambda: (nn.RNN(3, 4, device=META), torch.ones(2, 2, 3)),
        lambda: (nn.LSTM(3, 4, device=META), torch.ones(2, 2, 3)),
        lambda: (nn.GRU(3, 4, 2, bidirectional=True, device=META), torch.ones(2, 2, 3)),
        lambda: (nn.MaskedLinear(nn.random_mask(4, 3, sparsity=0.5)).to(META), torch.ones(2, 3)),
        lambda: (nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to(META), torch.ones(2, 3)),
        lambda: (nn.TransformerEncoderLayer(4, 2, 8, device=META), torch.ones(2, 2, 4)),
    ],
    ids=["Linear", "tanh", "MLP", "wide MLP", "RNN", "LSTM", "GRU", "MaskedLinear", "Sequential",
         "TransformerEncoderLayer"],
)  # fmt: skip
@pytest.mark.parametrize("training", [True, False])
def test_layers_on_meta_refuse_values(make, training):
    layer, x = make()
    layer.train(training)
    with pytest.raises((ValueError, RuntimeError), match=r"meta|device"):
        layer(x)
    with pytest.raises((ValueError, RuntimeError), match=r"meta|device"):
        layer(x.requires_grad_())
    with torch.no_grad(), pytest.raises((ValueError, RuntimeError), match=r"meta|device"):
        layer(x)
    result = tree_leaves(layer(x.to(META)))
    assert all(leaf.is_meta for leaf in result)


FUNCTIONS = {
    "dense": lambda x, w: ops.dense(x, w, w[:, 0], "gelu"),
    "mlp": lambda x, w: ops.mlp(x, [w, w.T], [w[:, 0], w[0]], "tanh"),
    "rnn": lambda x, w: ops.rnn(x[:, None], None, (w, w @ w.T, None, None), "relu")[0],
    "attention": lambda x, w: ops.attention(x, w, w),
    "masked_dense": lambda x, w: ops.masked_dense(
        x, w.flatten()[:4], ops.SparsityPattern(torch.tensor([0, 2, 4]), torch.arange(4) % 2), None
    ),
    "autoregressive": lambda x, w: ops.autoregressive(
        x,
        None,
        [w, torch.cat((w.T, w.T))],
        [w[:, 0], torch.cat((w[0], w[1]))],
        torch.tensor([0, 1, 2, 1, 2, 1, 2]),
    )[0],
    "continuous_flow": lambda x, w: ops.continuous_flow(
        x, None, [w, w.T], [w[:, 0], w[0]], steps=2
    )[1],
    "diffusion_sampler": lambda x, w: ops.diffusion_sampler(
        x, None, [w, w.T], [w[:, 0], w[0]], w.T, w.T[:, :3], seed=torch.tensor([1])
    ),
    "spline": lambda x, w: ops.rational_quadratic_spline(x, w.T, w.T, w[1:].T)[0],
    "jet": lambda x, w: ops.jet_mlp(x, [w], [w[:, 0]], "tanh", [(0,), (1, 1)])[1],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_symbolic_sizes_stay_symbols(name):
    """One graph for every number of rows, with gradients; wrong sizes are refused at the call."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    function = FUNCTIONS[name]
    compiled = torch.compile(function, dynamic=True, backend=backend, fullgraph=True)
    w = torch.randn(4, 3, dtype=torch.float64)
    for rows in (5, 7, 12):
        x = torch.randn(rows, 3, dtype=torch.float64)
        assert torch.allclose(compiled(x, w), function(x, w))
    assert len(graphs) == 1


@pytest.mark.parametrize("name", ["dense", "mlp", "attention"])
def test_export_with_a_free_size(name):
    class Module(torch.nn.Module):
        def forward(self, x, w):
            return FUNCTIONS[name](x, w)

    x, w = torch.randn(5, 3), torch.randn(4, 3)
    free = {0: torch.export.Dim("rows", min=2)}
    program = torch.export.export(Module(), (x, w), dynamic_shapes=(free, None))
    for rows in (5, 9):
        x = torch.randn(rows, 3)
        assert torch.allclose(program.module()(x, w), FUNCTIONS[name](x, w))
