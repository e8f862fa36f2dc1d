"""KeyValueCache: copies are equal and independent, and a layer may stand at several depths."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from pyneural import nn

FLOAT64 = {"rtol": 1e-10, "atol": 1e-10}


def decoder(layers=2):
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
    model = nn.TransformerDecoder(layer, layers).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


X = torch.randn(3, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
MEMORY = torch.randn(3, 4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def decode(model, x, cache):
    with torch.no_grad():
        return torch.cat([model(token, MEMORY, cache=cache) for token in x.split(1, 1)], 1)


@pytest.mark.parametrize(
    "make", [copy.deepcopy, copy.copy, lambda c: copy.deepcopy([c])[0]], ids=["deep", "copy", "in"]
)
def test_a_copy_is_equal_and_independent(make):
    model, cache = decoder(), nn.KeyValueCache()
    whole = decode(model, X, nn.KeyValueCache())
    decode(model, X[:, :4], cache)
    copied = make(cache)
    assert len(copied) == len(cache) == 4
    other = decode(model, -X[:, 4:], copied)  # changes the copy alone
    assert len(copied) == 9
    assert len(cache) == 4
    torch.testing.assert_close(decode(model, X[:, 4:], cache), whole[:, 4:], **FLOAT64)
    again = decode(model, torch.cat([X[:, :4], -X[:, 4:]], 1), nn.KeyValueCache())
    torch.testing.assert_close(other, again[:, 4:], **FLOAT64)


def test_a_copy_selects_its_own_rows():
    model, cache = decoder(), nn.KeyValueCache()
    whole = decode(model, X, nn.KeyValueCache())
    decode(model, X[:, :4], cache)
    copied = copy.deepcopy(cache)
    copied.select(torch.tensor([1, 1, 0]))
    torch.testing.assert_close(decode(model, X[:, 4:], cache), whole[:, 4:], **FLOAT64)


def test_a_network_and_its_cache_copied_together():
    model, cache = decoder(), nn.KeyValueCache()
    whole = decode(model, X, nn.KeyValueCache())
    decode(model, X[:, :4], cache)
    for both in (copy.deepcopy((model, cache)), pickle.loads(pickle.dumps((model, cache)))):
        assert both[0] is not model
        torch.testing.assert_close(decode(*both[:1], X[:, 4:], both[1]), whole[:, 4:], **FLOAT64)


@pytest.mark.parametrize("order", ["AA", "ABA", "ABBA", "AAAA"])
def test_one_layer_at_several_depths(order):
    model = decoder(2)
    kinds = {"A": model.layers[0], "B": model.layers[1]}
    model.layers = torch.nn.ModuleList([kinds[letter] for letter in order])
    with torch.no_grad():
        whole = model(X, MEMORY, tgt_is_causal=True)
    cache = nn.KeyValueCache()
    torch.testing.assert_close(decode(model, X, cache), whole, **FLOAT64)
    assert len(cache) == 9


def test_one_layer_at_several_depths_of_an_own_loop():
    layer = decoder(1).layers[0]

    def run(x, caches, **options):
        for cache in caches:
            given = {} if cache is None else {"cache": cache}
            x = layer(x, MEMORY, **given, **options)
        return x

    cache = nn.KeyValueCache()
    with torch.no_grad():
        whole = run(X, [None] * 3, tgt_is_causal=True)
        found = [run(t, [cache.at(depth) for depth in range(3)]) for t in X.split(3, 1)]
    torch.testing.assert_close(torch.cat(found, 1), whole, **FLOAT64)


def test_an_encoder_in_an_encoder():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True).double()
    inner = nn.TransformerEncoder(layer, 2)

    def run(x, caches, **options):
        for cache in caches:
            x = inner(x, cache=cache, **options)
        return x

    cache = nn.KeyValueCache()
    with torch.no_grad():
        whole = run(X, [None, None], is_causal=True)
        found = [run(t, [cache.at(0), cache.at(1)]) for t in X.split(1, 1)]
    torch.testing.assert_close(torch.cat(found, 1), whole, **FLOAT64)


def test_an_empty_cache_is_true():
    assert nn.KeyValueCache()
