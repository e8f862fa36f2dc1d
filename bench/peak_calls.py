"""What ``python -m bench peak`` times: every op, at cases of its bench, and what limits it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from bench import attention, burgers, dense, gram, kalman, mse_loss, probes, rnn
from bench.harness import MIN_ROUNDS, Implementation, Summary, host_seconds, time_in_turns
from bench.peak_flows import (
    BINS,
    of_autoregressive,
    of_continuous_flow,
    of_diffusion_sampler,
    of_spline,
)
from bench.peak_work import Work
from bench.peers import jet_pyneural
from pyneural import ops

MULTIPLY_ADDS, MEMORY = "multiply-adds", "memory"
DTYPES = ("float32", "float64", "bfloat16")
ELEMENTS = 1 << 23  # more than the caches hold
JACOBIAN_POINTS = 200


Prepare = Callable[[str, bool, torch.dtype, int], Work]  # of a case, with gradients, dtype, seed


@dataclass(frozen=True)
class Lines:
    """Lines of the page.

    Attributes:
        op: its folder in ``csrc/``.
        meaning: of the numbers in a case.
        cases: one a line.
        prepare: makes the work of a case.
        limit: of what the share is counted.
        dtypes: in which the page has these lines.
        directions: forward, with gradients, or both.
    """

    op: str
    meaning: str
    cases: tuple[str, ...]
    prepare: Prepare
    limit: str = MULTIPLY_ADDS
    dtypes: tuple[str, ...] = ("float32", "float64")
    directions: tuple[bool, ...] = (False, True)


@dataclass(frozen=True)
class Call:
    """A case of an op, forward or with gradients."""

    op: str
    case: str
    backward: bool
    limit: str
    dtype: str
    prepare: Callable[[int], Work]  # of a seed

    @property
    def key(self) -> tuple[str, str, bool]:
        """What tells it from the other calls of its dtype."""
        return self.op, self.case, self.backward


def of_bench(module: Any, ours: Implementation) -> Prepare:
    """The work of a case as the bench of the op has it."""

    def prepare(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
        parsed = module.Case.parse(text)
        case = parsed[0] if isinstance(parsed, list) else parsed
        problem = module.Problem.random(case, backward, dtype, "cpu", seed)
        return Work(ours.build(problem), problem.operations())

    return prepare


def of_kalman(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    problem = kalman.Problem.random(kalman.Case.parse(text), backward, dtype, seed)
    return Work(kalman.OURS.build(problem), problem.operations())


def network(text: str, dtype: torch.dtype, seed: int) -> burgers.Problem:
    """The network of the jet bench, of a case such as ``4x64:loss``."""
    case = burgers.Case.parse(text.partition(":")[0], None)
    return burgers.Problem.random(case, dtype, "cpu", seed)


def of_mlp(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    problem = network(text, dtype, seed)
    x = problem.x.requires_grad_()

    def forward() -> Any:
        with torch.no_grad():
            return ops.mlp(x, problem.weights, problem.biases, "tanh")

    def both() -> Any:
        y = ops.mlp(x, problem.weights, problem.biases, "tanh")
        return torch.autograd.grad(y, [x, *problem.parameters], torch.ones_like(y))

    operations = problem.case.operations(1)
    return Work(both, operations) if backward else Work(forward, operations // 3)


def of_jet(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    problem = network(text, dtype, seed)
    operations = problem.case.operations(burgers.CHANNELS)
    if backward:
        return Work(jet_pyneural.build_two_calls(problem), operations)
    plan = problem.weights, problem.biases, "tanh", jet_pyneural.DERIVATIVES

    def forward() -> Any:
        with torch.no_grad():
            return ops.jet_mlp(problem.x, *plan)

    return Work(forward, operations // 3)


def of_jet_loss(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    problem = network(text, dtype, seed)
    operations = problem.case.operations(burgers.COLLAPSED_CHANNELS)
    return Work(jet_pyneural.build_one_pass(problem), operations)


def of_jet_jacobian(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """The bytes are those of the result."""
    problem = network(text, dtype, seed)
    x, plan = problem.x[:JACOBIAN_POINTS], (problem.weights, problem.biases, "tanh")
    gradients = burgers.CHANNELS * sum(part.numel() for part in problem.parameters)

    def call() -> Any:
        with torch.no_grad():
            return ops.jet_mlp_jacobian(x, *plan, jet_pyneural.DERIVATIVES)

    return Work(call, len(x) * gradients * dtype.itemsize)


def of_gram(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Of the triangle alone."""
    problem = network(text, dtype, seed)
    parameters = sum(part.numel() for part in problem.parameters)
    problem = replace(problem, x=problem.x[: gram.POINTS])
    return Work(gram.build_ours(problem), parameters * (parameters + 1) * gram.POINTS)


