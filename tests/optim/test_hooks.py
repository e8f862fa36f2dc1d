"""Hooks of steps, what a profile names, and gradients that are set to nothing."""

from __future__ import annotations

import pytest
import torch
from torch.optim import optimizer as of_all

from pyneural.optim import Adadelta, Adam, AdamW

TORCHS = {
    Adadelta: torch.optim.Adadelta, Adam: torch.optim.Adam, AdamW: torch.optim.AdamW,
}  # fmt: skip
for_each = pytest.mark.parametrize("kind", TORCHS)


@for_each
def test_torchs_step_runs_hooks_once(kind):
    w = torch.ones(3, requires_grad=True)
    TORCHS[kind]([w])  # from now on the class's own step runs hooks
    optimizer = kind([w], maximize=True)
    seen = []
    optimizer.register_step_post_hook(lambda *given: seen.append(given))
    w.grad = torch.ones(3)
    optimizer.step()
    assert len(seen) == 1


@for_each
def test_hooks_of_all_optimizers_and_arguments_that_they_change(kind):
    w = torch.ones(3, requires_grad=True)
    optimizer, seen = kind([w]), []
    handles = [
        of_all.register_optimizer_step_pre_hook(lambda *given: seen.append("before")),
        of_all.register_optimizer_step_post_hook(lambda *given: seen.append("after")),
        optimizer.register_step_pre_hook(lambda *given: ((given[1][0], lambda: 7.0), {})),
    ]
    assert optimizer.step() == 7.0
    assert seen == ["before", "after"]
    for handle in handles:
        handle.remove()
    assert optimizer.step() is None
    assert len(seen) == 2


@for_each
def test_a_profile_names_the_step_and_zero_grad(kind):
    w = torch.ones(3, requires_grad=True)
    optimizer = kind([w])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        w.grad = torch.ones(3)
        optimizer.step()
        optimizer.zero_grad()
    names = {event.key for event in profile.key_averages()}
    assert {f"Optimizer.{one}#{kind.__name__}.{one}" for one in ("step", "zero_grad")} <= names


@for_each
def test_gradients_are_set_to_none_or_zero(kind):
    w, frozen = torch.ones(3, requires_grad=True), torch.ones(2)
    optimizer = kind([w, frozen])
    w.grad = torch.ones(3)
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(w.grad, torch.zeros(3))
    optimizer.zero_grad()
    assert w.grad is None


@for_each
def test_hooks_of_a_subclass_with_a_step_of_its_own_run_once(kind):
    class Own(kind):
        def step(self, closure=None):
            return super().step(closure)

    w = torch.ones(3, requires_grad=True)
    optimizer, seen = Own([w]), []
    optimizer.register_step_pre_hook(lambda *given: seen.append("before"))
    w.grad = torch.ones(3)
    optimizer.step()
    assert seen == ["before"]
