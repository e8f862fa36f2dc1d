"""A user's script, run with torch.nn and with nn: equal numbers."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import pytest
import torch
from torch.utils._pytree import tree_leaves

from pyneural import nn

FLOAT64 = {"rtol": 1e-9, "atol": 1e-10}


class Classifier(torch.nn.Module):
    """Convolution, recurrence, attention and linear layers, as scripts mix them."""

    def __init__(self, nn):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU())
        self.lstm = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True),
            num_layers=2,
            enable_nested_tensor=False,
        )
        self.head = nn.Sequential(
            nn.LazyLinear(12), nn.Tanh(), nn.Linear(12, 12), nn.Dropout(0.0), nn.Linear(12, 3)
        )

    def forward(self, x):
        h, _ = self.lstm(self.embed(x))
        return self.head(self.encoder(h).mean(1))


class Perceptron(torch.nn.Module):
    def __init__(self, nn):
        super().__init__()
        widths = 6, 16, 16, 3
        layers = [nn.Linear(*sizes) for sizes in pairwise(widths)]
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x.mean(1))


class Seq2Seq(torch.nn.Module):
    def __init__(self, nn):
        super().__init__()
        self.front = nn.Linear(6, 8)
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
        self.cell = nn.GRUCell(8, 3)

    def forward(self, x):
        x = self.front(x)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.cell(self.transformer(x, x, tgt_mask=mask, tgt_is_causal=True)[:, -1])


MODELS = (Classifier, Perceptron, Seq2Seq)


def data(seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(10, 5, 6, dtype=torch.float64, generator=generator)
    return x, torch.randint(3, (10,), generator=generator)


def built(package, make):
    torch.manual_seed(0)
    model = make(package).double()
    model(data()[0])  # lazy layers
    return model


class LoRA(torch.nn.Module):
    """A low-rank change beside a frozen linear layer."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        where = {"dtype": base.weight.dtype}
        self.down = torch.nn.Parameter(0.1 * torch.randn(2, base.in_features, **where))
        self.up = torch.nn.Parameter(0.1 * torch.randn(base.out_features, 2, **where))

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


def losses(model, steps=4):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    x, y = data()
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
    return found


# Each script takes the package and the model, and returns what it found.


def train(nn, model):
    return losses(model)


def initialise_by_isinstance(nn, model):
    def initialise(module):
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.LSTM, nn.GRUCell)):
            for parameter in module.parameters():
                if parameter.dim() == 2:
                    nn.init.orthogonal_(parameter)

    torch.manual_seed(4)
    model.apply(initialise)
    return [model(data()[0]), *model.parameters()]


def decay_by_isinstance(nn, model):
    decayed = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    groups = [
        {"params": [p for n, p in model.named_parameters() if n in decayed], "weight_decay": 0.1},
        {"params": [p for n, p in model.named_parameters() if n not in decayed]},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    model(data()[0]).square().sum().backward()
    optimizer.step()
    return [torch.tensor(len(decayed)), *model.parameters()]


def lora(nn, model):
    torch.manual_seed(5)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and not isinstance(parent, LoRA):
                setattr(parent, name, LoRA(child))
    trained = losses(model)
    return [*trained, model(data()[0])]


def hooks(nn, model):
    seen = []
    for module in model.modules():
        if type(module) is nn.Linear:
            module.register_forward_pre_hook(lambda m, i: seen.append(i[0]))
            module.register_forward_hook(lambda m, i, o: seen.append(o))
            module.register_full_backward_hook(lambda m, gi, go: seen.append(go[0]))
    model(data()[0].requires_grad_()).square().sum().backward()
    assert len(seen) > 6
    return seen


def changing_hooks(nn, model):
    for module in model.modules():
        if type(module) is nn.Linear:
            module.register_forward_hook(lambda m, i, o: 0.5 * o)
    return [model(data()[0])]


def global_hooks(nn, model):
    seen = []
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda m, i, o: seen.append(o) if type(m) is nn.Linear else None
    )
    try:
        model(data()[0])
    finally:
        handle.remove()
    return seen


def deep_copies(nn, model):
    copied = copy.deepcopy(model)
    found = losses(copied)
    return [*found, model(data()[0]), pickle.loads(pickle.dumps(copied))(data()[0])]


def functional_call(nn, model):
    other = {name: 0.5 * p.detach() for name, p in model.named_parameters()}
    return [torch.func.functional_call(model, other, (data()[0],)), model(data()[0])]


def per_sample_gradients(nn, model):
    x, y = data()
    parameters = {n: p.detach() for n, p in model.named_parameters()}

    def loss(parameters, x, y):
        out = torch.func.functional_call(model, parameters, (x[None],))
        return torch.nn.functional.cross_entropy(out, y[None])

    return tree_leaves(torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, y))


def frozen_parts(nn, model):
    for module in model.modules():
        if isinstance(module, (nn.LSTM, nn.MultiheadAttention)):
            module.requires_grad_(False)
    return [*losses(model), torch.tensor(sum(p.requires_grad for p in model.parameters()))]


def weight_norms(nn, model):
    for module in list(model.modules()):
        if type(module) is nn.Linear:
            nn.utils.parametrizations.weight_norm(module)
    return losses(model)


def pruned(nn, model):
    for module in list(model.modules()):
        if type(module) is nn.Linear:
            nn.utils.prune.l1_unstructured(module, "weight", amount=0.3)
    return losses(model)


def swapped_layers(nn, model):
    """A library that replaces linear layers by its own."""

    class Other(torch.nn.Linear):
        def forward(self, input):
            return super().forward(input).clamp(-1, 1)

    torch.manual_seed(6)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                new = Other(child.in_features, child.out_features, dtype=torch.float64)
                setattr(parent, name, new)
    found = sum(isinstance(m, nn.Linear) for m in model.modules())
    return [torch.tensor(found), *losses(model)]


def state_dicts(nn, model):
    state = {key: 0.5 * value for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    return [model(data()[0]), *state.values()]


def exported(nn, model):
    x = data()[0]
    program = torch.export.export(model.eval(), (x,))
    return [program.module()(x), torch.jit.trace(model, (x,), check_trace=False)(x)]


def errors(nn, model):
    """A script that tries sizes until one fits."""
    for width in (4, 5, 6):
        try:
            return [model(data()[0][..., :width])]
        except RuntimeError:
            continue
    return []


SCRIPTS = (
    train,
    initialise_by_isinstance,
    decay_by_isinstance,
    lora,
    hooks,
    changing_hooks,
    global_hooks,
    deep_copies,
    functional_call,
    per_sample_gradients,
    frozen_parts,
    weight_norms,
    pruned,
    swapped_layers,
    state_dicts,
    exported,
    errors,
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_equal_numbers(script, make):
    if script is per_sample_gradients and make is not Perceptron:
        pytest.skip("torch's own recurrent layers have no batching rule")
    found = []
    for package in (torch.nn, nn):
        model = built(package, make)
        torch.manual_seed(2)
        found.append(script(package, model))
    assert len(found[0]) > 0
    torch.testing.assert_close(found[1], found[0], **FLOAT64)
