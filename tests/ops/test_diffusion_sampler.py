"""ops.diffusion_sampler and its form in plain torch against a loop of steps, and all else."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops import reference
from pyneural.ops.activations import NAMES
from pyneural.ops.reference.diffusion_sampler import _philox, normal
from tests.ops.diffusion_samplers import SEED, DiffusionSampler
from tests.tolerances import (
    FLOAT64,
    FLOAT64_GRADIENT,
    assert_as_good_as_torch,
    assert_close,
)


def in_plain_torch(*arguments, guidance, seed):
    *tensors, activation = arguments
    return reference.diffusion_sampler(*tensors, seed, activation, guidance)


FORMS = [ops.diffusion_sampler, in_plain_torch]

# Widths off every tile; few rows, blocks and threads.
SAMPLERS = {
    "a point on a line": {"features": 1, "rows": 1},
    "three features": {},
    "one step": {"steps": 1, "memory": 3},
    "a linear network": {"hidden": (), "features": 5},
    "one hidden layer, two values": {"hidden": (20,), "activation": "tanh", "memory": 2},
    "condition": {"condition": 2, "hidden": (33, 20), "activation": "gelu"},
    "a linear network with a condition": {"hidden": (), "condition": 2},
    "guidance": {"condition": 3, "hidden": (9, 8, 7), "guidance": 1.5, "memory": 4, "steps": 9},
    "several blocks": {"features": 7, "rows": 300, "hidden": (16, 24), "activation": "elu"},
    "wide": {"hidden": (260, 40), "rows": 70, "features": 2, "steps": 3},
    "many features": {"features": 33, "condition": 1, "hidden": (40, 20), "rows": 9},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_against_a_loop(name, form):
    sampler = DiffusionSampler.random(**SAMPLERS[name])
    assert_close(sampler.call(form), sampler.by_steps(), FLOAT64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_against_a_loop_with_the_same_noise(name, form):
    sampler = DiffusionSampler.random(**SAMPLERS[name], noise=0.7)
    noise = [normal(SEED, sampler.x, i) for i in range(len(sampler.shifts))]
    assert_close(sampler.call(form), sampler.by_steps(noise), FLOAT64)


@pytest.mark.parametrize("hidden", [(33, 20), (40,)])
@pytest.mark.parametrize("activation", NAMES)
def test_every_activation_in_float32(activation, hidden):
    sampler = DiffusionSampler.random(
        5, 2, hidden, 100, noise=0.2, activation=activation, dtype=torch.float32
    )
    exact = sampler.map(Tensor.double).call(in_plain_torch)
    assert_as_good_as_torch(sampler.call(), sampler.call(in_plain_torch), exact)


def test_a_method_of_several_steps_converges_with_its_order():
    """Adams and Bashforth's of second order for dx/dt = x, begun by an exact step of exp(h)."""
    errors = []
    for steps in (20, 40):
        h = 1 / steps
        rows = [[1.0, 0.0, math.expm1(h), 0.0], *[[1.0, 0.0, 1.5 * h, -0.5 * h]] * (steps - 1)]
        one = torch.ones(1, 1, dtype=torch.float64)
        y = ops.diffusion_sampler(
            one, None, [one], [0 * one[0]], torch.zeros(steps, 1).double(), one.new_tensor(rows)
        )
        errors.append(abs(float(y) - math.e))
    assert 3.8 < errors[0] / errors[1] < 4.2


# Counter, key and words of the authors' own tests, kat_vectors of Random123.
WORDS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


@pytest.mark.parametrize(("counter", "key", "words"), WORDS)
def test_words_of_philox(counter, key, words):
    low, high = (int(word, 16) for word in key.split())
    seed = high << 32 | low
    seed -= (seed >> 63) << 64  # with a sign
    found = _philox(torch.tensor(seed), [torch.tensor(int(w, 16)) for w in counter.split()])
    assert [int(word) for word in found] == [int(word, 16) for word in words.split()]


def drawn(rows, features, step=0, seed=SEED, dtype=torch.float64):
    """The noise of a step alone, by the kernel."""
    x = torch.zeros(rows, features, dtype=dtype)
    coefficients = x.new_zeros(step + 1, 3)
    coefficients[step, 1] = 1
    weight, shifts = x.new_zeros(features, features), x.new_zeros(step + 1, features)
    return ops.diffusion_sampler(x, None, [weight], [weight[0]], shifts, coefficients, seed=seed)


