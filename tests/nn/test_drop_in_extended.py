"""Layers as users extend them: what a module holds means what torch's means.

Each case is a change of a layer, a function of the layer and its package, made to torch's layer and
to ours; outputs, gradients and what the user's code saw are equal.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from pyneural import nn, training
from tests.nn.called_ops import CalledOps

FLOAT64 = {"rtol": 1e-9, "atol": 1e-10}


class LoRA(torch.nn.Module):
    """W x + b + B A x, around a linear layer."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.a = torch.nn.Parameter(torch.linspace(-1, 1, 2 * base.in_features).view(2, -1))
        self.b = torch.nn.Parameter(torch.linspace(-1, 1, 2 * base.out_features).view(-1, 2))

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


class Logged(torch.nn.Module):
    """A layer that keeps what it returned."""

    def __init__(self, inner, seen):
        super().__init__()
        self.inner, self.seen = inner, seen

    def forward(self, *inputs, **options):
        self.seen.append(self.inner(*inputs, **options))
        return self.seen[-1]


def with_lora(layer, package, seen):
    layer.linear1 = LoRA(layer.linear1)


def with_lora_of_both(layer, package, seen):
    layer.linear1, layer.linear2 = LoRA(layer.linear1), LoRA(layer.linear2)


def with_a_hook_that_sees(layer, package, seen):
    layer.linear1.register_forward_hook(lambda module, inputs, output: seen.append(output))


def with_a_hook_that_changes(layer, package, seen):
    layer.linear1.register_forward_hook(lambda module, inputs, output: output - 0.5)


def with_a_hook_before(layer, package, seen):
    layer.linear1.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))


def with_a_backward_hook(layer, package, seen):
    layer.linear1.register_full_backward_hook(lambda module, into, out: seen.append(out[0]))


def with_a_hook_on_the_activation(layer, package, seen):
    layer.activation = package.GELU()
    layer.activation.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))


def with_another_activation(layer, package, seen):
    layer.activation = F.silu


def with_an_activation_of_the_user(layer, package, seen):
    layer.activation = lambda x: x * torch.sigmoid(1.7 * x)


def with_weight_norm(layer, package, seen):
    parametrizations.weight_norm(layer.linear1)


def with_spectral_norm(layer, package, seen):
    torch.nn.utils.spectral_norm(layer.linear1)


def with_a_forward_of_its_own(layer, package, seen):
    layer.linear1.forward = lambda x, w=layer.linear1.weight: x @ w.T


def with_torchs_linear(layer, package, seen):
    inner = torch.nn.Linear(layer.linear1.in_features, layer.linear1.out_features).double()
    inner.load_state_dict(layer.linear1.state_dict())
    layer.linear1 = inner


def with_torchs_attention(layer, package, seen):
    inner = torch.nn.MultiheadAttention(8, 2).double()
    inner.load_state_dict(layer.self_attn.state_dict())
    layer.self_attn = inner


def with_a_logged_attention(layer, package, seen):
    layer.self_attn = Logged(layer.self_attn, [])


def with_lora_in_a_subclass(layer, package, seen):
    class Mine(package.Linear):
        def forward(self, input):
            return super().forward(input) * 1.5

    inner = Mine(layer.linear1.in_features, layer.linear1.out_features).double()
    inner.load_state_dict(layer.linear1.state_dict())
    layer.linear1 = inner


CHANGES = [value for name, value in globals().items() if name.startswith("with_")]


def run(model, seen, *inputs, **options):
    """Output, gradients and what was seen."""
    y = model(*inputs, **options)
    grads = torch.autograd.grad(
        y.sin().sum(), [*model.parameters()], allow_unused=True, materialize_grads=True
    )
    return [y, *grads, *seen]


def inputs_of(kind):
    torch.manual_seed(5)
    x = torch.randn(5, 3, 8, dtype=torch.float64)
    return (x,) if kind == "Encoder" else (x, torch.randn(7, 3, 8, dtype=torch.float64))


def layer_of(package, kind, cls=None, **options):
    torch.manual_seed(0)
    cls = cls or getattr(package, f"Transformer{kind}Layer")
    layer = cls(8, 2, 12, **{"dropout": 0.0, "activation": "gelu", **options}).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_layer(change, kind):
    found = []
    for package in (torch.nn, nn):
        layer, seen = layer_of(package, kind), []
        torch.manual_seed(1)
        change(layer, package, seen)
        found.append(run(layer.double(), seen, *inputs_of(kind)))
    torch.testing.assert_close(found[1], found[0], **FLOAT64)


