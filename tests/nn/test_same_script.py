"""A user's script, run with torch.nn and with nn: equal numbers."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._pytree import tree_leaves

from pyneural import nn
from tests.nn.user_scripts import (
    FLOAT64,
    MODELS,
    Classifier,
    Seq2Seq,
    built,
    check_equal_numbers,
    data,
    losses,
)

OTHER = {torch.nn: nn, nn: torch.nn}


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


def hooks_everywhere(nn, model):
    """Hooks of all kinds on every layer, as they fire; torch does not call ``out_proj``."""
    seen, order = [], []

    def see(name, *values):
        order.append(name)
        seen.extend(x for x in tree_leaves(values) if isinstance(x, torch.Tensor))

    for name, module in model.named_modules():
        if name.endswith("out_proj"):
            continue
        module.register_forward_pre_hook(lambda m, i, n=name: see(n, i))
        module.register_forward_hook(
            lambda m, i, k, o, n=name: see(n, i, sorted(k), o), with_kwargs=True
        )
        if not isinstance(module, (nn.LSTM, nn.TransformerEncoder)):
            module.register_full_backward_pre_hook(lambda m, g, n=name: see(n, g))
            module.register_full_backward_hook(lambda m, gi, go, n=name: see(n, gi, go))
    model(data()[0].requires_grad_()).square().sum().backward()
    names = dict(model.named_modules())
    assert {name for name in names if type(names[name]) is nn.Linear} <= set(order)
    return [*seen, *(torch.tensor(list(map(ord, name))) for name in order)]


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


def ensemble(nn, model):
    """Members computed at once: their parameters stacked, the model on meta."""
    members = [built(nn, type(model), seed) for seed in range(3)]
    parameters, buffers = torch.func.stack_module_state(members)
    base = copy.deepcopy(model).to("meta")
    x, y = data()

    def member(parameters, buffers, x):
        return torch.func.functional_call(base, (parameters, buffers), (x,))

    together = torch.vmap(member, (0, 0, None))(parameters, buffers, x)
    torch.testing.assert_close(together, torch.stack([m(x) for m in members]), **FLOAT64)

    def loss(parameters, buffers):
        return torch.nn.functional.cross_entropy(member(parameters, buffers, x), y)

    gradients = torch.vmap(torch.func.grad(loss))(parameters, buffers)
    return [together, *tree_leaves(gradients)]


def averaged(nn, model):
    averages = [
        AveragedModel(model),
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
    ]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = data()
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        for average in averages:
            average.update_parameters(model)
    return [*(average(x) for average in averages), *averages[1].module.state_dict().values()]


def state_dicts(nn, model):
    state = {key: 0.5 * value for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    return [model(data()[0]), *state.values()]


def states_of_the_other_package(nn, model):
    """Weights, and the state of an optimiser, that were saved with the other package."""
    other = built(OTHER[nn], type(model), 3)
    optimizer = torch.optim.Adam(other.parameters())
    other(data()[0]).square().sum().backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save([other.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file)
    assert not any(model.load_state_dict(weights, strict=True))
    again = torch.optim.Adam(model.parameters())
    again.load_state_dict(state)
    model(data()[0]).square().sum().backward()
    again.step()
    return [model(data()[0]), *model.parameters()]


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
    hooks,
    hooks_everywhere,
    changing_hooks,
    global_hooks,
    deep_copies,
    functional_call,
    per_sample_gradients,
    ensemble,
    averaged,
    state_dicts,
    states_of_the_other_package,
    exported,
    errors,
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_equal_numbers(script, make):
    if script in (per_sample_gradients, ensemble) and make in (Classifier, Seq2Seq):
        pytest.skip("torch's own recurrent layers have no batching rule")
    check_equal_numbers(script, make)
