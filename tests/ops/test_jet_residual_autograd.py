"""Residuals, their Jacobian and its Gram matrix under every way to differentiate and to trace."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.library import opcheck

from pyneural import ops
from pyneural.ops import Laplacian, record_residual
from pyneural.ops.jet.derivatives import encode
from tests.ops.jet_oracle import forward_jet, nested_jet, residual_jacobian, residual_values
from tests.ops.networks import Network
from tests.ops.test_jet_autograd import BATCHED, TRANSFORMS, assert_same
from tests.tolerances import FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

DERIVATIVES = [(0,), (1, 1), Laplacian(0, 1)]
OF_A_JET = " of a jet"
NAMES = ("residual", "residual_jacobian", "gram")
SUBJECTS = (*NAMES, f"residual{OF_A_JET}", f"gram{OF_A_JET}")


def residual(jet, x, c, r):
    return jet[0, 0] * jet[1, 1] - c[0] * jet[2, 0] * r[1], jet[3, 1] * r[0] * c[1]


PROGRAM = record_residual(residual)


class Subject:
    """One op, and what it must equal, as functions of x, weights, biases, coefficients, columns."""

    def __init__(self, name, device, widths=(2, 4, 3, 2), points=3, dtype=torch.float64):
        self.name = name.removesuffix(OF_A_JET)
        network = Network.random(widths, points, dtype, device)
        self.layers = len(network.weights)
        generator = torch.Generator().manual_seed(3)

        def normal(*shape):
            drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return drawn.to(device, dtype)

        self.tensors = [*network.tensors, normal(2), normal(2, points)]
        if name.endswith(OF_A_JET):
            self.tensors[0] = normal(1 + len(ops.input_channels(DERIVATIVES)), points, widths[0])

    def arguments(self, x, tensors, program):
        network = x, tensors[: self.layers], tensors[self.layers : 2 * self.layers]
        return *network, "tanh", DERIVATIVES, program, *tensors[2 * self.layers :]

    def op(self, x, *tensors):
        return getattr(ops, f"jet_mlp_{self.name}")(*self.arguments(x, tensors, PROGRAM))

    def exact(self, x, *tensors):
        """By nested forward mode, which shares nothing with Taylor mode."""
        arguments = self.arguments(x, tensors, residual)
        if self.name == "residual":
            return residual_values(residual, forward_jet(*arguments[:5]), x, *arguments[6:])
        r, transposed = residual_jacobian(*arguments)
        if self.name == "residual_jacobian":
            return r, transposed
        flat, points = transposed.flatten(1), r.shape[1]
        return r.square().sum() / points, flat @ r.flatten() / points, flat @ flat.T / points

    def leaves(self):
        return [tensor.clone().requires_grad_() for tensor in self.tensors]


@pytest.fixture(params=SUBJECTS)
def subject(request, device):
    return Subject(request.param, device)


def joined(function):
    """A function of the same arguments whose results are one tensor."""

    def flat(*tensors):
        results = function(*tensors)
        several = results if isinstance(results, tuple) else (results,)
        return torch.cat([result.flatten() for result in several])

    return flat


@pytest.mark.parametrize("points", [1, 16, 131, 500])
@pytest.mark.parametrize("name", ["residual", f"residual{OF_A_JET}"])
def test_the_first_backward(device, name, points):
    """J^T w of every tensor, by the kernel, against nested reverse mode."""
    subject = Subject(name, device, (2, 20, 7, 2), points)
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(2, points, generator=generator, dtype=torch.float64).to(device)

    def gradients(function, tensors):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        found = torch.autograd.grad(function(*leaves), leaves, weight.to(leaves[0].dtype))
        x, *parameters, c, columns = found
        # In one, as a coefficient's may be small only because large terms cancel.
        return x, torch.cat([p.flatten() for p in (*parameters, c)]), columns

    def nested(x, *tensors):
        arguments = subject.arguments(x, tensors, residual)
        return residual_values(residual, torch.stack(nested_jet(*arguments[:5])), x, *arguments[6:])

    exact = gradients(nested, subject.tensors)
    assert_same(gradients(subject.op, subject.tensors), exact)

    single = [tensor.float() for tensor in subject.tensors]
    exact = gradients(subject.exact, [tensor.double() for tensor in single])
    by_torch = gradients(subject.exact, single)
    for triple in zip(gradients(subject.op, single), by_torch, exact, strict=True):
        assert_as_good_as_torch(*triple)


def test_gradients_that_are_wanted(device):
    """Of some tensors alone, and by the kernel."""
    subject = Subject("residual", device, (2, 5, 2), 40)
    leaves = subject.leaves()
    exact = torch.autograd.grad(subject.exact(*leaves).square().sum(), leaves)
    for place in range(len(leaves)):
        tensors = [t if i == place else t.detach() for i, t in enumerate(leaves)]
        value = subject.op(*tensors).square().sum()
        with torch.profiler.profile() as profile:
            (found,) = torch.autograd.grad(value, leaves[place])
        assert_close(found, exact[place], FLOAT64_GRADIENT)
        if device == "cpu":
            names = {event.name for event in profile.events()}
            assert "pyneural::jet_mlp_residual_backward" in names


def test_no_points(device):
    subject = Subject("residual", device, points=0)
    leaves = subject.leaves()
    value = subject.op(*leaves)
    assert value.shape == (2, 0)
    for grad, leaf in zip(torch.autograd.grad(value.sum(), leaves), leaves, strict=True):
        assert torch.equal(grad, torch.zeros_like(leaf))


def test_gradcheck(subject):
    leaves, is_slow = subject.leaves(), subject.name != "residual"
    function = joined(subject.op)
    options = {"check_batched_grad": not is_slow, "fast_mode": is_slow}
    assert gradcheck(function, leaves, check_forward_ad=True, **options)
    if not is_slow:
        assert gradgradcheck(function, leaves, **options)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_torch_func(device, transform):
    for name in ("residual", f"residual{OF_A_JET}"):
        subject = Subject(name, device)
        apply, count = TRANSFORMS[transform], len(subject.tensors)
        found = apply(subject.op, count)(*subject.tensors)
        assert_same(found, apply(subject.exact, count)(*subject.tensors))


@pytest.mark.parametrize("transform", ["grad", "jvp"])
def test_torch_func_of_the_jacobian(device, transform):
    for name in ("residual_jacobian", "gram"):
        subject = Subject(name, device)
        apply, count = TRANSFORMS[transform], len(subject.tensors)
        found = apply(joined(subject.op), count)(*subject.tensors)
        assert_same(found, apply(joined(subject.exact), count)(*subject.tensors))


@pytest.mark.parametrize("batch", BATCHED)
def test_vmap(device, batch):
    for name in SUBJECTS:
        subject = Subject(name, device)
        if subject.name != "residual" and batch.startswith("gradient"):
            continue
        x, *parameters = subject.tensors
        if batch not in ("networks", "gradient of networks"):
            x = torch.stack([x, 2 * x, -x], 1)
        if batch in ("networks", "both", "gradient of networks"):
            parameters = [torch.stack([p, 0.5 * p, 2 * p]) for p in parameters]
        apply, count = BATCHED[batch], len(subject.tensors)
        found = apply(subject.op, count)(x, *parameters)
        assert_same(found, apply(subject.exact, count)(x, *parameters))


def test_dual_tensors(subject):
    tensors = tuple(subject.tensors)
    exact = torch.func.jvp(joined(subject.exact), tensors, tensors)[1]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(tensor, tensor) for tensor in tensors]
        found = forward_ad.unpack_dual(joined(subject.op)(*duals)).tangent
        assert_same(found, exact)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", SUBJECTS)
def test_compile(device, name, dynamic):
    torch._dynamo.reset()
    subject = Subject(name, device)
    compiled = torch.compile(subject.op, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    with torch.no_grad():
        assert_same(compiled(*subject.tensors), subject.exact(*subject.tensors))
    if subject.name != "residual":  # see the next test
        return
    leaves = subject.leaves()
    found, exact = compiled(*leaves).square().sum(), subject.exact(*leaves).square().sum()
    assert_same(torch.autograd.grad(found, leaves), torch.autograd.grad(exact, leaves))


@pytest.mark.parametrize("name", ["residual_jacobian", "gram"])
def test_compile_gradients_of_the_jacobian(device, name):
    """Equal to those without it; small, as tracing derivatives of nested transforms takes long."""
    torch._dynamo.reset()
    network = Network.random((1, 2, 1), 3, device=device)
    program = record_residual(lambda jet, x, c: jet[1, 0] - jet[0, 0] ** 2)
    op = getattr(ops, f"jet_mlp_{name}")

    def total(x, *p):
        results = op(x, p[:2], p[2:], "tanh", [(0,)], program)
        return torch.stack([result.square().sum() for result in results]).sum()

    compiled = torch.compile(total, fullgraph=True, dynamic=True, backend="aot_eager")
    gradients = []
    for function in (compiled, total):
        leaves = network.leaves().tensors
        gradients.append(torch.autograd.grad(function(*leaves), leaves))
    assert_same(*gradients)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", [*SUBJECTS, "residual_backward"])
def test_opcheck(device, name, requires_grad):
    subject = Subject(name, device, (2, 3, 2))
    x, *tensors = subject.leaves() if requires_grad else subject.tensors
    *network, activation, derivatives, program, c, columns = subject.arguments(x, tensors, PROGRAM)
    arguments = *network, activation, *encode("", derivatives), *program, c, columns
    if name == "residual_backward":
        grad = torch.ones(2, 3, device=device, dtype=torch.float64, requires_grad=requires_grad)
        arguments = grad, *arguments, [True, requires_grad, True]
    # The derivatives of the two are nested transforms, which take no symbolic sizes.
    is_static = subject.name in ("residual_jacobian", "gram") and requires_grad
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    tests.append(f"test_aot_dispatch_{'static' if is_static else 'dynamic'}")
    op = getattr(torch.ops.pyneural, f"jet_mlp_{subject.name}").default
    opcheck(op, arguments, test_utils=tests)


def test_autocast_keeps_full_precision(device):
    for name in NAMES:
        subject = Subject(name, device, dtype=torch.float32)
        half = [subject.tensors[0].bfloat16(), *subject.tensors[1:]]
        exact = subject.op(half[0].float(), *half[1:])
        with torch.autocast(device, dtype=torch.bfloat16):
            assert_same(subject.op(*half), exact)


def test_modes_without_gradients(subject):
    exact = subject.exact(*subject.tensors)
    leaves = subject.leaves()
    with torch.inference_mode():
        assert_same(subject.op(*subject.tensors), exact)
    with torch.no_grad():
        found = subject.op(*leaves)
    assert_same(found, exact)
    assert not any(f.requires_grad for f in (found if isinstance(found, tuple) else (found,)))
