"""A user's script that replaces layers or changes their weights, with torch.nn and with nn."""

from __future__ import annotations

import pytest
import torch

from tests.nn.user_scripts import MODELS, LoRA, check_equal_numbers, data, losses


def lora(nn, model):
    torch.manual_seed(5)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and not isinstance(parent, LoRA):
                setattr(parent, name, LoRA(child))
    trained = losses(model)
    return [*trained, model(data()[0])]


def injected_lora(nn, model):
    """As peft does it: the targets by isinstance, put in their parents' places by name."""
    torch.manual_seed(5)
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.endswith("out_proj")
    ]
    for parameter in model.parameters():
        parameter.requires_grad = False
    for target in targets:
        parent, _, name = target.rpartition(".")
        setattr(model.get_submodule(parent), name, LoRA(model.get_submodule(target)))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(targets) > 2
    return [torch.tensor(len(targets)), *losses(model), *model.state_dict().values()]


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


def spectral_norms(nn, model):
    torch.manual_seed(7)
    for module in list(model.modules()):
        if type(module) is nn.Linear:
            nn.utils.parametrizations.spectral_norm(module)
    trained = losses(model)
    for module in list(model.modules()):
        if nn.utils.parametrize.is_parametrized(module):
            nn.utils.parametrize.remove_parametrizations(module, "weight")
    return [*trained, model(data()[0]), *model.parameters()]


class Symmetric(torch.nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).mT if w.shape[0] == w.shape[1] else 0.5 * w


def parametrised_weights(nn, model):
    """Also of recurrent layers, cells and attention."""
    kinds = nn.LSTM, nn.GRUCell, nn.MultiheadAttention, nn.Linear
    changed = []
    for module in list(model.modules()):
        if isinstance(module, kinds):
            for name, parameter in list(module.named_parameters(recurse=False)):
                if parameter.dim() == 2:
                    nn.utils.parametrize.register_parametrization(module, name, Symmetric())
                    changed.append(name)
    assert len(changed) >= 3
    with nn.utils.parametrize.cached():
        cached = model(data()[0])
    return [cached, *losses(model), *model.state_dict().values()]


def pruned_everywhere(nn, model):
    """All weights against one another, then for good; torch's attention does not call ``out_proj``,
    so that nothing prunes it.
    """
    weights = [
        (module, name)
        for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.LSTM, nn.GRUCell)) and not path.endswith("out_proj")
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 2
    ]
    prune = nn.utils.prune
    prune.global_unstructured(weights, prune.L1Unstructured, amount=0.4)
    trained = losses(model)
    for module, name in weights:
        prune.remove(module, name)
    zeros = sum((getattr(module, name) == 0).sum() for module, name in weights)
    return [*trained, zeros, model(data()[0])]


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


SCRIPTS = (
    lora,
    injected_lora,
    frozen_parts,
    weight_norms,
    spectral_norms,
    parametrised_weights,
    pruned_everywhere,
    pruned,
    swapped_layers,
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_equal_numbers(script, make):
    check_equal_numbers(script, make)