def of_damped_cholesky(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Of the factor; the solution with it passes twice through the triangle beside."""
    n = int(text)
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randn(n, n + 1, generator=generator, dtype=dtype)
    matrix, right = columns @ columns.T, columns[:, 0].contiguous()

    def call() -> Any:
        factor, _ = ops.damped_cholesky(matrix, 1.0)
        return ops.damped_cholesky_solve(factor, right)

    return Work(call, n**3 // 3)


def of_mse_loss(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Both passes read both operands, the second writes one gradient."""
    case = mse_loss.Case(int(text))
    problem = mse_loss.Problem.random(case, backward, dtype, "cpu", seed)
    passes = 5 if backward else 2
    return Work(mse_loss.OURS.build(problem), passes * case.elements * dtype.itemsize)


def of_dropout(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Each pass reads and writes once."""
    generator = torch.Generator().manual_seed(seed)
    x, grad_y = (torch.randn(int(text), generator=generator, dtype=dtype) for _ in range(2))
    x.requires_grad_()

    def forward() -> Any:
        with torch.no_grad():
            return ops.dropout(x, 0.1)

    def both() -> Any:
        return torch.autograd.grad(ops.dropout(x, 0.1), x, grad_y)

    passes = 4 if backward else 2
    return Work(both if backward else forward, passes * len(x) * dtype.itemsize)


def of_adadelta(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Reads a parameter, its gradient and two averages, and writes all but the gradient."""
    generator = torch.Generator().manual_seed(seed)
    w, g = (torch.randn(int(text), generator=generator, dtype=dtype) for _ in range(2))
    s, u = torch.zeros_like(w), torch.zeros_like(w)

    def step() -> None:
        ops.adadelta_([w], [g], [s], [u], learning_rate=1e-3, rho=0.95)

    return Work(step, 7 * len(w) * dtype.itemsize)


def of_adam(text: str, backward: bool, dtype: torch.dtype, seed: int) -> Work:
    """Reads a parameter, its gradient and two averages, and writes all but the gradient."""
    generator = torch.Generator().manual_seed(seed)
    w, g = (torch.randn(int(text), generator=generator, dtype=dtype) for _ in range(2))
    m, v, steps = torch.zeros_like(w), torch.zeros_like(w), torch.zeros(())

    def step() -> None:
        ops.adam_([w], [g], [m], [v], [steps], learning_rate=1e-3)

    return Work(step, 7 * len(w) * dtype.itemsize)


DENSE = (
    "4096x512x512:linear",
    "1000x1024x1024:relu",
    "3000x640x384:gelu",
    "1024x784x256:gelu",
    "100x784x128:relu",
    "10000x64x64:tanh",
)
ATTENTION = tuple(f"1x8x1024x{width}:full" for width in (48, 64, 80, 96, 128))
RNN = tuple(f"32x100x{h // 2}x{h}:{layer}" for h in (256, 512) for layer in ("RNN", "GRU", "LSTM"))
NETWORK = "hidden layers x width of a network of 2 inputs"
ELEMENTWISE = (str(ELEMENTS),)
LAYER = "rows x inputs x outputs, activation"
SCORES = "batch x heads x length x width"

LINES = (
    Lines("dense", LAYER, DENSE, of_bench(dense, dense.DENSE)),
    Lines(
        "masked_dense",
        f"{LAYER}, share of the absent edges",
        ("1000x1024x1024:relu:0.9",),
        of_bench(dense, dense.MASKED),
    ),
    Lines("mlp", NETWORK, ("8x20", "4x64", "5x128"), of_mlp),
    Lines(
        "autoregressive",
        "rows x features x units of two hidden layers, transform; of the weights that are present",
        ("1024x7x128:affine", "1024x7x128:spline", "1024x64x128:spline"),
        of_autoregressive,
    ),
    Lines(
        "continuous_flow",
        "rows x features x units of two hidden layers: equal steps",
        ("1024x7x128:10",),
        of_continuous_flow,
    ),
    Lines(
        "diffusion_sampler",
        "rows x features x units of three hidden layers: steps",
        ("2048x2x128:10", "2048x7x64:10"),
        of_diffusion_sampler,
        directions=(False,),
    ),
    Lines("attention", SCORES, ATTENTION, of_bench(attention, attention.OURS)),
    Lines(
        "attention",
        f"{SCORES}; in bfloat16 the share is that of the float32 peak",
        (ATTENTION[1], ATTENTION[-1]),
        of_bench(attention, attention.OURS),
        dtypes=("bfloat16",),
    ),
    Lines("rnn", "rows x steps x inputs x units, layer", RNN, of_bench(rnn, rnn.OURS)),
    Lines(
        "jet",
        f"{NETWORK}; loss: of Burgers' residual, in one pass",
        ("8x20:loss", "4x64:loss", "5x128:loss", "4x256:loss"),
        of_jet_loss,
        directions=(True,),
    ),
    Lines(
        "jet",
        "derivatives: u, u_t, u_x and u_xx; with the gradients of the same loss",
        ("4x64:derivatives", "5x128:derivatives"),
        of_jet,
    ),
    Lines(
        "jet",
        f"Gram matrix of the Jacobian of that residual at {gram.POINTS:,} points",
        ("4x20:gram",),
        of_gram,
        directions=(False,),
    ),
    Lines(
        "damped_cholesky",
        "rows of a matrix, its factor and one solution",
        ("1361", "2000"),
        of_damped_cholesky,
        dtypes=("float64",),
        directions=(False,),
    ),
    Lines(
        "kalman",
        "steps x states x observations of a series, which is the work of one thread",
        kalman.CASES,
        of_kalman,
        dtypes=("float64",),  # in which it computes, whatever its arguments
    ),
    Lines(
        "jet",
        f"jacobian: gradients of these at each of {JACOBIAN_POINTS} points; bytes: the result's",
        ("4x64:jacobian",),
        of_jet_jacobian,
        MEMORY,
        directions=(False,),
    ),
    Lines(
        "mse_loss",
        "elements; forward only reads, which may be faster than to read and write",
        ELEMENTWISE,
        of_mse_loss,
        MEMORY,
    ),
    Lines("spline", f"elements, with {BINS} bins each", (str(1 << 20),), of_spline, MEMORY),
    Lines("dropout", "elements", ELEMENTWISE, of_dropout, MEMORY),
    Lines("adadelta", "elements, a step", ELEMENTWISE, of_adadelta, MEMORY, directions=(False,)),
    Lines("adam", "elements, a step", ELEMENTWISE, of_adam, MEMORY, directions=(False,)),
)


def all_calls(dtype: str) -> Iterator[Call]:
    """Every call of the page in that dtype, in the page's order."""
    for lines in LINES:
        if dtype not in lines.dtypes:
            continue
        for case in lines.cases:
            for backward in lines.directions:
                prepare = partial(lines.prepare, case, backward, getattr(torch, dtype))
                yield Call(lines.op, case, backward, lines.limit, dtype, prepare)


def shown(case: str) -> str:
    """A case as one reads it.

    >>> shown("100x784x128:relu")
    '100 x 784 x 128 relu'
    """
    case = re.sub(r"\d{4,}", lambda number: f"{int(number[0]):,}", case)
    return re.sub(r"(?<=\d)x(?=\d)", " x ", case).replace(":", " ")


def measure(
    call: Call,
    threads: int,
    seed: int,
    seconds: float,
    min_rounds: int = MIN_ROUNDS,
    probe_seconds: float = probes.PROBE_SECONDS,
) -> dict[str, Any]:
    """The figures of a call, timed in turns with the probe of what limits it."""
    if call.limit == MEMORY:
        probe = probes.memory_probe()
    else:
        wide = torch.float64 if call.dtype == "float64" else torch.float32  # of the sums
        probe = probes.multiply_add_probe(wide, threads, probe_seconds)
    run, amount = call.prepare(seed)
    rates: list[float] = []
    turns = {"call": run, "probe": lambda: rates.append(probe())}
    samples = time_in_turns(turns, dict.fromkeys(turns, host_seconds), seconds, min_rounds)
    summary, peak = Summary.of(samples["call"]), Summary.of(rates).median
    return {
        "op": call.op,
        "case": call.case,
        "backward": call.backward,
        "limit": call.limit,
        **asdict(summary),
        "work": amount,
        "peak": peak,
        "share_of_peak": amount / summary.median / peak,
    }
