"""Keys and queries split among blocks by attention's CUDA kernels, on the host."""
# ruff: noqa: F811 (way and libraries are fixtures)

from __future__ import annotations

import math
import sys

import pytest
import torch

from tests.ops.cuda_on_host_build import DESCENDING, SHUFFLED
from tests.ops.test_attention import arguments, mask_of
from tests.ops.test_attention_cuda_on_host import (  # noqa: F401
    LITTLE,
    TOLERANCE,
    assert_close,
    exact,
    kernels,
    libraries,
    way,
    ways,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")

OUT, GRAD_Q, GRAD_KV = range(3)  # what parts() counts the parts of


def tile_of(dtype):
    """Keys, or queries of the gradients of keys, that are multiplied at a time."""
    return 64 if dtype.itemsize == 2 else 32


def split(library, *given, of, multiprocessors=8, **options):
    """As ``kernels`` where these results are computed in several parts."""
    result = kernels(library, *given, multiprocessors=multiprocessors, **options)
    assert all(library.parts(which) > 1 for which in of)
    return result


def log_sum_exps(tensors, mask=None, is_causal=False):
    """Of the scores, with plain torch in float64."""
    q, k, _ = (tensor.double() for tensor in tensors)
    scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).mT * q.shape[3] ** -0.5
    if is_causal:
        hidden = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return scores.logsumexp(3)


