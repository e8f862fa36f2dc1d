"""Attention: pyneural beside torch's scaled_dot_product_attention.

    softmax(q k^T / sqrt(E)) v for q, k, v [N, H, L, E], causal or not, forward, and with the
    gradients of q, k and v

All are first compared with float64 torch on fresh random inputs: the output and every gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from bench.comparison import Comparison, compared, run_bench
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from bench.memory import device_extra_bytes, extra_bytes
from bench.report import mebibytes
from pyneural import ops

CASES = (
    "4x8x512x64",
    "1x8x2048x64",
    "1x8x4096x64",
    "4x4x512x128",
    "1x4x2048x128",
    "64x4x64x16",
    "1x1x4096x64",
)
MEMORY_LENGTH = 16_384
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10, torch.bfloat16: 3e-2}


@dataclass(frozen=True)
class Case:
    """Batch, heads, length of queries and keys, numbers of each, and whether it is causal."""

    batch: int
    heads: int
    length: int
    width: int
    is_causal: bool

    @staticmethod
    def parse(text: str) -> list[Case]:
        """Both of BATCHxHEADSxLENGTHxWIDTH, or one of them with :full or :causal.

        >>> Case.parse("4x8x512x64:causal")
        [Case(batch=4, heads=8, length=512, width=64, is_causal=True)]
        """
        kinds = {"": (False, True), "full": (False,), "causal": (True,)}
        try:
            shape, _, kind = text.partition(":")
            sizes = [int(part) for part in shape.split("x")]
            if len(sizes) != 4 or min(sizes) < 1 or kind not in kinds:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"case: expected BATCHxHEADSxLENGTHxWIDTH[:full|:causal], got {text!r}; "
                f"for instance {CASES[0]}:causal"
            ) from None
        return [Case(*sizes, is_causal) for is_causal in kinds[kind]]

    @property
    def title(self) -> str:
        return (
            f"batch {self.batch}, {self.heads} heads, length {self.length:,}, width {self.width}, "
            f"{'causal' if self.is_causal else 'full'}"
        )


@dataclass(frozen=True)
class Problem:
    """One case: q, k, v and grad_out, [N, H, L, E]."""

    case: Case
    backward: bool
    tensors: tuple[Tensor, ...]
    grad_out: Tensor

    @staticmethod
    def random(case: Case, backward: bool, dtype: torch.dtype, device: str, seed: int) -> Problem:
        generator = torch.Generator().manual_seed(seed)
        shape = case.batch, case.heads, case.length, case.width
        q, k, v, grad_out = (
            torch.randn(shape, generator=generator).to(device, dtype) for _ in range(4)
        )
        return Problem(case, backward, tuple(t.requires_grad_() for t in (q, k, v)), grad_out)

    def double(self) -> Problem:
        """The same numbers in float64 on the CPU, for the oracle."""
        lifted = (t.detach().double().cpu().requires_grad_() for t in self.tensors)
        return replace(self, tensors=tuple(lifted), grad_out=self.grad_out.double().cpu())

    def operations(self) -> int:
        """Of the products: two of the forward, five of the backward, over the scores that count."""
        case = self.case
        scores = case.length * (case.length + 1) // 2 if case.is_causal else case.length**2
        products = 7 if self.backward else 2
        return 2 * products * case.batch * case.heads * scores * case.width


def build(function: Callable[..., Tensor], problem: Problem) -> Callable[[], list[Tensor]]:
    """A call of function(q, k, v, is_causal=...), with gradients if wanted."""
    is_causal, tensors = problem.case.is_causal, problem.tensors

    def forward() -> list[Tensor]:
        with torch.no_grad():
            return [function(*tensors, is_causal=is_causal)]

    def both() -> list[Tensor]:
        out = function(*tensors, is_causal=is_causal)
        return [out, *torch.autograd.grad(out, tensors, problem.grad_out)]

    return both if problem.backward else forward


def build_compiled(problem: Problem) -> Callable[[], list[Tensor]]:
    """The equation itself, as one would write it, for the compiler to fuse."""

    def written_out(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if is_causal:
            seen = torch.ones_like(scores, dtype=torch.bool).tril()
            scores = scores.masked_fill(~seen, -torch.inf)
        return scores.softmax(-1) @ v

    return build(torch.compile(written_out, fullgraph=True, dynamic=False), problem)


def build_backend(backend: SDPBackend, problem: Problem) -> Callable[[], list[Tensor]]:
    def by_backend(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q, k, v, is_causal=is_causal)

    return build(by_backend, problem)


OURS = Implementation("pyneural", "pyneural", partial(build, ops.attention))
PEERS = [
    Implementation("torch sdpa", "sdpa", partial(build, scaled_dot_product_attention)),
    Implementation("torch sdpa, math", "math", partial(build_backend, SDPBackend.MATH)),
    Implementation("torch.compile", "compile", build_compiled, compiles=True),
]
CUDA_PEERS = [
    Implementation(f"torch sdpa, {name}", name, partial(build_backend, backend))
    for name, backend in (
        ("flash", SDPBackend.FLASH_ATTENTION),
        ("cudnn", SDPBackend.CUDNN_ATTENTION),
        ("efficient", SDPBackend.EFFICIENT_ATTENTION),
    )
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", default=CASES, metavar="NxHxLxE[:full|:causal]")
    groups = [peer.group for peer in [*PEERS, *CUDA_PEERS]]
    add_common_arguments(parser, groups, dtypes=("float32", "float64", "bfloat16"))


def run(options: argparse.Namespace) -> int:
    def memory(comparison: Comparison) -> None:
        if not options.no_memory:
            comparison.entry["memory"] = bench_memory(options)
            comparison.keep()

    return run_bench(
        "attention",
        "attention",
        options,
        lambda: [case for text in options.case for case in Case.parse(text)],
        bench_case,
        counting="the products",
        more=memory,
    )


def bench_case(case: Case, backward: bool, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one case, and whether ours agree with the oracle."""
    options, dtype = comparison.options, comparison.dtype
    problem = Problem.random(case, backward, dtype, options.device, options.seed)
    oracle = build(scaled_dot_product_attention, problem.double())()
    peers = [*PEERS, *(CUDA_PEERS if options.device == "cuda" else [])]
    return compared(comparison, problem, [OURS, *peers], oracle, TOLERANCE[dtype])


