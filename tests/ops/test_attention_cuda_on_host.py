"""The CUDA kernels of attention where there is no GPU, tensor cores included, on the host."""

from __future__ import annotations

import ctypes
import math
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pyneural.ops import reference
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.test_attention import arguments, mask_of, value_and_gradients

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")

HOPPER, LITTLE = 227 << 10, 99 << 10  # bytes of shared memory of a block
# Largest error in parts of the largest element, of the output and of the gradients.
TOLERANCE = {
    torch.float64: (1e-13, 1e-12),
    torch.float32: (2e-6, 4e-6),
    torch.bfloat16: (1.2e-2, 2.5e-2),
    torch.float16: (1.5e-3, 3e-3),
}
# The types, and whether it is as on sm_90a, whose warpgroups multiply the halves.
WAYS = [(dtype, False) for dtype in TOLERANCE]
WAYS += [(dtype, True) for dtype in (torch.bfloat16, torch.float16)]


@pytest.fixture(scope="module")
def libraries():
    with ThreadPoolExecutor() as pool:
        built = list(pool.map(build, ("attention", "attention_by_warpgroups")))
    for library in built:
        for count in (library.bulk_copies, library.barriers, library.parts):
            count.restype = ctypes.c_int64
    return built


@pytest.fixture(scope="module", params=WAYS, ids=str)
def way(request, libraries):
    """The kernels, and the dtype of their arguments."""
    dtype, by_warpgroups = request.param
    return libraries[by_warpgroups], dtype


def ways(*indices):
    return pytest.mark.parametrize("way", [WAYS[i] for i in indices], indirect=True, ids=str)


class Strided(ctypes.Structure):
    """A tensor of four dimensions; a broadcast one has stride 0 where a mask is asked for."""

    _fields_ = [("data", ctypes.c_void_p), ("strides", ctypes.c_int64 * 4)]


def strided(tensor):
    if tensor is None:
        return Strided(None, (0, 0, 0, 0))
    strides = [0 if n == 1 else s for n, s in zip(tensor.shape, tensor.stride(), strict=True)]
    return Strided(tensor.data_ptr(), tuple([*strides, 0, 0, 0][:4]))


class Call(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_int)
            for name in (
                *("order", "shared_bytes", "multiprocessors", "has_maps"),
                *("is_causal", "mask_is_bool"),
            )
        ),
        ("sizes", ctypes.c_int64 * 7),
        *((name, ctypes.c_double) for name in ("scale", "dropout")),
        *(
            (name, Strided)
            for name in (
                *("q", "k", "v", "mask", "base", "seed", "out", "lse"),
                *("grad_out", "delta", "grad_q", "grad_k", "grad_v"),
            )
        ),
    ]


def base_of(mask, queries, keys, is_causal):
    """What csrc/attention/mask_base.h subtracts from the rows of a float mask."""
    if mask is None or mask.dtype == torch.bool:
        return None
    if is_causal:
        hidden = torch.ones(queries, keys, dtype=torch.bool).triu(1)
        mask = mask.masked_fill(hidden, -math.inf)
    most = mask.amax(3, keepdim=True)
    return torch.where(most.isfinite() & (most.abs() > 16), most, 0)


