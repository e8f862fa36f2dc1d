"""Random calls of the ops: each raises an exception of Python's or agrees with plain torch.

    python -m tests.fuzz.op_fuzzer --seed 7 --seconds 10            the calls "7/0", "7/1" and so on
    python -m tests.fuzz.op_fuzzer --seed 7 --first 31 --calls 1    one of them, as it failed

Prints the number of each call before it, so that a crash names its call.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import sys
import time
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from pyneural.ops.activations import NAMES
from tests.fuzz.draw import OPS, Draw
from tests.fuzz.op_calls import CALLS, IN_PLACE, PUBLIC

DTYPES = sorted(
    {value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str
)
FLOATS = (0.0, 1.0, -1.0, 0.5, 1.5, 1e300, float("inf"), float("-inf"), float("nan"))
# More elements than any machine has memory for, but for the small ones.
INTS = (0, 1, -1, 2, 7, 2**44, -(2**63), 2**63 - 1)
GIANTS = ((2**45, 1, 1, 0), (0, 2**45), (1, 2**40, 0, 1), (2**31, 0), (0, 2**62))
# What a forward saved belongs to its arguments: with others, nothing can be said of the result.
WITH_SAVED = (
    "dense_backward",
    "masked_dense_backward",
    "rnn_backward",
    "attention_backward",
    "autoregressive_backward",
)
# With numbers at random a matrix is singular or not by its last digit, and a flow is as many steps
# as one of them says. What the kernel of autoregressive saves, the reference does not.
NOT_FUZZED = ("kalman", "damped_cholesky", "continuous_flow", "autoregressive_with_saved")
FUZZED = [name for name in CALLS if not name.startswith(NOT_FUZZED)]
AS_THE_OP = [PUBLIC[name][0] for name in ("dense", "mlp", "masked_dense", "rnn", "mse_loss")]
REFERENCE = torch._C.DispatchKey.CompositeExplicitAutograd
# Relative to the largest element of the result; sums are as long as the widest layer.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 3e-4, torch.bfloat16: 0.1, torch.float16: 0.03}


def guarded(tensor: Tensor) -> Tensor:
    """A copy that ends where memory that may not be touched begins."""
    size = tensor.numel() * tensor.itemsize
    if size == 0 or not tensor.is_cpu or not sys.platform.startswith("linux"):
        return tensor
    page = mmap.PAGESIZE
    pages = -(-size // page) + 1
    memory = mmap.mmap(-1, pages * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    end = ctypes.c_void_p(start + (pages - 1) * page)
    if libc.mprotect(end, ctypes.c_size_t(page), 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    offset = (pages - 1) * page - size
    raw = torch.frombuffer(memory, dtype=torch.uint8, count=size, offset=offset)
    copy = raw.view(tensor.dtype).view(tensor.shape)
    return copy.copy_(tensor)


def spoiled_tensor(draw: Draw, tensor: Tensor) -> Any:
    """Another tensor in its place, or None."""
    kind = draw.choice(
        ("dtype", "dtype", "shape", "giant", "strides", "strides", "strides", "meta", "none",
         "values", "guarded", "guarded", "grad")
    )  # fmt: skip
    if kind == "dtype":
        dtype = draw.choice(DTYPES)
        try:
            return tensor.to(dtype)
        except (RuntimeError, NotImplementedError):
            return torch.empty(tensor.shape, dtype=torch.float32)
    if kind == "shape":
        shape = list(tensor.shape)
        change = draw.choice(("drop", "add", "other", "swap"))
        if change == "add":
            shape.insert(draw.random.randint(0, len(shape)), draw.choice((0, 1, 2)))
        elif shape and change == "drop":
            shape.pop(draw.random.randrange(len(shape)))
        elif shape and change == "other":
            shape[draw.random.randrange(len(shape))] = draw.size()
        else:
            shape.reverse()
        return draw.normal(torch.float64, *shape).to(tensor.dtype)
    if kind == "giant":
        shape = draw.choice(GIANTS)
        return torch.empty(shape, dtype=tensor.dtype)
    if kind == "strides" and tensor.dim():
        change, d = draw.choice(("gaps", "transposed", "expanded", "offset")), tensor.dim() - 1
        if change == "gaps":
            return tensor.repeat_interleave(2, d)[..., ::2]
        if change == "transposed":
            return tensor.transpose(0, d).contiguous().transpose(0, d)
        if change == "expanded":
            return tensor[..., :1].expand(tensor.shape)
        return torch.cat([tensor.flatten()[:1], tensor.flatten()])[-tensor.numel() or 1 :].view(
            tensor.shape if tensor.numel() else [0]
        )
    if kind == "meta":
        return tensor.to("meta")
    if kind == "values" and tensor.is_floating_point() and tensor.numel():
        copy = tensor.clone(memory_format=torch.contiguous_format)
        copy.view(-1)[draw.random.randrange(tensor.numel())] = draw.choice(
            (0.0, -1.0, 1e3, float("inf"), float("nan"))
        )
        return copy
    if kind == "guarded":
        return guarded(tensor)
    if kind == "grad" and tensor.is_floating_point():
        return tensor.clone().requires_grad_()
    return None if kind == "none" else tensor


def spoiled(draw: Draw, args: list) -> list:
    """The arguments with some that are others."""
    leaves, structure = tree_flatten(args)
    for _ in range(draw.choice((0, 0, 1, 1, 1, 2, 3))):
        place = draw.random.randrange(len(leaves))
        leaf = leaves[place]
        if isinstance(leaf, Tensor):
            leaves[place] = spoiled_tensor(draw, leaf)
        elif isinstance(leaf, bool):
            leaves[place] = not leaf
        elif isinstance(leaf, str):
            leaves[place] = draw.choice((*NAMES, "gru", "lstm", "", "é"))
        elif isinstance(leaf, int):
            leaves[place] = draw.choice(INTS)
        elif isinstance(leaf, float) or leaf is None:
            leaves[place] = draw.choice((*FLOATS, None, torch.ones(3)))
    args = tree_unflatten(leaves, structure)
    if draw.random.random() < 0.1:  # lists of other lengths
        place = draw.random.randrange(len(args))
        if isinstance(args[place], list):
            args[place] = draw.choice((args[place][:-1], args[place] * 2, []))
    return args


def same(found: Tensor, expected: Tensor, exact: Tensor) -> bool:
    """Whether a result is as near to that in float64 as plain torch's own, or near enough."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if not found.is_floating_point():
        return torch.equal(found, expected)
    found, expected, exact = (t.detach().double() for t in (found, expected, exact))
    finite = exact.isfinite() & expected.isfinite()
    if not finite.all():  # what becomes of nan and infinity is asked elsewhere
        return True
    scale = exact.abs().max().clamp(min=1) if exact.numel() else 1.0
    error, own = (found - exact).abs(), (expected - exact).abs()
    bound = TOLERANCES[_coarsest] * scale + 3 * own.max() if exact.numel() else 0.0
    return bool((error <= bound).all())