@pytest.mark.parametrize("seed", [SEED, torch.tensor([-1]), torch.tensor([0])])
@pytest.mark.parametrize(("rows", "features"), [(1, 1), (7, 2), (40, 4), (130, 7)])
def test_noise_of_the_kernel_is_that_of_plain_torch(rows, features, seed):
    for dtype, limit in ((torch.float64, 1e-14), (torch.float32, 2e-6)):
        for step in (0, 3):
            found = drawn(rows, features, step, seed, dtype)
            assert (found - normal(seed, found.double(), step)).abs().max() < limit


def test_noise_is_normal_and_independent():
    stats = pytest.importorskip("scipy.stats")
    z = torch.stack([drawn(50_000, 5, step) for step in (0, 1)])
    for sample in z.permute(0, 2, 1).reshape(-1, 50_000):
        assert stats.kstest(sample.numpy(), "norm").pvalue > 1e-4
    # Columns and steps, the row before, another seed.
    flat = z.permute(1, 0, 2).flatten(1)
    others = flat[1:], flat[:-1], drawn(50_000, 1, seed=SEED + 1)[1:]
    correlations = torch.corrcoef(torch.cat(others, 1).T)
    assert (correlations - torch.eye(len(correlations))).abs().max() < 5 / 50_000**0.5


def test_seed_of_torch_repeats_it():
    sampler = DiffusionSampler.random(noise=1.0)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs += [sampler.call(seed=None), sampler.call(seed=None)]
    assert torch.equal(runs[0], runs[2])
    assert torch.equal(runs[1], runs[3])
    assert not torch.equal(runs[0], runs[1])


def test_rows_depend_neither_on_threads_nor_on_other_rows(threads):
    sampler = DiffusionSampler.random(
        7, 2, (64, 64), 1000, noise=0.3, guidance=0.5, dtype=torch.float32
    )
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(sampler.call())
    part = replace(sampler, x=sampler.x[:531], condition=sampler.condition[:531])
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert torch.equal(part.call(), found[0][:531])


def test_no_rows_and_no_steps():
    assert DiffusionSampler.random(rows=0, condition=2).call().shape == (0, 3)
    sampler = DiffusionSampler.random(steps=0)
    assert torch.equal(sampler.call(), sampler.x)
    no_columns = replace(DiffusionSampler.random(noise=0.1), condition=torch.zeros(5, 0).double())
    assert_close(no_columns.call(), replace(no_columns, condition=None).call(), FLOAT64)


def test_not_contiguous():
    sampler = DiffusionSampler.random(condition=2, noise=0.5)
    strided = sampler.map(lambda t: t.repeat_interleave(2, dim=-1)[..., ::2])
    assert not any(t.is_contiguous() for t in strided.tensors)
    assert torch.equal(strided.call(), sampler.call())


@pytest.mark.parametrize("options", [{}, {"condition": 2, "guidance": 0.7}])
def test_gradcheck(options):
    sampler = DiffusionSampler.random(2, rows=3, steps=2, memory=2, noise=0.4, **options).leaves()

    def function(*tensors):
        return sampler.of(list(tensors)).call()

    assert torch.autograd.gradcheck(function, sampler.tensors)
    assert torch.autograd.gradgradcheck(function, sampler.tensors, fast_mode=True)


def test_gradients_are_those_of_the_loop():
    results = []
    sampler = DiffusionSampler.random(condition=2, guidance=0.5, memory=3, steps=5).leaves()
    noise = [normal(SEED, sampler.x, i) for i in range(5)]
    for y in (sampler.call(), sampler.by_steps(noise)):
        results.append(torch.autograd.grad(y.square().sum(), sampler.tensors))
    for found, exact in zip(*results, strict=True):
        assert_close(found, exact, FLOAT64_GRADIENT)


