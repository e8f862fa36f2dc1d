"""Attention rollout: the attention of all layers of a transformer together."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_argument
from pyneural.interpret.arguments import check_model
from pyneural.interpret.scores import left_as_found


def attention_rollout(model: torch.nn.Module, *inputs: Any, **options: Any) -> Tensor:
    """The share of each token of the input in each token after the last layer of self-attention.

        R = B_L ... B_2 B_1,   B_l = (mean_h A_lh + 1) / 2

    with the attention weights A_lh of layer l and head h, and 1 for the residual sum around it. The
    weights are computed anew from the queries and keys that each layer is given, because kernels
    never store them. What the linear layers do to tokens is not in R: it says where information may
    come from, and depends on queries and keys alone.

    Layers are those of ``nn.MultiheadAttention``, also of ``torch.nn``, whose query, key and value
    are one tensor, in the order in which they are called; attention to another sequence is left
    out. Of an encoder-decoder, give the encoder.

    Args:
        model: any module; it is evaluated in evaluation mode and left as it was.
        inputs: what it is called with; tokens may be whole numbers.
        options: by name, as a mask.

    Returns:
        R, [N, T, T]; rows sum to 1. Where a model reads the mean of the tokens, ``R.mean(1)`` is
        the share of each token of the input in it; where it reads the first one, ``R[:, 0]``.

    Raises:
        ArgumentError: a model in half precision or without self-attention, attention to learned
            keys, layers with different numbers of tokens, weights that are not finite.

    Source: Abnar and Zuidema, arXiv:2005.00928 (2020).

    >>> from pyneural.models import PatchTransformer
    >>> model = PatchTransformer(inputs=2, patch=4, outputs=1, d_model=8, heads=2)
    >>> shares = attention_rollout(model, torch.rand(3, 20, 2))
    >>> shares.shape, torch.allclose(shares.sum(2), torch.ones(3, 5))
    (torch.Size([3, 5, 5]), True)
    """
    where = "attention_rollout"
    check_model(where, model)
    tensors = [value for value in (*inputs, *options.values()) if isinstance(value, Tensor)]
    weights: list[Tensor] = []
    with left_as_found(model, *tensors), _recorded(model, weights), torch.no_grad():
        model(*inputs, **options)
    remedy = (
        "give a model of nn.MultiheadAttention layers whose query, key and value are one tensor"
    )
    what = f"{where}: model"
    check_argument(len(weights) > 0, what, "layers of self-attention", "none", remedy)
    shapes = [list(layer.shape) for layer in weights]
    good = all(shape == shapes[0] and shape[1] == shape[2] for shape in shapes)
    remedy = "give the encoder alone, and attention without learned keys"
    check_argument(good, what, "the same tokens in each layer, [N, T, T]", shapes, remedy)
    good, remedy = (
        all(bool(layer.isfinite().all()) for layer in weights),
        "mask no query's every key",
    )
    check_argument(good, f"{where}: weights", "finite numbers", "NaN or infinity", remedy)
    identity = torch.eye(shapes[0][1], dtype=weights[0].dtype, device=weights[0].device)
    rollout = identity.expand(shapes[0])
    for layer in weights:
        rollout = (layer + identity) / 2 @ rollout
    return rollout


@contextmanager
def _recorded(model: torch.nn.Module, weights: list[Tensor]) -> Iterator[None]:
    """Context in which calls of self-attention add their weights, [N, T, T], to the list."""

    def record(layer: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        call = inspect.signature(layer.forward).bind(*inputs, **options).arguments
        if not call["query"] is call["key"] is call["value"]:
            return
        good, remedy = call.get("cache") is None, "give all tokens at once"
        where = "attention_rollout: inputs"
        check_argument(good, where, "no KeyValueCache", "one", remedy)
        # ``forward``, because calling the layer would run this hook again.
        _, found = layer.forward(**call | {"need_weights": True, "average_attn_weights": True})
        weights.append(found if found.ndim == 3 else found[None])

    layers = [part for part in model.modules() if isinstance(part, torch.nn.MultiheadAttention)]
    hooks = [layer.register_forward_pre_hook(record, with_kwargs=True) for layer in layers]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it goes past the hooks
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