def drawn(seed: str) -> tuple[str, list, list]:
    """The op of a seed, its arguments, and what they were before some were spoiled."""
    draw = Draw(seed)
    name = draw.choice(FUZZED)
    good = CALLS[name](draw)
    return name, spoiled(draw, good), good


_coarsest = torch.float64  # of the tensors of the call


def call(seed: str) -> str:
    """Makes the call of a seed; what happened. AssertionError where that is wrong."""
    global _coarsest
    name, args, good = drawn(seed)
    op = getattr(OPS, name)
    tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
    before = tree_map_only(Tensor, lambda t: t.detach().clone(), args)
    faces = PUBLIC.get(name, [])
    # The faces broadcast and convert what the ops refuse.
    public = (
        faces[len(seed) % len(faces)] if faces and int(seed.rpartition("/")[2]) % 3 == 0 else None
    )
    try:
        result = op(*args) if public is None else public(*args)
        leaves = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if any(leaf.requires_grad for leaf in leaves):
            sum(leaf.sum() for leaf in leaves if leaf.requires_grad).backward()
    except SystemError:
        raise
    except Exception as error:
        return f"{name}: {type(error).__name__}"
    if any(tensor.is_meta for tensor in tensors):
        assert all(leaf.is_meta for leaf in leaves), f"{name}: values from tensors without"
        return f"{name}: meta"
    if public is not None and public not in AS_THE_OP:
        return f"{name}: face"
    if name == "attention_keep" or (name in WITH_SAVED and not _equal(args, good)):
        return f"{name}: done"
    try:
        expected = _reference(op, before if name in IN_PLACE else args)
        exact = _reference(op, tree_map_only(Tensor, _in_double, before))
    except RuntimeError as error:
        if "overflow" in str(error):  # a number that the kernels make infinite, a size of giants
            return f"{name}: too large for plain torch"
        raise
    except ValueError:
        if public is not None:
            return f"{name}: face"
        raise
    if name in IN_PLACE:  # in place
        leaves, expected = tree_leaves(args[:4]), tree_leaves(before[:4])
        exact = expected
    if public is not None:  # without the results that are the ops' own
        expected, exact = expected[: len(leaves)], exact[: len(leaves)]
    floats = [t.dtype for t in tensors if t.dtype in TOLERANCES]
    _coarsest = max(floats, key=lambda dtype: TOLERANCES[dtype], default=torch.float64)
    for number, triple in enumerate(zip(leaves, expected, exact, strict=True)):
        assert same(*triple), f"{name}: result {number} is not that of plain torch"
    return f"{name}: as plain torch"


def _equal(args: list, others: list) -> bool:
    pairs = list(zip(tree_leaves(args), tree_leaves(others), strict=False))
    tensors = [pair for pair in pairs if all(isinstance(leaf, Tensor) for leaf in pair)]
    rest = [pair for pair in pairs if not any(isinstance(leaf, Tensor) for leaf in pair)]
    same_tensors = all(
        a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) for a, b in tensors
    )
    return same_tensors and len(tensors) + len(rest) == len(pairs) and all(a == b for a, b in rest)


def _in_double(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float64, copy=True) if tensor.is_floating_point() else tensor.clone()


def _reference(op: Any, args: list) -> list[Tensor]:
    """The op in plain torch, as the devices have it that have no kernel."""
    with torch._C._AutoDispatchBelowAutograd():
        return [
            leaf
            for leaf in tree_leaves(op.default._op_dk(REFERENCE, *args))
            if isinstance(leaf, Tensor)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--calls", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + options.seconds
    for number in range(options.first, options.first + options.calls):
        print(f"{options.seed}/{number}", end=" ", flush=True)
        print(call(f"{options.seed}/{number}"), flush=True)
        if time.monotonic() > end:
            break


if __name__ == "__main__":
    main()