def assert_log_sum_exps(lse, *given):
    """Infinite where no key is seen."""
    expected = log_sum_exps(*given)
    assert torch.equal(lse == math.inf, expected == -math.inf)
    seen = expected != -math.inf
    assert (lse - expected)[seen].abs().max() < (1e-13 if lse.dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize(
    ("sizes", "multiprocessors"),
    [((1, 2, 1, 1, 16, 17), 8), ((2, 2, 1, 3, 5, 7), 24)],
    ids=str,
)
def test_few_queries(way, sizes, multiprocessors):
    library, dtype = way
    n, heads, key_heads, queries, width, value_width = sizes
    keys = 8 * tile_of(dtype) + 5
    tensors, grad_out = arguments((n, heads, key_heads, queries, keys, width, value_width), dtype)
    options = {"of": (OUT, GRAD_Q), "multiprocessors": multiprocessors}
    found, lse = split(library, tensors, grad_out, **options)
    assert_close(found, exact(tensors, grad_out), dtype)
    assert_log_sum_exps(lse, tensors)


@pytest.mark.parametrize("sizes", [(2, 1, 3, 8), (2, 2, 5, 7)], ids=str)
def test_few_keys(way, sizes):
    library, dtype = way
    heads, key_heads, keys, width = sizes
    tensors, grad_out = arguments((1, heads, key_heads, 270, keys, width, 12), dtype)
    options = {"of": (GRAD_KV,) if dtype.itemsize > 2 or heads > key_heads else ()}
    found, _ = split(library, tensors, grad_out, **options)
    assert_close(found, exact(tensors, grad_out), dtype)
    for wanted in (1, 2):
        one, _ = split(
            library, tensors, grad_out, **options, wanted=[i == wanted for i in range(3)]
        )
        assert torch.equal(one[1 + wanted], found[1 + wanted])


@ways(0, 1, 2)
@pytest.mark.parametrize(("width", "value_width"), [(133, 72), (8, 140)])
def test_rows_of_several_chunks(way, width, value_width):
    library, dtype = way
    for queries, keys, of in ((2, 8, (OUT, GRAD_Q)), (8, 2, (GRAD_KV,))):
        sizes = [n if n == 2 else n * tile_of(dtype) for n in (queries, keys)]
        tensors, grad_out = arguments((1, 1, 1, *sizes, width, value_width), dtype)
        found, _ = split(library, tensors, grad_out, of=of)
        assert_close(found, exact(tensors, grad_out), dtype)


@ways(0, 1, 2, 5)
@pytest.mark.parametrize("kind", ["bool", "padding", "added", "rows"])
def test_masks_of_parts(way, kind):
    library, dtype = way
    many = 8 * tile_of(dtype) + 20
    for queries, keys, of in ((3, many, (OUT, GRAD_Q)), (many, 4, (GRAD_KV,))):
        shape = (2, 2, 1, queries, keys, 8, 12)
        tensors, grad_out = arguments(shape, dtype)
        given = mask_of(kind, shape, dtype=torch.float32 if kind == "added" else dtype)
        found, lse = split(library, tensors, grad_out, given, of=of, multiprocessors=16)
        expected = exact(tensors, grad_out, given)
        assert_close(found, expected, dtype)
        assert not found[0][(expected[0] == 0).all(3)].any()
        assert_log_sum_exps(lse, tensors, given)


@ways(0, 1)
def test_causal_parts(way):
    """The queries of a tile see few keys or many, and keys few queries, or none."""
    library, dtype = way
    for queries, keys in ((300, 310), (256, 300)):
        tensors, grad_out = arguments((1, 1, 1, queries, keys, 4, 6), dtype)
        options = {"of": (OUT, GRAD_Q, GRAD_KV), "multiprocessors": 16}
        found, lse = split(library, tensors, grad_out, is_causal=True, **options)
        assert_close(found, exact(tensors, grad_out, is_causal=True), dtype)
        assert_log_sum_exps(lse, tensors, None, True)


@ways(0, 2, 5)
def test_a_part_that_sees_no_key(way):
    library, dtype = way
    part = 4 * tile_of(dtype)  # two parts
    tensors, grad_out = arguments((1, 1, 1, 4, 2 * part, 8, 8), dtype)
    mask = torch.zeros(1, 1, 4, 2 * part, dtype=torch.bool)
    mask[..., 0, :9] = mask[..., 1, part + 70] = mask[..., 2, -40:] = True  # 3 sees no key
    given = mask, torch.tensor([1 << 40])
    clean = exact(tensors, grad_out, *given, dropout=0.1)
    for poison in (math.inf, math.nan):
        for tensor in tensors[1:]:
            tensor[:, :, 9 : part + 70] = poison
        found, lse = split(
            library, tensors, grad_out, *given, dropout=0.1, shared=LITTLE, of=(OUT, GRAD_Q)
        )
        assert_close(found, clean, dtype)
        assert lse[0, 0, :3].isfinite().all()
        assert lse[0, 0, 3] == math.inf


@ways(0, 2)
def test_dropout_of_parts(way):
    library, dtype = way
    many = 8 * tile_of(dtype) + 5
    for queries, keys, of in ((3, many, (OUT, GRAD_Q)), (many, 3, (GRAD_KV,))):
        tensors, grad_out = arguments((1, 2, 2, queries, keys, 4, 8), dtype)
        given = None, torch.tensor([1 << 40])
        found, _ = split(library, tensors, grad_out, *given, dropout=0.4, of=of)
        assert_close(found, exact(tensors, grad_out, *given, dropout=0.4), dtype)


def assert_the_same_infinities(found, expected, limit):
    """And as close elsewhere."""
    found = found.double()
    assert expected.isinf().any()
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.isinf(), expected.isinf())
    assert torch.equal(found.sign()[found.isinf()], expected.sign()[found.isinf()])
    finite = expected.isfinite()
    assert (found - expected)[finite].abs().max() <= limit * expected[finite].abs().max()


@ways(1, 3)
def test_infinite_values_of_parts(way):
    library, dtype = way
    keys = 8 * tile_of(dtype)
    (q, k, v), grad_out = arguments((1, 1, 1, 2, keys, 8, 40), dtype)
    v[..., 3, 2], v[..., -9, 35], v[..., 6, 3] = math.inf, -math.inf, math.nan
    v[..., 8, 4], v[..., -5, 4] = math.inf, -math.inf
    out = split(library, (q, k, v), grad_out, of=(OUT,))[0][0]
    assert_the_same_infinities(out, exact((q, k, v), grad_out)[0], TOLERANCE[dtype][0])


