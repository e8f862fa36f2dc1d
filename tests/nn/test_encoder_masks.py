"""Masks that a user's own parts of an encoder receive: floats, as torch gives them."""

import pytest
import torch

from pyneural import nn
from tests.nn.test_drop_in_extended import FLOAT64, inputs_of, layer_of, run


class Added(torch.nn.Module):
    """Attention as users write it: masks are added to the scores, as torch's encoder gives them."""

    batch_first = False

    def forward(self, query, key, value, attn_mask, key_padding_mask, **options):
        scores = query.transpose(0, 1) @ key.permute(1, 2, 0) + attn_mask
        scores = scores + key_padding_mask[:, None]
        return (scores.softmax(-1) @ value.transpose(0, 1)).transpose(0, 1), None


def attention_of_the_user(stack, package, seen):
    for layer in stack.layers:
        layer.self_attn = Added()


def a_hook_on_the_attention(stack, package, seen):
    def see(module, inputs, options):
        seen.extend([options["attn_mask"], options["key_padding_mask"]])

    stack.layers[1].self_attn.register_forward_pre_hook(see, with_kwargs=True)


def a_hook_on_the_layer(stack, package, seen):
    def see(module, inputs, options):
        seen.extend([options["src_mask"], options["src_key_padding_mask"]])

    stack.layers[1].register_forward_pre_hook(see, with_kwargs=True)


def a_layer_of_the_user(stack, package, seen):
    class Mine(package.TransformerEncoderLayer):
        def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
            seen.extend([src_mask, src_key_padding_mask])
            return super().forward(src, src_mask, src_key_padding_mask, is_causal)

    inner = Mine(8, 2, 12, dropout=0.0).double()
    inner.load_state_dict(stack.layers[1].state_dict())
    stack.layers[1] = inner


@pytest.mark.parametrize(
    "change",
    [attention_of_the_user, a_hook_on_the_attention, a_hook_on_the_layer, a_layer_of_the_user],
    ids=lambda change: change.__name__,
)
def test_users_parts_of_an_encoder_see_masks_as_floats(change):
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    found = []
    for package in (torch.nn, nn):
        seen = []
        layer = layer_of(package, "Encoder")
        stack = package.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        change(stack, package, seen)
        options = {"mask": mask, "src_key_padding_mask": padding}
        found.append(run(stack, seen, *inputs_of("Encoder"), **options))
    torch.testing.assert_close(found[1], found[0], **FLOAT64)