@pytest.mark.parametrize("condition", [0, 2])
def test_opcheck_and_compile(condition):
    sampler = DiffusionSampler.random(condition=condition, noise=0.3, rows=9)
    op = torch.ops.pyneural.diffusion_sampler.default
    torch.library.opcheck(op, sampler.arguments())
    torch.library.opcheck(op, sampler.leaves().arguments())
    compiled = torch.compile(ops.diffusion_sampler, fullgraph=True, backend="aot_eager")
    assert_close(sampler.call(compiled), sampler.call(), FLOAT64)
    assert sampler.call(compiled, seed=None).shape == sampler.x.shape


def test_torch_func():
    sampler = DiffusionSampler.random(rows=4)

    def function(x):
        return replace(sampler, x=x[None]).call()[0]

    jacobian = torch.func.vmap(torch.func.jacrev(function))(sampler.x)
    assert_close(torch.func.vmap(torch.func.jacfwd(function))(sampler.x), jacobian, FLOAT64)
    assert_close(torch.func.vmap(function)(sampler.x), sampler.call(), FLOAT64)


def test_autocast_computes_in_float32():
    sampler = DiffusionSampler.random(condition=2, noise=0.3, dtype=torch.float32)
    exact = sampler.call()
    with torch.autocast("cpu", torch.bfloat16):
        found, same = sampler.map(Tensor.bfloat16).call(), sampler.call()
    assert found.dtype == torch.float32
    assert torch.equal(same, exact)


def test_other_dtypes_by_plain_torch():
    sampler = DiffusionSampler.random(noise=0.3)
    assert_close(sampler.map(Tensor.bfloat16).call(), sampler.call(), 0.05)


WRONG = {
    "half precision of one": ({"x": lambda x: x.half()}, "x: expected float32 or float64, got H"),
    "a row alone": ({"x": lambda x: x[0]}, r"x: expected shape \[rows, features\], got"),
    "no features": ({"x": lambda x: x[:, :0]}, "x: expected shape .* at least one column"),
    "no condition": (
        {"condition": lambda c: None},
        r"weights\[0\]: expected shape \[8, 3\], got \[8, 5\]; the inputs are the columns of x",
    ),
    "a condition of other rows": (
        {"condition": lambda c: c[1:]},
        r"condition: expected shape \[5, 2\], got \[4, 2\]; it must have a row for each of x",
    ),
    "guidance that is none": ({"guidance": lambda w: math.nan}, "guidance: expected a finite"),
    "guidance to nothing": (
        {"guidance": lambda w: 1.0, "condition": lambda c: None},
        "guidance: expected 0 where there is no condition, got 1",
    ),
    "other outputs": (
        {"weights": lambda w: w[:2], "biases": lambda b: b[:2]},
        r"weights\[1\]: expected 3 outputs as x has columns, got 7",
    ),
    "a bias missing": ({"biases": lambda b: b[1:]}, "biases: expected 3 as there are weights"),
    "a short bias": (
        {"biases": lambda b: [b[0][1:], *b[1:]]}, r"biases\[0\]: expected shape \[8\], got \[7\]",
    ),
    "an unknown activation": ({"activation": lambda a: "swish"}, "activation: expected one of"),
    "coefficients of no value": (
        {"coefficients": lambda a: a[:, :2]},
        r"coefficients: expected shape \[steps, 2 \+ K\] with K >= 1, got \[4, 2\]",
    ),
    "coefficients in float32": (
        {"coefficients": lambda a: a.float()}, "coefficients: expected Double like x, got Float",
    ),
    "a shift too few": (
        {"shifts": lambda s: s[1:]}, r"shifts: expected shape \[4, 8\], got \[3, 8\]; a row for",
    ),
    "shifts of another layer": ({"shifts": lambda s: s[:, 1:]}, r"shifts: expected shape \[4, 8\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    changes, text = WRONG[case]
    sampler = DiffusionSampler.random(condition=2)
    sampler = replace(sampler, **{name: f(getattr(sampler, name)) for name, f in changes.items()})
    with pytest.raises(ValueError, match=f"diffusion_sampler: {text}"):
        sampler.call()


@pytest.mark.parametrize("seed", [SEED.int(), SEED.expand(2)])
def test_wrong_seeds(seed):
    with pytest.raises(ValueError, match="diffusion_sampler: seed: expected one int64, got"):
        DiffusionSampler.random().call(seed=seed)