def its_own_feed_forward(package, kind, seen):
    last = "dropout2" if kind == "Encoder" else "dropout3"

    class Mine(getattr(package, f"Transformer{kind}Layer")):
        def _ff_block(self, x):  # torch's own body
            x = self.linear2(self.dropout(self.activation(self.linear1(x))))
            seen.append(x)
            return getattr(self, last)(x)

    return Mine


def its_own_self_attention(package, kind, seen):
    class Mine(getattr(package, f"Transformer{kind}Layer")):
        def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
            seen.extend([x, attn_mask, key_padding_mask])
            return 0.5 * super()._sa_block(x, attn_mask, key_padding_mask, is_causal)

    return Mine


def its_own_cross_attention(package, kind, seen):
    class Mine(getattr(package, f"Transformer{kind}Layer")):
        def _mha_block(self, x, mem, attn_mask, key_padding_mask, is_causal=False):
            seen.append(mem)
            return x + mem.mean(0)

    return Mine


def its_own_forward(package, kind, seen):
    class Mine(getattr(package, f"Transformer{kind}Layer")):
        def forward(self, *inputs, **options):
            seen.append(inputs[0])
            return 2 * super().forward(*inputs, **options)

    return Mine


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
@pytest.mark.parametrize(
    "make",
    [its_own_feed_forward, its_own_self_attention, its_own_cross_attention, its_own_forward],
    ids=lambda make: make.__name__,
)
def test_a_subclass(make, kind, norm_first):
    torch.manual_seed(2)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    first = "src" if kind == "Encoder" else "tgt"
    options = {f"{first}_mask": mask, f"{first}_key_padding_mask": padding}
    found = []
    for package in (torch.nn, nn):
        seen = []
        layer = layer_of(package, kind, make(package, kind, seen), norm_first=norm_first)
        found.append(run(layer, seen, *inputs_of(kind), **options))
    torch.testing.assert_close(found[1], found[0], **FLOAT64)
    assert len(found[0]) == len(found[1])


@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
def test_every_block_has_its_dropout(kind):
    """With p = 1 each alone, what is left is what is left of torch's layer."""
    names = ["dropout", "dropout1", "dropout2", *(["dropout3"] if kind == "Decoder" else [])]
    for name in names:
        found = []
        for package in (torch.nn, nn):
            layer = layer_of(package, kind)
            getattr(layer, name).p = 1.0
            found.append(layer(*inputs_of(kind)))
            found.append(layer._ff_block(inputs_of(kind)[0]))
        torch.testing.assert_close(found[2:], found[:2], **FLOAT64)


@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
def test_stacks_of_changed_layers(kind):
    found = []
    for package in (torch.nn, nn):
        layer = layer_of(package, kind)
        with_lora(layer, package, [])
        layer.double()
        options = {"enable_nested_tensor": False} if kind == "Encoder" else {}
        stack = getattr(package, f"Transformer{kind}")(layer, 2, **options)
        found.append(run(copy.deepcopy(stack), [], *inputs_of(kind)))
    torch.testing.assert_close(found[1], found[0], **FLOAT64)


def test_torchs_layers_in_our_stacks():
    x, memory = inputs_of("Decoder")
    for kind, given in (("Encoder", (x,)), ("Decoder", (x, memory))):
        layer = layer_of(torch.nn, kind)
        stack = getattr(nn, f"Transformer{kind}")(layer, 2)
        torch.testing.assert_close(stack(*given), layer(layer(*given), *given[1:]), **FLOAT64)


def test_torchs_attention_takes_no_cache():
    layer = layer_of(nn, "Encoder")
    with_torchs_attention(layer, nn, [])
    with torch.no_grad(), pytest.raises(TypeError, match="cache"):
        layer(*inputs_of("Encoder"), cache=nn.KeyValueCache())


def test_plain_layers_are_fused():
    layer = layer_of(nn, "Encoder")
    with torch.no_grad(), CalledOps() as ops:
        layer(*inputs_of("Encoder"))
    assert ops.names.count("pyneural.dense.default") == 4
    assert not any("gelu" in name for name in ops.names)


