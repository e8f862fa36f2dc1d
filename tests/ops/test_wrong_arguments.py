"""Raw calls of every op with one wrong argument: an error of Python's that names it."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tests.fuzz.draw import OPS, Draw
from tests.fuzz.op_calls import CALLS, IN_PLACE

SEEDS = range(4)


def schema(name):
    return getattr(OPS, name).default._schema.arguments


def is_tensor(value):
    return isinstance(value, torch.Tensor)


def spoiled(name, change, takes=is_tensor):
    """Calls with one tensor changed, alone or in its list: the argument's name, and the call."""
    for seed in SEEDS:
        args = CALLS[name](Draw(f"{seed} {name}", sizes=(2, 3, 5)))
        for place, (argument, value) in enumerate(zip(schema(name), args, strict=True)):
            if isinstance(value, list) and value and is_tensor(value[0]):
                changed = [[*value[:-1], change(value[-1])], [change(value[0]), *value[1:]]]
            elif takes(value):
                changed = [change(value)]
            else:
                continue
            for new in changed:
                yield argument, [*args[:place], new, *args[place + 1 :]]


def plain(name, args):
    return getattr(OPS, name)(*args)


def with_gradients(name, args):
    if name not in IN_PLACE:  # in place
        args = tree_map_only(torch.Tensor, leaf, args)
    return plain(name, args)


def leaf(t):
    return t.detach().requires_grad_(t.is_floating_point() or t.is_complex())


def fake(name, args):
    mode = FakeTensorMode()
    with mode:
        return plain(name, tree_map_only(torch.Tensor, mode.from_tensor, args))


MODES = (plain, with_gradients, fake)
for_all_ops = pytest.mark.parametrize("name", CALLS)
in_all_modes = pytest.mark.parametrize("call", MODES, ids=lambda call: call.__name__)


def refused(call, name, args):
    """The error of a call, which is of a type that users catch."""
    with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
        call(name, args)
    assert not isinstance(caught.value, NotImplementedError | AssertionError)
    return str(caught.value)


def named(name, message):
    """The argument that an error is about, by our own text or by torch's of the schema."""
    ours = rf"{name.split('_with')[0]}: (\w+)(?:\[\d+\])?: expected "
    found = re.match(ours, message) or re.search(r"for argument '(\w+)'", message)
    assert found, message
    return found[1]


def skip_in_place(call, name):
    if call is fake and name in IN_PLACE:
        pytest.skip("in place, in plain torch")


@for_all_ops
@in_all_modes
def test_none_in_the_place_of_a_tensor(name, call):
    skip_in_place(call, name)
    for argument, args in spoiled(name, lambda t: None):
        if argument.type.kind() != "OptionalType":
            assert named(name, refused(call, name, args)) == argument.name


def of_no_op(t):
    return t.to(torch.int32 if t.is_floating_point() else torch.float64)


@for_all_ops
@in_all_modes
@pytest.mark.parametrize(
    "change",
    [of_no_op, lambda t: t > 0, lambda t: t.to(torch.complex64)],
    ids=["other kind", "bool", "complex"],
)
def test_a_type_that_no_op_takes(name, call, change):
    skip_in_place(call, name)
    names = [argument.name for argument in schema(name)]
    for argument, args in spoiled(name, change):
        if argument.name == "mask" and args[names.index("mask")].dtype != torch.complex64:
            continue  # of bool, or of numbers that q may be of
        if argument.name == "saved" and "linear" in args:
            continue  # which is not read
        assert named(name, refused(call, name, args)) == argument.name


@for_all_ops
@in_all_modes
def test_another_precision_than_the_others(name, call):
    """The error names it, or another argument that is not like it."""
    skip_in_place(call, name)
    if name in ("dropout", "attention_keep"):
        pytest.skip("one tensor of numbers")

    def change(t):
        return t.to(torch.float32 if t.dtype == torch.float64 else torch.float64)

    calls = spoiled(name, change, lambda t: is_tensor(t) and t.is_floating_point())
    calls = [pair for pair in calls if pair[0].name not in ("mask", "saved", "steps")]
    assert calls
    for argument, args in calls:
        message = refused(call, name, args)
        is_like = f" like {argument.name}, got " in message or argument.name == "parameters"
        assert named(name, message) == argument.name or is_like


# An argument to which a leading dimension may be added: x of layers, and one number.
BATCHED = ("x", "seed")
ELEMENTS = ("saved", "steps")  # only their number counts


@for_all_ops
@in_all_modes
def test_one_dimension_more(name, call):
    skip_in_place(call, name)
    for argument, args in spoiled(name, lambda t: t[None]):
        if argument.name in (*BATCHED, *ELEMENTS):
            continue
        message = refused(call, name, args)
        assert message.startswith(f"{name.split('_with')[0]}: ")


@for_all_ops
def test_the_check_itself_sees_each_device(name):
    """Of the CPU and a GPU, the kernel of the GPU runs: its check must find a tensor of the CPU."""
    check = getattr(OPS, f"check_{name}")
    for argument, args in spoiled(name, lambda t: t.to("meta")):
        tensors = [leaf for leaf in tree_leaves(args) if is_tensor(leaf)]
        if len(tensors) == 1 or (argument.name == "saved" and "linear" in args):
            continue
        if (name, argument.name) == ("dropout", "x"):  # the seed is always on the CPU
            continue
        with pytest.raises(ValueError, match=r"expected.* got .*(meta|cpu)"):
            check(*args)