def bench_memory(options: argparse.Namespace) -> dict[str, int | None]:
    """Peak extra bytes at one long head, forward and backward, beside what the results take."""
    subject = {
        "implementation": OURS.name,
        "dtype": options.dtype,
        "device": options.device,
        "threads": options.threads,
    }
    if options.device == "cuda":
        implementation, problem, _ = memory_subject(subject)
        extra = device_extra_bytes(implementation, implementation.build(problem))
    else:
        extra = extra_bytes("attention", subject)
    _, problem, _ = memory_subject(subject)
    size = problem.grad_out.numel() * problem.grad_out.element_size()
    print(
        f"\npeak extra memory, one head, length {MEMORY_LENGTH:,}, width 64, forward + backward: "
        f"{mebibytes(extra)} MiB, of which out and the gradients of q, k, v are "
        f"{mebibytes(4 * size)} MiB; q, k, v and grad_out are as much again"
    )
    return {"extra_bytes": extra, "tensor_bytes": size}


def memory_subject(subject: dict[str, Any]) -> tuple[Implementation, Problem, Problem]:
    """Implementation, problem and a small problem for its first call, for ``bench.memory``."""
    dtype = getattr(torch, subject["dtype"])
    problem, small = (
        Problem.random(Case(1, 1, length, 64, False), True, dtype, subject["device"], 0)
        for length in (MEMORY_LENGTH, 64)
    )
    return OURS, problem, small