@ways(1, 3)
def test_infinite_grad_out_of_parts(way):
    library, dtype = way
    tensors, grad_out = arguments((1, 2, 1, 8 * tile_of(dtype), 3, 8, 40), dtype)
    grad_out[..., 0, 3, 2], grad_out[..., 1, -6, 35] = math.inf, -math.inf
    found = split(library, tensors, grad_out, of=(GRAD_KV,))[0][3]
    assert_the_same_infinities(found, exact(tensors, grad_out)[3], 2 * TOLERANCE[dtype][1])


@ways(1, 2, 4)
def test_the_same_bits_in_any_order(way):
    library, dtype = way
    many = 8 * tile_of(dtype) + 5
    for queries, keys, of in ((3, many, (OUT, GRAD_Q)), (many, 3, (GRAD_KV,))):
        shape = (1, 2, 1, queries, keys, 8, 40)
        tensors, grad_out = arguments(shape, dtype)
        given = mask_of("bool", shape), torch.tensor([3])
        one, lse = split(library, tensors, grad_out, *given, dropout=0.2, of=of)
        for order in (DESCENDING, SHUFFLED):
            other, again = split(
                library, tensors, grad_out, *given, dropout=0.2, order=order, of=of
            )
            assert torch.equal(lse, again)
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("heads", "keys", "multiprocessors", "parts"),
    [(1, 512, 1, 4), (2, 512, 3, 4), (4, 512, 2, 2), (5, 512, 2, 1), (1, 224, 4, 1),
     (1, 225, 4, 2)],
)  # fmt: skip
def test_as_many_parts_as_run_at_once(libraries, heads, keys, multiprocessors, parts):
    """227 KiB hold four blocks of these tiles; a part has four tiles of 32 keys at least."""
    tensors, grad_out = arguments((1, heads, heads, 1, keys, 8, 8), torch.float32)
    kernels(libraries[0], tensors, grad_out, multiprocessors=multiprocessors, wanted=(False,) * 3)
    assert libraries[0].parts(OUT) == parts


# Barriers of a step, for a mask and dropout: of the forward, of the kernel of the queries'
# gradient and of the keys'. Where keys are masked, values that are not finite are cleared.
BARRIERS = [
    ("none", 0.2, (1, 1, 1)),
    ("seen", 0.0, (2, 2, 2)),
    ("zero", 0.0, (2, 2, 2)),
    ("bool", 0.0, (3, 4, 2)),
]


@ways(0, 2, 4)
@pytest.mark.parametrize(("kind", "dropout", "expected"), BARRIERS)
def test_barriers_of_a_step(way, kind, dropout, expected):
    library, dtype = way

    def barriers(queries, keys, *, of_queries):
        tensors, grad_out = arguments((1, 1, 1, queries, keys, 8, 8), dtype)
        mask = torch.ones(1, 1, queries, keys, dtype=torch.bool)
        if kind == "bool":
            mask[..., ::2] = False
        mask = {"none": None, "zero": torch.zeros(mask.shape)}.get(kind, mask)
        seed = torch.tensor([3]) if dropout else None
        wanted = (of_queries, not of_queries, not of_queries)
        kernels(library, tensors, grad_out, mask, seed, dropout=dropout, wanted=wanted)
        return [library.barriers(step) for step in range(2)]

    more = 3 * tile_of(dtype)  # three steps
    few, many = (barriers(64, keys, of_queries=True) for keys in (64, 64 + more))
    found = [(after - before) / 3 for before, after in zip(few, many, strict=True)]
    few, many = (barriers(queries, 64, of_queries=False) for queries in (64, 64 + more))
    found.append((many[1] - few[1]) / 3)
    assert tuple(found) == expected
