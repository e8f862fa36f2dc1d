"""Gram matrix J^T J / N of the residuals of Burgers' equation, with its loss and gradient.

    pyneural, torch.func (vmap of jacrev, eager and compiled), JAX jit

Each implementation is first compared with torch.func in float64 on fresh random inputs. The peers
store the Jacobian and multiply it with itself, which counts twice the products of the triangle.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from bench.burgers import NU, Case, Problem
from bench.comparison import Comparison, figures, print_rows, validated
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from bench.peers.jet_pyneural import DERIVATIVES

CASES = "3x20", "4x20", "2x40"  # 921, 1,341 and 1,801 parameters
POINTS = 2000
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-10}
OURS = "pyneural"


def build_ours(problem: Problem) -> Callable[[], tuple[Tensor, ...]]:
    from pyneural import ops

    program = ops.record_residual(
        lambda jet, x, c: jet[1, 0] + jet[0, 0] * jet[2, 0] - NU * jet[3, 0]
    )
    arguments = problem.x, problem.weights, problem.biases, "tanh", DERIVATIVES, program

    def call() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return ops.jet_mlp_gram(*arguments)

    return call


def build_func(problem: Problem, is_compiled: bool = False) -> Callable[[], tuple[Tensor, ...]]:
    """The way of torch's tutorials, one point at a time under vmap."""
    jvp, jacrev, vmap = torch.func.jvp, torch.func.jacrev, torch.func.vmap
    layers, e_t, e_x = len(problem.weights), *torch.eye(2).to(problem.x)

    def residual(parameters: list[Tensor], point: Tensor) -> tuple[Tensor, Tensor]:
        def u_of(x: Tensor) -> Tensor:
            pairs = list(zip(parameters[:layers], parameters[layers:], strict=True))
            for weight, bias in pairs[:-1]:
                x = torch.tanh(linear(x, weight, bias))
            return linear(x, *pairs[-1])[0]

        def u_x_of(x: Tensor) -> Tensor:
            return jvp(u_of, (x,), (e_x,))[1]

        u, u_t = jvp(u_of, (point,), (e_t,))[:2]
        u_x, u_xx = jvp(u_x_of, (point,), (e_x,))[:2]
        r = u_t + u * u_x - NU * u_xx
        return r, r

    jacobian = vmap(jacrev(residual, has_aux=True), (None, 0))

    def gram(parameters: list[Tensor], x: Tensor) -> tuple[Tensor, ...]:
        grads, r = jacobian(parameters, x)
        pairs = zip(grads[:layers], grads[layers:], strict=True)
        j = torch.cat([grad.flatten(1) for pair in pairs for grad in pair], 1)
        return r.square().mean(), j.T @ r / len(x), j.T @ j / len(x)

    function = torch.compile(gram) if is_compiled else gram
    parameters = [p.detach() for p in problem.parameters]
    return lambda: function(parameters, problem.x)


def build_jax(problem: Problem) -> Callable[[], tuple[Any, ...]]:
    from bench.peers.jet_jax import import_jax, network

    jax = import_jax(problem)
    numpy = jax.numpy

    def residual(parameters: Any, point: Any) -> Any:
        def u_of(x: Any) -> Any:
            return network(x, parameters)[0]

        e_t, e_x = numpy.eye(2, dtype=point.dtype)
        u, u_t = jax.jvp(u_of, (point,), (e_t,))
        u_x, u_xx = jax.jvp(lambda x: jax.jvp(u_of, (x,), (e_x,))[1], (point,), (e_x,))
        return u_t + u * u_x - NU * u_xx

    @jax.jit
    def gram(parameters: Any, x: Any) -> tuple[Any, ...]:
        values, grads = jax.vmap(jax.value_and_grad(residual), (None, 0))(parameters, x)
        j = numpy.concatenate([g.reshape(len(x), -1) for pair in grads for g in pair], 1)
        return (values**2).mean(), j.T @ values / len(x), j.T @ j / len(x)

    arrays = [numpy.asarray(p.detach().cpu().numpy()) for p in problem.parameters]
    layers = len(problem.weights)
    parameters = list(zip(arrays[:layers], arrays[layers:], strict=True))
    x = numpy.asarray(problem.x.cpu().numpy())
    return lambda: jax.block_until_ready(gram(parameters, x))


IMPLEMENTATIONS = [
    Implementation(OURS, "pyneural", build_ours),
    Implementation("torch.func, eager", "func", build_func),
    Implementation("torch.func, compiled", "compile", lambda p: build_func(p, True), compiles=True),
    Implementation("JAX jit", "jax", build_jax, compiles=True, device_clock=False),
]
GROUPS = sorted({i.group for i in IMPLEMENTATIONS} - {"pyneural"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", default=CASES, metavar="DEPTHxWIDTH")
    parser.add_argument("--points", type=int, default=POINTS)
    add_common_arguments(parser, GROUPS)
    parser.set_defaults(dtype="float64")


def run(options: argparse.Namespace) -> int:
    try:
        cases = [Case.parse(text, options.points) for text in options.case]
        comparison = Comparison("gram", "Gram matrix of Burgers' residuals", options)
    except ValueError as error:
        print(f"bench gram: {error}")
        return 2
    print("peak: share of the multiply-add probe, counting M (M + 1) N operations: the triangle's")
    for case in cases:
        comparison.entry["cases"].append(bench_case(case, comparison))
        comparison.keep()
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if all(OURS in case["rows"] for case in comparison.entry["cases"]) else 1


def operations(problem: Problem) -> int:
    """Of the triangle alone, whose products are most of the work."""
    size = sum(p.numel() for p in problem.parameters)
    return size * (size + 1) * len(problem.x)


def bench_case(case: Case, comparison: Comparison) -> dict[str, Any]:
    """Validate, time and print one case; the figures for the JSON file."""
    options = comparison.options
    problem = Problem.random(case, comparison.dtype, options.device, options.seed)
    size = sum(p.numel() for p in problem.parameters)
    print(f"\n{case.depth} x {case.width}, {size:,} parameters, {case.points:,} points", flush=True)
    oracle = build_func(problem.double())()
    chosen = comparison.chosen(IMPLEMENTATIONS)
    calls, errors, absent = validated(problem, chosen, oracle, TOLERANCE[comparison.dtype])
    samples, peak = comparison.timed(calls, chosen)
    rows = {
        name: figures(seconds, operations(problem), peak, errors[name])
        for name, seconds in samples.items()
    }
    print_rows(rows, OURS, peak)
    for name, reason in absent.items():
        print(f"absent: {name}: {reason}")
    return {**asdict(case), "peak_flops": peak, "rows": rows, "absent": absent}