def kernels(library, tensors, grad_out, mask=None, seed=None, is_causal=False, dropout=0.0,
            scale=None, *, order=ASCENDING, shared=HOPPER, multiprocessors=1, has_maps=True,
            wanted=(True, True, True)):  # fmt: skip
    """[out, gradients of q, k and v], and lse; has_maps: the driver makes maps of tensors."""
    q, k, v = tensors
    dtype = q.dtype
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(sums)
    out = torch.full_like(grad_out, math.nan)
    lse, delta = (torch.full(q.shape[:3], math.nan, dtype=sums) for _ in range(2))
    grads = [
        torch.full_like(tensor, math.nan) if is_wanted else None
        for tensor, is_wanted in zip(tensors, wanted, strict=True)
    ]
    mask4 = None if mask is None else mask[(None,) * (4 - mask.dim())]
    base = base_of(mask4, q.shape[2], k.shape[2], is_causal)
    call = Call(
        order,
        shared,
        multiprocessors,
        has_maps,
        is_causal,
        mask is not None and mask.dtype == torch.bool,
        (*q.shape[:2], q.shape[1] // k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3]),
        q.shape[3] ** -0.5 if scale is None else scale,
        dropout,
        *map(strided, (q, k, v, mask4, base, seed, out, lse, grad_out, delta, *grads)),
    )
    name = str(dtype).removeprefix("torch.")
    for step in ("forward", "backward"):
        assert getattr(library, f"{step}_{name}")(ctypes.byref(call)) == 0
    return [out, *grads], lse


def in_bulk(library, *args, **options):
    """As ``kernels``, with the number of bulk copies."""
    before = library.bulk_copies()
    return *kernels(library, *args, **options), library.bulk_copies() - before


def exact(tensors, grad_out, mask=None, seed=None, is_causal=False, dropout=0.0, scale=None):
    """[out, gradients of q, k and v] by plain torch in float64."""
    mask4 = None if mask is None else mask[(None,) * (4 - mask.dim())]
    options = mask4, seed, is_causal, dropout, scale
    leaves = [tensor.double() for tensor in tensors]
    both = value_and_gradients(
        lambda *t: reference.attention(*t, *options), leaves, grad_out.double()
    )
    return [tensor.detach() for tensor in both]


def assert_close(found, expected, dtype):
    """The output, and the gradients relative to the largest of all: one key's are exactly 0."""
    flat = [torch.cat([t.double().flatten() for t in of[1:]]) for of in (found, expected)]
    pairs = (found[0].double(), expected[0]), flat
    for (one, other), limit in zip(pairs, TOLERANCE[dtype], strict=True):
        assert one.isfinite().all()
        assert not one.numel() or (one - other).abs().max() <= limit * other.abs().max()


# (N, H, heads of the keys, L, S, E, Ev): one of everything; rows that no vector fits; several tiles
# of both kinds, grouped; rows of several chunks, of values or of keys.
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1),
    (2, 2, 2, 5, 7, 4, 6),
    (1, 2, 1, 70, 130, 16, 17),
    (1, 1, 1, 20, 40, 133, 72),
    (1, 1, 1, 40, 33, 8, 140),
]
MASKED = (2, 2, 1, 66, 100, 8, 12)
MASKS = [("none", True), ("bool", True), ("padding", False), ("added", True), ("rows", False)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(way, shape):
    library, dtype = way
    tensors, grad_out = arguments(shape, dtype)
    found, lse = kernels(library, tensors, grad_out)
    assert_close(found, exact(tensors, grad_out), dtype)
    scores = (tensors[0].double() * shape[5] ** -0.5) @ tensors[1].double().mT.repeat_interleave(
        shape[1] // shape[2], 1
    )
    assert (lse - scores.logsumexp(3)).abs().max() < (1e-13 if lse.dtype == torch.float64 else 1e-5)


@ways(0, 1, 2, 3, 5)
@pytest.mark.parametrize(("mask", "is_causal"), MASKS)
def test_masks(way, mask, is_causal):
    library, dtype = way
    tensors, grad_out = arguments(MASKED, dtype)
    given = mask_of(mask, MASKED, dtype=torch.float32 if mask == "added" else dtype)
    found, lse = kernels(library, tensors, grad_out, given, is_causal=is_causal)
    expected = exact(tensors, grad_out, given, is_causal=is_causal)
    assert_close(found, expected, dtype)
    unseen = (expected[0] == 0).all(3)  # queries without a key
    assert torch.equal(lse == math.inf, unseen)
    assert not found[0][unseen].any()
    assert not found[1][unseen].any()


def test_dropout(way):
    library, dtype = way
    shape = (1, 2, 1, 66, 100, 4, 8)
    tensors, grad_out = arguments(shape, dtype)
    given = mask_of("bool", shape), torch.tensor([1 << 40]), True
    found, _ = kernels(library, tensors, grad_out, *given, dropout=0.4)
    assert_close(found, exact(tensors, grad_out, *given, dropout=0.4), dtype)


def test_everything_dropped(libraries):
    tensors, grad_out = arguments(SHAPES[1], torch.float32)
    found, _ = kernels(libraries[0], tensors, grad_out, None, torch.tensor([1]), dropout=1.0)
    assert not any(tensor.any() for tensor in found)


@pytest.mark.parametrize("scale", [0.0, -0.3, 300.0])
def test_scale(libraries, scale):
    tensors, grad_out = arguments((1, 1, 1, 40, 70, 8, 8))
    found, _ = kernels(libraries[0], tensors, grad_out, scale=scale)
    assert_close(found, exact(tensors, grad_out, scale=scale), torch.float64)


def test_three_products_of_tf32_are_as_good_as_float32(libraries):
    tensors, grad_out = arguments((1, 1, 1, 64, 64, 64, 64), torch.float32)
    found, _ = kernels(libraries[0], tensors, grad_out)
    expected = exact(tensors, grad_out)
    plain = value_and_gradients(
        lambda *t: reference.attention(*t, None, None, False, 0.0, None), tensors, grad_out
    )
    for one, by_torch, right in zip(found, plain, expected, strict=True):
        assert (one - right).norm() <= 2 * (by_torch - right).norm()


@pytest.mark.parametrize("order", [DESCENDING, SHUFFLED])
@ways(1, 2, 4)
def test_threads_in_any_order(way, order):
    library, dtype = way
    shape = (1, 2, 1, 66, 100, 8, 12)
    tensors, grad_out = arguments(shape, dtype)
    given = mask_of("bool", shape), torch.tensor([3])
    one, _ = kernels(library, tensors, grad_out, *given, dropout=0.2)
    other, _ = kernels(library, tensors, grad_out, *given, dropout=0.2, order=order)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@ways(0, 1, 2)
def test_little_shared_memory(way):
    """Rows of several chunks where others have one."""
    library, dtype = way
    tensors, grad_out = arguments((1, 1, 1, 20, 30, 100, 70), dtype)
    found, _ = kernels(library, tensors, grad_out, shared=LITTLE)
    assert_close(found, exact(tensors, grad_out), dtype)


@ways(1, 3, 5)
def test_layouts_and_the_gradients_asked_for(way):
    library, dtype = way
    tensors, grad_out = arguments((1, 2, 2, 20, 33, 16, 16), dtype)
    plain, _ = kernels(library, tensors, grad_out)
    inside = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (*tensors, grad_out)]
    apart = [torch.nn.functional.pad(t, (0, 1))[..., :16] for t in (*tensors, grad_out)]
    for *of, grad in (inside, apart):
        found, _ = kernels(library, of, grad)
        assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
    for wanted in range(3):
        found, _ = kernels(library, tensors, grad_out, wanted=[i == wanted for i in range(3)])
        assert torch.equal(found[1 + wanted], plain[1 + wanted])


