"""The jet ops under every way that torch has to differentiate, batch, trace and cast."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.library import opcheck

from pyneural import ops
from pyneural.ops import Laplacian, LinearOperator, record_residual
from pyneural.ops.jet.derivatives import encode
from tests.ops.jet_oracle import forward_jacobian, forward_jet, mean_square
from tests.ops.networks import SMOOTH, Network
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

NAMES = ("jet_mlp", "jet_mlp_jacobian", "jet_mlp_loss")
OF_A_JET = " of a jet"  # of the network's inputs, in the place of points; the loss with columns
SUBJECTS = (*NAMES, f"jet_mlp{OF_A_JET}", f"jet_mlp_loss{OF_A_JET}")
DERIVATIVES = ((0,), (1, 1), Laplacian(0, 1))

IN_2_11 = torch.__version__.startswith("2.11.")
NO_SIZES = "torch 2.11's vmap of a product, the Jacobian's derivative, takes no symbolic sizes"


def residual(jet, x, c):
    return jet[0, 0] * jet[1, 1] - c[0] * jet[2, 0], jet[3, 1] * x[1]


def residual_of_columns(jet, x, c, r):
    return jet[0, 0] * jet[1, 1] - c[0] * jet[2, 0] * r[1], jet[3, 1] * r[0]


PROGRAM, PROGRAM_OF_COLUMNS = map(record_residual, (residual, residual_of_columns))


class Subject:
    """One op, and what it must equal, as functions of flat tensors, x first."""

    def __init__(self, name, device):
        self.name = name.removesuffix(OF_A_JET)
        self.has_jet_x = name.endswith(OF_A_JET)
        # The reference of the Jacobian is nested transforms, slow to trace and to check.
        is_slow = name == "jet_mlp_jacobian"
        widths = (2, 3, 2) if is_slow else (2, 4, 3, 2)
        self.derivatives = DERIVATIVES[1:2] if is_slow else DERIVATIVES
        network = Network.random(widths, 3, device=device)
        self.layers = len(network.weights)
        self.tensors = network.tensors
        generator = torch.Generator().manual_seed(3)

        def normal(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(device)

        if self.has_jet_x:
            channels = 1 + len(ops.input_channels(self.derivatives))
            self.tensors = [normal(channels, 3, 2), *self.tensors[1:]]
        if self.name == "jet_mlp_loss":
            self.tensors = [*self.tensors, torch.tensor([0.7], device=device).double()]
            if self.has_jet_x:
                self.tensors += [normal(2, 3)]

    def parts(self, x, tensors):
        return x, tensors[: self.layers], tensors[self.layers : 2 * self.layers]

    def op(self, x, *tensors):
        parts = self.parts(x, tensors)
        if self.name == "jet_mlp_loss":
            program = PROGRAM_OF_COLUMNS if self.has_jet_x else PROGRAM
            others = tensors[2 * self.layers :]
            return ops.jet_mlp_loss(*parts, "tanh", self.derivatives, program, *others)
        result = getattr(ops, self.name)(*parts, "tanh", self.derivatives)
        return torch.stack(result) if self.name == "jet_mlp" else result

    def exact(self, x, *tensors):
        """By nested forward mode, which shares nothing with Taylor mode."""
        parts = self.parts(x, tensors)
        if self.name == "jet_mlp_jacobian":
            return forward_jacobian(*parts, "tanh", self.derivatives)
        jet = forward_jet(*parts, "tanh", self.derivatives)
        if self.name == "jet_mlp":
            return jet
        function = residual_of_columns if self.has_jet_x else residual
        return mean_square(function, jet, x, *tensors[2 * self.layers :])

    def leaves(self):
        return [tensor.clone().requires_grad_() for tensor in self.tensors]


@pytest.fixture(params=SUBJECTS)
def subject(request, device):
    return Subject(request.param, device)


def assert_same(found, exact):
    found = found if isinstance(found, tuple) else (found,)
    exact = exact if isinstance(exact, tuple) else (exact,)
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, FLOAT64_GRADIENT)


def squared(function):
    return lambda *tensors: function(*tensors).square().sum()


@pytest.mark.parametrize("activation", SMOOTH)
def test_gradcheck(device, activation):
    network = Network.random((2, 4, 3, 2), 3, device=device).leaves()

    def function(*tensors):
        parts = network.of(tensors).parts
        return ops.jet_mlp(*parts, activation, [(0,), (1, 1), (0, 1, 1), (1, 0, 0, 1)])

    assert gradcheck(function, network.tensors, fast_mode=True, check_forward_ad=True)
    assert gradgradcheck(function, network.tensors, fast_mode=True)


def test_gradcheck_in_full(subject):
    leaves, fast = subject.leaves(), subject.name == "jet_mlp_jacobian"
    options = {"check_batched_grad": not fast, "fast_mode": fast}
    assert gradcheck(subject.op, leaves, check_forward_ad=True, **options)
    assert gradgradcheck(subject.op, leaves, **options)


@pytest.mark.parametrize("name", ["jet_mlp_loss", f"jet_mlp_loss{OF_A_JET}"])
def test_gradcheck_of_a_loss_of_parameters(device, name):
    subject = Subject(name, device)
    x, *leaves = subject.leaves()

    def function(*parameters):
        return subject.op(x.detach(), *parameters)

    assert gradcheck(function, leaves, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, leaves, check_batched_grad=True)


TRANSFORMS = {
    "grad": lambda f, n: torch.func.grad(squared(f), tuple(range(n))),
    "grad of parameters": lambda f, n: torch.func.grad(squared(f), tuple(range(1, n))),
    "jvp": lambda f, n: lambda *tensors: torch.func.jvp(f, tensors, tensors),
    "jacrev": lambda f, n: torch.func.jacrev(f, tuple(range(n))),
    "jacfwd": lambda f, n: torch.func.jacfwd(f, (0, 1)),
    "hessian": lambda f, n: torch.func.hessian(squared(f), 1),
    "jacrev twice": lambda f, n: torch.func.jacrev(torch.func.jacrev(squared(f), 1), 2),
    "grad of grad": lambda f, n: torch.func.grad(
        lambda *tensors: torch.func.grad(squared(f), 1)(*tensors).sum()
    ),
    "jvp of grad": lambda f, n: (
        lambda *tensors: torch.func.jvp(torch.func.grad(squared(f), 1), tensors, tensors)
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_torch_func(device, transform):
    for name in SUBJECTS:
        subject = Subject(name, device)
        apply, count = TRANSFORMS[transform], len(subject.tensors)
        found = apply(subject.op, count)(*subject.tensors)
        assert_same(found, apply(subject.exact, count)(*subject.tensors))


BATCHED = {
    "points": lambda f, n: torch.func.vmap(f, (1,) + (None,) * (n - 1)),
    "networks": lambda f, n: torch.func.vmap(f, (None,) + (0,) * (n - 1)),
    "both": lambda f, n: torch.func.vmap(f, (1,) + (0,) * (n - 1)),
    "gradients of points": lambda f, n: torch.func.vmap(
        torch.func.grad(squared(f), tuple(range(n))), (1,) + (None,) * (n - 1)
    ),
    "gradient of networks": lambda f, n: torch.func.grad(
        lambda *t: torch.func.vmap(squared(f), (None,) + (0,) * (n - 1))(*t).sum(),
        tuple(range(1, n)),
    ),
}


@pytest.mark.parametrize("batch", BATCHED)
def test_vmap(device, batch):
    for name in SUBJECTS:
        subject = Subject(name, device)
        x, *parameters = subject.tensors
        if batch not in ("networks", "gradient of networks"):
            x = torch.stack([x, 2 * x, -x], 1)
        if batch in ("networks", "both", "gradient of networks"):
            parameters = [torch.stack([p, 0.5 * p, 2 * p]) for p in parameters]
        apply, count = BATCHED[batch], len(subject.tensors)
        found = apply(subject.op, count)(x, *parameters)
        assert_same(found, apply(subject.exact, count)(x, *parameters))


def test_vmap_over_no_points(device):
    subject = Subject("jet_mlp", device)
    _, *parameters = subject.tensors
    x = torch.zeros(4, 0, 2, dtype=torch.float64, device=device)
    result = torch.func.vmap(lambda points: subject.op(points, *parameters))(x)
    assert result.shape == (4, 4, 0, 2)


def test_dual_tensors(subject):
    exact = torch.func.jvp(subject.exact, tuple(subject.tensors), tuple(subject.tensors))[1]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(tensor, tensor) for tensor in subject.tensors]
        assert_same(forward_ad.unpack_dual(subject.op(*duals)).tangent, exact)


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [
        ("jet_mlp", False),
        ("jet_mlp", True),
        ("jet_mlp_loss", False),
        ("jet_mlp_loss", True),
        (f"jet_mlp{OF_A_JET}", True),
        (f"jet_mlp_loss{OF_A_JET}", False),
        pytest.param("jet_mlp_jacobian", True, marks=pytest.mark.skipif(IN_2_11, reason=NO_SIZES)),
    ],
)
def test_compile(device, name, dynamic):
    torch._dynamo.reset()
    subject = Subject(name, device)
    if name == "jet_mlp_jacobian":
        subject.derivatives = [(1,)]
    compiled = torch.compile(subject.op, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    x, *parameters = subject.leaves()
    several = [x.detach()]
    if not (subject.has_jet_x and name.startswith("jet_mlp_loss")):  # columns fit these points
        several += [torch.cat([x, 2 * x], -2).detach()]
    for points in several:
        exact, found = subject.exact(points, *parameters), compiled(points, *parameters)
        assert_same(found, exact)
        options = {"grad_outputs": torch.ones_like(exact), "materialize_grads": True}
        grads = torch.autograd.grad(found, parameters, **options)
        assert_same(grads, torch.autograd.grad(exact, parameters, **options))
    assert_same(
        torch.autograd.grad(compiled(x, *parameters).sum(), x)[0],
        torch.autograd.grad(subject.exact(x, *parameters).sum(), x)[0],
    )


@pytest.mark.skipif(IN_2_11, reason="torch 2.11 compiles no torch.func over a LinearOperator")
@pytest.mark.parametrize("transform", ["grad", "jvp", "jacrev"])
def test_compile_of_torch_func(device, transform):
    torch._dynamo.reset()
    subject = Subject("jet_mlp", device)
    apply, count = TRANSFORMS[transform], len(subject.tensors)
    compiled = torch.compile(apply(subject.op, count), fullgraph=True, backend="aot_eager")
    assert_same(compiled(*subject.tensors), apply(subject.exact, count)(*subject.tensors))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_with_derivatives_as_arguments(device, dynamic):
    torch._dynamo.reset()
    network = Network.random((4, 5, 2), 6, device=device)

    def function(x, derivatives):
        return torch.stack(ops.jet_mlp(x, network.weights, network.biases, "tanh", derivatives))

    compiled = torch.compile(function, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for derivatives in (
        [(0,), (2, 3)],
        [(3, 2), (1,), (2, 2, 3)],
        [LinearOperator({(2,): 0.5, (3, 3): 2.5})],
        [LinearOperator({(2,): 0.75, (3, 3): 2.5}), Laplacian(2, 3)],
    ):
        assert_close(compiled(network.x, derivatives), function(network.x, derivatives), FLOAT64)


class Exported(torch.nn.Module):
    """All that a subject computes from x."""

    def __init__(self, subject):
        super().__init__()
        self.subject = subject
        self.parts = torch.nn.ParameterList(subject.tensors[1:])

    def forward(self, x):
        return self.subject.op(x, *self.parts)


@pytest.mark.parametrize("name", NAMES)
def test_export(device, name, tmp_path):
    module = Exported(Subject(name, device))
    x = module.subject.tensors[0]
    points = {"x": {0: torch.export.Dim("points", min=2)}}
    with torch.no_grad():
        program = torch.export.export(module, (x,), dynamic_shapes=points)
        torch.export.save(program, tmp_path / "jet.pt2")
        loaded = torch.export.load(tmp_path / "jet.pt2").module()
        for given in (x, torch.cat([x, 2 * x])):
            assert_close(loaded(given), module(given), FLOAT64_GRADIENT)
    op = getattr(torch.ops.pyneural, name).default
    assert any(node.target is op for node in program.graph.nodes)


def test_compile_ahead_of_time(device, tmp_path):
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.jet, self.loss = (Exported(Subject(n, device)) for n in ("jet_mlp", NAMES[2]))

        def forward(self, x):
            return self.jet(x), self.loss(x)

    module = Both()
    x = module.jet.subject.tensors[0]
    with torch.no_grad():
        program = torch.export.export(module, (x,))
        path = str(tmp_path / "jet.pt2")
        compiled = torch._inductor.aoti_compile_and_package(program, package_path=path)
        found = torch._inductor.aoti_load_package(compiled)(x)
        assert_same(tuple(found), module(x))


def test_compile_by_inductor(device):
    torch._dynamo.reset()
    subject = Subject("jet_mlp", device)
    compiled = torch.compile(squared(subject.op), fullgraph=True)
    leaves = subject.leaves()
    found = torch.autograd.grad(compiled(*leaves), leaves)
    assert_same(found, torch.autograd.grad(squared(subject.exact)(*leaves), leaves))


def opcheck_arguments(name, requires_grad, device):
    if name.endswith(OF_A_JET):
        subject = Subject(name, device)
        tensors = subject.leaves() if requires_grad else subject.tensors
        arguments = (
            *subject.parts(tensors[0], tensors[1:]),
            "tanh",
            *encode(name, subject.derivatives),
        )
        if subject.name == "jet_mlp":
            return arguments
        others = tensors[1 + 2 * subject.layers :]
        return *arguments, *PROGRAM_OF_COLUMNS, *others, [requires_grad] * 3
    is_slow = name == "jet_mlp_jacobian"
    network = Network.random((2, 3, 2) if is_slow else (2, 4, 3, 2), 3, device=device)
    network = network.leaves() if requires_grad else network
    derivatives = [(1,)] if is_slow else DERIVATIVES
    arguments = (*network.parts, "tanh", *encode(name, derivatives))
    if name == "jet_mlp_backward":
        grad = torch.ones(4, 3, 2, device=device, dtype=torch.float64, requires_grad=requires_grad)
        return grad, *arguments, [requires_grad, True]
    if name == "jet_mlp_loss":
        coefficients = torch.ones(1, device=device, dtype=torch.float64)
        mask = [requires_grad] * 2 + [False]
        return *arguments, *PROGRAM, coefficients.requires_grad_(requires_grad), None, mask
    return arguments


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", [*SUBJECTS, "jet_mlp_backward"])
def test_opcheck(device, name, requires_grad):
    arguments = opcheck_arguments(name, requires_grad, device)
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    is_static = name == "jet_mlp_jacobian" and IN_2_11
    tests.append(f"test_aot_dispatch_{'static' if is_static else 'dynamic'}")
    op = getattr(torch.ops.pyneural, name.removesuffix(OF_A_JET)).default
    opcheck(op, arguments, test_utils=tests)


def test_autocast_keeps_full_precision(device):
    single = Network.random((2, 4, 3, 2), 3, torch.float32, device).leaves()
    half = single.x.detach().bfloat16()
    exact = ops.jet_mlp(half.float(), single.weights, single.biases, "tanh", DERIVATIVES)
    coefficients = torch.ones(1, device=device, dtype=torch.bfloat16)
    rest = "tanh", DERIVATIVES, PROGRAM
    with torch.autocast(device, dtype=torch.bfloat16):
        found = ops.jet_mlp(half, single.weights, single.biases, "tanh", DERIVATIVES)
        loss = ops.jet_mlp_loss(half, single.weights, single.biases, *rest, coefficients)
        (grad,) = torch.autograd.grad(loss, single.weights[0], create_graph=True)
        second = torch.autograd.grad(grad.sum(), single.weights)
        double = ops.jet_mlp(*Network.random((2, 3, 1), 3, device=device).parts, "tanh", [])
    for a, b in zip(found, exact, strict=True):
        assert torch.equal(a, b)
    assert {loss.dtype, grad.dtype, *(s.dtype for s in second)} == {torch.float32}
    assert double[0].dtype == torch.float64
    found[2].sum().backward()  # outside autocast, as is usual


def test_modes_without_gradients(subject):
    leaves = subject.leaves()
    exact = subject.exact(*subject.tensors)
    with torch.no_grad():
        found = subject.op(*leaves)
    assert not found.requires_grad
    assert_same(found, exact)
    with torch.inference_mode():
        assert_same(subject.op(*leaves), exact)
        assert_same(subject.op(*[leaf.clone() for leaf in leaves]), exact)


def test_no_grad_inside_a_transform(subject):
    def function(*tensors):
        with torch.no_grad():
            value = subject.op(*tensors).sum()
        return value * tensors[0].sum()

    value = subject.exact(*subject.tensors).sum()
    grad = torch.func.grad(function)(*subject.tensors)
    assert_same(grad, value.expand_as(grad))


def test_meta_tensors_have_the_shapes():
    network = Network.random((2, 4, 3), 5).map(lambda tensor: tensor.to("meta"))
    u, u_xx = ops.jet_mlp(*network.parts, "tanh", [(1, 1)])
    assert u.shape == u_xx.shape == (5, 3)
    assert ops.jet_mlp_jacobian(*network.parts, "tanh", [(1, 1)]).shape == (5, 6, 27)
