"""Parity of a layer with its torch.nn twin, over PyTorch's own inputs for that twin.

A layer's test file makes its cases once and runs every check on each:

    CASES = parity.cases(torch.nn.Linear, nn.Linear)

    @pytest.mark.parametrize("case", CASES, ids=str)
    @pytest.mark.parametrize("check", parity.CHECKS, ids=parity.name)
    def test_parity(check, case):
        check(case)
"""

from __future__ import annotations

import copy
import functools
import pickle
import sys
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrizations
from torch.utils._pytree import tree_leaves, tree_map

from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

try:
    import expecttest  # noqa: F401
except ImportError:  # only torch's own tests, which it loads with its inputs, make use of it
    sys.modules["expecttest"] = SimpleNamespace(TestCase=unittest.TestCase)
from torch.testing._internal.common_modules import module_db

DTYPE = torch.float64


@dataclass(frozen=True)
class Case:
    """One entry of ``module_db``: the two classes, their arguments, and those of forward."""

    twin: type[torch.nn.Module]
    ours: type[torch.nn.Module]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    inputs: tuple[Any, ...]
    input_options: dict[str, Any]
    label: str

    def __str__(self) -> str:
        return self.label

    def make(self, cls: type[torch.nn.Module]) -> torch.nn.Module:
        """A layer of that class, under the seed that all share."""
        torch.manual_seed(0)
        return cls(*self.arguments, **self.options)

    def pair(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Torch's layer and ours."""
        return self.make(self.twin), self.make(self.ours)

    def fresh_inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of forward, floating ones as leaves that require gradients."""

        def fresh(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.detach().clone().requires_grad_(value.is_floating_point())
            return value

        return tree_map(fresh, self.inputs), tree_map(fresh, self.input_options)


def cases(twin: type[torch.nn.Module], ours: type[torch.nn.Module]) -> list[Case]:
    """The cases of a twin, in float64 and training mode."""
    (info,) = [info for info in module_db if info.module_cls is twin]
    found = []
    entries = info.module_inputs_func(
        info, device="cpu", dtype=DTYPE, requires_grad=True, training=True
    )
    for number, entry in enumerate(entries):
        made, called = entry.constructor_input, entry.forward_input
        options = {**made.kwargs, "dtype": DTYPE}
        label = f"{number}-{entry.desc or 'default'}"
        found.append(Case(twin, ours, made.args, options, called.args, called.kwargs, label))
    return found


def run(call: Callable[..., Any], case: Case) -> tuple[list[Tensor], list[Tensor]]:
    """Floating leaves of the inputs, and of the output, of one call under one seed."""
    inputs, options = case.fresh_inputs()
    torch.manual_seed(1)
    outputs = call(*inputs, **options)
    return floating((inputs, options)), floating(outputs)


def floating(tree: Any) -> list[Tensor]:
    """All floating tensors of a nested structure."""
    leaves = tree_leaves(tree)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]


def same(ours: list[Tensor], theirs: list[Tensor], limit: float = FLOAT64) -> None:
    """Fails unless as many tensors are as close as that."""
    for mine, yours in zip(ours, theirs, strict=True):
        assert_close(mine, yours, limit)


def gradients(module: torch.nn.Module, case: Case, order: int) -> list[Tensor]:
    """Gradients of a scalar of the output for inputs and parameters; for order 2 of these."""
    leaves, outputs = run(module, case)
    leaves = [*leaves, *module.parameters()]
    scalar = weighted(outputs)
    for _ in range(order):
        grads = torch.autograd.grad(
            scalar, leaves, create_graph=True, allow_unused=True, materialize_grads=True
        )
        scalar = weighted([*outputs, *grads])
    return list(grads)


def weighted(tensors: list[Tensor]) -> Tensor:
    """A scalar that every element enters with its own weight, and nonlinearly."""
    total = torch.zeros((), dtype=DTYPE)
    for tensor in tensors:
        weights = torch.linspace(0.5, 1.5, tensor.numel(), dtype=DTYPE).view_as(tensor)
        total = total + (weights * torch.sin(tensor)).sum()
    return total


def check_values(case: Case) -> None:
    twin, ours = case.pair()
    same(run(ours, case)[1], run(twin, case)[1])


def check_gradients(case: Case) -> None:
    twin, ours = case.pair()
    same(gradients(ours, case, 1), gradients(twin, case, 1), FLOAT64_GRADIENT)


def check_second_gradients(case: Case) -> None:
    twin, ours = case.pair()
    same(gradients(ours, case, 2), gradients(twin, case, 2), FLOAT64_GRADIENT)


def check_initialisation(case: Case) -> None:
    twin, ours = case.pair()
    assert list(twin.state_dict()) == list(ours.state_dict())
    for mine, yours in zip(ours.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(mine, yours)
    assert issubclass(case.ours, case.twin)


def check_state_moves_both_ways(case: Case) -> None:
    for source, target in (case.pair(), reversed(case.pair())):
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(0.25)
        target.load_state_dict(source.state_dict())
        same(run(target, case)[1], run(source, case)[1])


def check_weight_norm(case: Case) -> None:
    twin, ours = case.pair()
    names = [name for name, parameter in twin.named_parameters() if parameter.dim() == 2]
    for module in (twin, ours):
        for name in names:
            owner, _, leaf = name.rpartition(".")
            parametrizations.weight_norm(module.get_submodule(owner), leaf)
    assert list(twin.state_dict()) == list(ours.state_dict())
    same(gradients(ours, case, 1), gradients(twin, case, 1), FLOAT64_GRADIENT)


def check_functional_call(case: Case) -> None:
    twin, ours = case.pair()
    # Halves: gates stay near the middle, where a tolerance relative to the result means something.
    other = {name: 0.5 * value for name, value in ours.state_dict().items()}

    def call(module: torch.nn.Module) -> list[Tensor]:
        def by_other(*inputs: Any, **options: Any) -> Any:
            return torch.func.functional_call(module, other, inputs, options)

        return run(by_other, case)[1]

    same(call(ours), call(twin))


def check_hooks(case: Case) -> None:
    twin, ours = case.pair()
    seen: list[str] = []

    def double(module: Any, inputs: Any, output: Any) -> Any:
        seen.append("forward")
        return tree_map(lambda leaf: 2 * leaf if isinstance(leaf, Tensor) else leaf, output)

    for module in (twin, ours):
        module.register_forward_pre_hook(lambda *_: seen.append("before"))
        module.register_forward_hook(double)
        module.register_full_backward_hook(lambda *_: seen.append("backward"))
    same(gradients(ours, case, 1), gradients(twin, case, 1), FLOAT64_GRADIENT)
    assert seen == ["before", "forward", "backward"] * 2


def check_copies(case: Case) -> None:
    ours = case.make(case.ours)
    expected = run(ours, case)[1]
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(copied) is type(ours)
        assert repr(copied) == repr(ours)
        same(run(copied, case)[1], expected)


def check_vmap(case: Case) -> None:
    """Gradients of two sets of parameters at once are those of each."""
    twin, ours = case.pair()
    parameters = {name: torch.stack([p, p + 0.5]) for name, p in ours.named_parameters()}
    inputs, options = case.fresh_inputs()

    def call(module: torch.nn.Module) -> list[Tensor]:
        def loss(values: dict[str, Tensor]) -> Tensor:
            output = torch.func.functional_call(module, values, inputs, options)
            return weighted(floating(output))

        return floating(torch.func.vmap(torch.func.grad(loss))(parameters))

    same(call(ours), call(twin), FLOAT64_GRADIENT)


CHECKS = (
    check_values,
    check_gradients,
    check_second_gradients,
    check_initialisation,
    check_state_moves_both_ways,
    check_weight_norm,
    check_functional_call,
    check_hooks,
    check_copies,
    check_vmap,
)


def check_compile(case: Case) -> None:
    """In one graph; apart from CHECKS, as it takes seconds."""
    twin, ours = case.pair()
    torch.compiler.reset()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    same(run(compiled, case)[1], run(twin, case)[1])
    same(gradients(compiled, case, 1), gradients(twin, case, 1), FLOAT64_GRADIENT)


def check_distributed(case: Case, rendezvous: str) -> None:
    """Under DistributedDataParallel, one gloo process, gradients are those of the bare layer."""
    twin, ours = case.pair()
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(ours)
        for module in (wrapped, twin):
            weighted(run(module, case)[1]).backward()
    finally:
        torch.distributed.destroy_process_group()
    grads = functools.partial(map, lambda parameter: parameter.grad)
    same([*grads(ours.parameters())], [*grads(twin.parameters())], FLOAT64_GRADIENT)


def name(check: Callable[..., None]) -> str:
    """Of a check, for pytest."""
    return check.__name__.removeprefix("check_")