@pytest.mark.parametrize("is_causal", [False, True])
def test_masked_nan_does_not_leak(way, is_causal):
    library, dtype = way
    tensors, grad_out = arguments((1, 1, 1, 70, 70, 8, 8), dtype)
    mask = torch.ones(1, 1, 70, 70, dtype=torch.bool)
    mask[..., :50, 60:] = mask[..., 50:, :20] = False
    clean, _ = kernels(library, tensors, grad_out, mask, is_causal=is_causal)
    first = 66 if is_causal else 50  # of the queries that see the poison; no key to 20 sees them
    for poison in (math.nan, math.inf):
        dirty = [tensor.clone() for tensor in tensors]
        for tensor in dirty[1:]:
            tensor[:, :, 66:] = poison
        found, _ = kernels(library, dirty, grad_out, mask, is_causal=is_causal)
        assert not found[0][:, :, first:].isfinite().any()
        for one, other, rows in zip(found, clean, (first, first, 20, 20), strict=True):
            assert torch.equal(one[:, :, :rows], other[:, :, :rows])


def test_no_keys_and_no_elements(libraries):
    for shape in ((1, 2, 2, 3, 0, 5, 6), (1, 2, 2, 3, 4, 0, 6), (1, 2, 2, 3, 4, 5, 0)):
        tensors, grad_out = arguments(shape)
        found, lse = kernels(libraries[0], tensors, grad_out, scale=1.0)
        assert_close(found, exact(tensors, grad_out, scale=1.0), torch.float64)
        assert lse.isinf().all() == (shape[4] == 0)