class TestSequentialAndMLP:
    """Runs of linear layers."""

    @pytest.mark.parametrize("change", ["lora", "hook", "norm", "spectral", "subclass", "forward"])
    @pytest.mark.parametrize("kind", ["sequential", "mlp", "keras"])
    @pytest.mark.filterwarnings("ignore::FutureWarning")
    def test_changed(self, change, kind):
        torch.manual_seed(0)
        plain = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Tanh(),
            torch.nn.Linear(8, 2),
        ).double()  # fmt: skip
        sizes = (3, 8, "tanh"), (8, 8, "tanh"), (8, 2, "linear")
        if kind == "mlp":
            ours = nn.MLP(3, [8, 8], 2, "tanh").double()
            holder = ours.layers
        else:
            ours = nn.Sequential(*(nn.Linear(i, o, activation=f) for i, o, f in sizes)).double()
            holder = ours
            if kind == "keras":
                ours = training.Sequential(list(ours))
                holder = ours.layers
        for index in range(3):
            holder[index].load_state_dict(plain[2 * index].state_dict())
        x = torch.randn(6, 3, dtype=torch.float64)
        torch.testing.assert_close(ours(x), plain(x), **FLOAT64)
        before = ours(x)
        # The last layer, which is linear in all of them; a Keras model's list is its own.
        for model, place in ((plain, 4), (holder, 2)):
            layer = model[place]
            if change == "lora":
                if kind == "keras":
                    pytest.skip("a compiled model's layers are replaced by the model")
                model[place] = LoRA(layer).double()
            elif change == "hook":
                layer.register_forward_hook(lambda module, inputs, output: output + 1)
            elif change == "norm":
                parametrizations.weight_norm(layer)
                with torch.no_grad():
                    layer.parametrizations.weight.original0.mul_(2)
            elif change == "spectral":
                torch.manual_seed(3)
                torch.nn.utils.spectral_norm(layer)
            elif change == "subclass":
                cls = type("Mine", (type(layer),), {"forward": lambda self, x: x @ self.weight.T})
                layer.__class__ = cls
            else:
                layer.forward = lambda x: x[:, :2]
        torch.testing.assert_close(ours(x), plain(x), **FLOAT64)
        assert not torch.allclose(ours(x), before)

    def test_a_network_with_an_input_range(self):
        torch.manual_seed(0)
        network = nn.MLP(2, [5], 1, input_range=([0.0, -1.0], [1.0, 3.0])).double()
        x, seen = torch.rand(4, 2, dtype=torch.float64), []
        expected = network(x)
        network.layers[0].register_forward_hook(lambda *given: seen.append(given))
        torch.testing.assert_close(network(x), expected, **FLOAT64)
        assert len(seen) == 1

    def test_jets_of_hooked_and_replaced_layers(self):
        x = torch.rand(4, 1, dtype=torch.float64, requires_grad=True)
        network = nn.MLP(1, [5], 1).double()

        def check():
            u, u_x = network.jet(x, [(0,)])
            torch.testing.assert_close(u, network(x), **FLOAT64)
            expected = torch.autograd.grad(network(x).sum(), x)[0]
            torch.testing.assert_close(u_x, expected, **FLOAT64)
            return u

        plain = check()
        handle = network.layers[0].register_forward_hook(lambda module, inputs, output: 2 * output)
        assert not torch.equal(check(), plain)
        handle.remove()
        network.layers[1] = LoRA(network.layers[1]).double()
        check()

    def test_jets_of_parametrised_layers(self):
        network = nn.MLP(1, [5], 1).double()
        parametrizations.weight_norm(network.layers[0])
        x = torch.rand(4, 1, dtype=torch.float64, requires_grad=True)
        u, u_x = network.jet(x, [(0,)])
        torch.testing.assert_close(u, network(x), **FLOAT64)
        torch.testing.assert_close(u_x, torch.autograd.grad(network(x).sum(), x)[0], **FLOAT64)


@pytest.mark.parametrize("change", ["lora", "hook", "norm", "forward"])
def test_the_projection_of_attention_is_called_where_it_is_not_plain(change):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2).double()
    x = torch.randn(5, 3, 8, dtype=torch.float64)
    before, seen = layer(x, x, x)[0], []
    projected = torch.linalg.lstsq(
        layer.out_proj.weight, (before - layer.out_proj.bias).flatten(0, 1).T
    ).solution.T.view(5, 3, 8)
    if change == "lora":
        layer.out_proj = LoRA(layer.out_proj).double()
    elif change == "hook":
        layer.out_proj.register_forward_hook(lambda module, inputs, output: seen.append(output))
    elif change == "norm":
        parametrizations.weight_norm(layer.out_proj)
        with torch.no_grad():
            layer.out_proj.parametrizations.weight.original0.mul_(2)
    else:
        layer.out_proj.forward = lambda y: y
    torch.testing.assert_close(layer(x, x, x)[0], layer.out_proj(projected), **FLOAT64)
    assert torch.allclose(layer(x, x, x)[0], before) == (change == "hook")
    assert len(seen) == (3 if change == "hook" else 0)
