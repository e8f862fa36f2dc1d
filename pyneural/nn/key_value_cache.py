"""Keys and values of earlier tokens, for decoding one token at a time."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import ArgumentError

_FIRST_CAPACITY = 16


class KeyValueCache:
    """Keys and values that the attention layers of a network save between calls.

    A decoder that is given the cache and only the new tokens returns for these what it would for
    all tokens with a causal mask, in time linear in the sequence length for each new token.
    Self-attention appends its keys and values; those of the other sequence, in cross-attention,
    are projected once and saved. For inference: under ``torch.no_grad()``.

    A layer finds its keys and values by what it is. One that stands at several depths of a network
    is given ``cache.at(depth)`` at each, as the stacks ``TransformerEncoder`` and
    ``TransformerDecoder`` do. A copy is independent, and serves the same layers (where a network is
    copied with it, after the network, the copied ones).

    Source: Shazeer, arXiv:1911.02150 (2019), section 2.4.

    >>> from pyneural import nn
    >>> decoder = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    >>> x, memory, cache = torch.rand(1, 5, 8), torch.rand(1, 3, 8), nn.KeyValueCache()
    >>> with torch.no_grad():
    ...     whole = decoder(x, memory, tgt_is_causal=True)
    ...     for t in range(5):
    ...         new = decoder(x[:, t : t + 1], memory, cache=cache)
    >>> torch.allclose(new, whole[:, 4:], atol=1e-6), len(cache)
    (True, 5)
    """

    def __init__(self) -> None:
        self._grown: dict[torch.nn.Module, tuple[Tensor, Tensor, int]] = {}
        # The third is what they were projected from; None after select, which changes the rows.
        self._fixed: dict[torch.nn.Module, tuple[Tensor, Tensor, Tensor | None]] = {}
        self._depths: dict[int, KeyValueCache] = {}

    def __len__(self) -> int:
        """Number of tokens so far: the position of the next one."""
        lengths = [length for _, _, length in self._grown.values()]
        return max([*lengths, *map(len, self._depths.values())], default=0)

    def __bool__(self) -> bool:
        return True  # also without a token

    def __deepcopy__(self, memo: dict[int, Any]) -> KeyValueCache:
        copied = KeyValueCache()
        for layer, grown in self._grown.items():
            copied._grown[memo.get(id(layer), layer)] = copy.deepcopy(grown, memo)
        for layer, fixed in self._fixed.items():
            copied._fixed[memo.get(id(layer), layer)] = copy.deepcopy(fixed, memo)
        copied._depths = copy.deepcopy(self._depths, memo)
        return copied

    def __copy__(self) -> KeyValueCache:
        return copy.deepcopy(self)

    def at(self, depth: int) -> KeyValueCache:
        """The part of the cache for the layers at a depth of a network, of which one may recur."""
        return self._depths.setdefault(depth, KeyValueCache())

    def length(self, layer: torch.nn.Module) -> int:
        """Number of tokens that this layer has seen."""
        return self._grown[layer][2] if layer in self._grown else 0

    def append(self, layer: torch.nn.Module, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Appends new keys and values of a layer, [N, H, L, E]; returns all, [N, H, S, E]."""
        if torch.is_grad_enabled() and (k.requires_grad or v.requires_grad):
            raise ArgumentError(
                "KeyValueCache: expected inference, got tensors that require gradients; call the "
                "network under torch.no_grad()"
            )
        keys, values, length = self._grown.get(layer, (k[:, :, :0], v[:, :, :0], 0))
        if len(k) != len(keys):
            raise ArgumentError(
                f"KeyValueCache: expected {len(keys)} sequences as before, got {len(k)}; start "
                "with a new cache, or select rows of this one with select"
            )
        end = length + k.shape[2]
        if end > keys.shape[2]:
            capacity = max(end, 2 * keys.shape[2], _FIRST_CAPACITY)
            keys, values = (_grown(old[:, :, :length], capacity) for old in (keys, values))
        keys[:, :, length:end] = k
        values[:, :, length:end] = v
        self._grown[layer] = keys, values, end
        return keys[:, :, :end], values[:, :, :end]

    def saved(self, layer: torch.nn.Module, key: Tensor) -> tuple[Tensor, Tensor] | None:
        """Keys and values of the other sequence that a layer attends to; None at the first call.

        Raises:
            ArgumentError: ``key`` is not the sequence they were projected from.
        """
        if layer not in self._fixed:
            return None
        k, v, source = self._fixed[layer]
        if source is None:
            same = key.shape[:-1].numel() == k.shape[0] * k.shape[2]
            self._fixed[layer] = k, v, key
        else:
            same = key is source or torch.equal(key, source)
        if not same:
            raise ArgumentError(
                "KeyValueCache: key: expected the sequence of the first call, got another, "
                f"{list(key.shape)}; start with a new cache, or, for self-attention, pass one "
                "tensor as query, key and value"
            )
        return k, v

    def save(self, layer: torch.nn.Module, k: Tensor, v: Tensor, key: Tensor) -> None:
        """Saves keys and values projected from ``key``."""
        self._fixed[layer] = k, v, key

    def select(self, rows: Tensor) -> None:
        """Continues with these sequences, in this order, as in a beam search.

        Args:
            rows: their indices, int64; repetitions are allowed.
        """
        for layer, (k, v, length) in self._grown.items():
            self._grown[layer] = k.index_select(0, rows), v.index_select(0, rows), length
        for layer, (k, v, _) in self._fixed.items():
            self._fixed[layer] = k.index_select(0, rows), v.index_select(0, rows), None
        for part in self._depths.values():
            part.select(rows)


def _grown(old: Tensor, capacity: int) -> Tensor:
    rows, heads, length, width = old.shape
    new = old.new_zeros(rows, heads, capacity, width)
    new[:, :, :length] = old
    return new