# As SHAPES, with a mask of whole tiles, and whether it is causal too: rows of one panel and of two,
# full or not, values of another width, groups of heads, dropout with the masks.
IN_BULK = [
    ((1, 2, 1, 130, 140, 64, 64), "none", True),
    ((2, 1, 1, 20, 140, 40, 40), "bool", False),
    ((1, 2, 1, 130, 70, 72, 128), "added", False),
    ((1, 2, 2, 129, 65, 128, 40), "bool", True),
    ((1, 1, 1, 1, 70, 64, 64), "none", False),
]


def mask_of_tiles(kind, shape):
    """Masks queries to 64 of the first head, keys from 64 on of the last, keys 32 to 64 of all."""
    if kind == "none":
        return None
    n, heads, _, queries, keys, *_ = shape
    generator = torch.Generator().manual_seed(2)
    allowed = torch.rand(n, heads, queries, keys, generator=generator) > 0.3
    allowed[:, 0, :64] = allowed[:, -1, :, 64:] = allowed[:, :, :, 32:64] = False
    return (
        allowed if kind == "bool" else torch.zeros(allowed.shape).masked_fill(~allowed, -math.inf)
    )


@pytest.mark.parametrize("order", [ASCENDING, DESCENDING, SHUFFLED])
@pytest.mark.parametrize(("shape", "mask", "is_causal"), IN_BULK, ids=str)
def test_bulk_copies_give_the_same(libraries, shape, mask, is_causal, order):
    dtype = torch.bfloat16 if order == SHUFFLED else torch.float16
    tensors, grad_out = arguments(shape, dtype)
    if order == SHUFFLED:  # [N, L, H, E] in memory
        *tensors, grad_out = (
            t.transpose(1, 2).contiguous().transpose(1, 2) for t in (*tensors, grad_out)
        )
    given = mask_of_tiles(mask, shape), None if mask == "none" else torch.tensor([5]), is_causal
    options = {"dropout": 0.0 if mask == "none" else 0.3, "order": order}
    found, lse, copies = in_bulk(libraries[1], tensors, grad_out, *given, **options)
    other, lse_other, none = in_bulk(
        libraries[1], tensors, grad_out, *given, **options, has_maps=False
    )
    assert copies > 0
    assert none == 0
    if order == ASCENDING:  # each of the three kernels
        of_q, of_kv = (
            in_bulk(libraries[1], tensors, grad_out, *given, **options, wanted=wanted)[2]
            for wanted in ((True, False, False), (False, True, True))
        )
        assert min(of_q + of_kv - copies, copies - of_kv, copies - of_q) > 0
    assert torch.equal(lse, lse_other)
    assert all(torch.equal(a, b) for a, b in zip(found, other, strict=True))
    if order == ASCENDING:
        assert_close(found, exact(tensors, grad_out, *given, dropout=options["dropout"]), dtype)


def off_by_one(tensor):
    """In memory that begins between two vectors."""
    memory = tensor.new_empty(tensor.numel() + 1)
    return memory[1:].view(tensor.shape).copy_(tensor)


def with_a_gap(tensor):
    """Rows whose stride is not a multiple of a vector."""
    return torch.nn.functional.pad(tensor, (0, 1))[..., :-1]


def test_tensors_without_a_map(libraries):
    library, shape = libraries[1], (2, 2, 2, 20, 70, 16, 64)
    tensors, grad_out = arguments(shape, torch.float16)
    plain, _, copies = in_bulk(library, tensors, grad_out)
    assert copies > 0
    for change in (off_by_one, with_a_gap):
        for i in range(4):
            q, k, v, grad = (change(t) if i == j else t for j, t in enumerate((*tensors, grad_out)))
            found, _, copies = in_bulk(library, [q, k, v], grad)
            assert (copies > 0) == (i == 3)  # the forward has no gradient
            assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
    shared = [tensors[0], *(t[:, :1].expand(-1, 2, -1, -1) for t in tensors[1:])]
    found, _, copies = in_bulk(library, shared, grad_out)
    assert copies == 0
    same, *_ = in_bulk(library, [t.contiguous() for t in shared], grad_out)
    assert all(torch.equal(a, b) for a, b in zip(same, found, strict=True))
    for long in ((1, 1, 1, 20, 40, 136, 64), (1, 1, 1, 20, 40, 64, 136)):  # chunk by chunk
        tensors, grad_out = arguments(long, torch.float16)
        found, _, copies = in_bulk(library, tensors, grad_out)
        assert copies == 0
        assert_close(found, exact(tensors, grad_out), torch.float16)
