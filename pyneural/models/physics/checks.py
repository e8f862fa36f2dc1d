"""What a PINN refuses before training: parts that do not fit together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.nn import Joined, PeriodicEmbedding, Scaled
from pyneural.ops.jet.derivatives import partials_of
from pyneural.pde import Condition, Domain, Equation, Hard, Operator
from pyneural.pde.coordinates import check_names
from pyneural.pde.network import check_inputs
from pyneural.pde.unknowns import leaves
from pyneural.training.checks import check

_Bounds = tuple[float, float]

RESIDUAL = "residual"  # name of the equation's term


def check_conditions(conditions: Mapping[str, Condition], built_in: bool) -> None:
    """ValueError unless they are conditions under good names, and some if none are built in."""
    remedy = 'write {"start": pde.Initial(...)}'
    expected, got = "a dict of conditions by name", type(conditions).__name__
    named = isinstance(conditions, (Mapping, torch.nn.ModuleDict))  # or those of another PINN
    check(named, "PINN: conditions", expected, got, remedy)
    check(
        bool(conditions) or built_in, "PINN: conditions", "at least one", "none",
        "without them the solution is not determined: give initial and boundary conditions, "
        "or a pde.Hard network",
    )  # fmt: skip
    for name, condition in conditions.items():
        check(
            name != RESIDUAL and isinstance(condition, Condition), f"PINN: conditions[{name!r}]",
            f"a pde.Condition under a name other than {RESIDUAL!r}", type(condition).__name__,
            "rename it or make it one",
        )  # fmt: skip
        good = (
            isinstance(name, str) and "." not in name and not hasattr(torch.nn.ModuleDict(), name)
        )
        expected = "a name without dots that torch.nn.ModuleDict has no attribute of"
        check(good, f"PINN: conditions[{name!r}]", expected, repr(name), "rename it")


def check_network_and_equation(network: Any, equation: Any) -> None:
    """ValueError unless they are a module with parameters, and an equation or None."""
    kind = f"the class {network.__name__}" if isinstance(network, type) else type(network).__name__
    is_module = isinstance(network, torch.nn.Module)
    remedy = "give nn.MLP(...), or any torch.nn.Module of the coordinates"
    check(is_module, "PINN: network", "a torch.nn.Module", kind, remedy)
    has_some, got = any(True for _ in network.parameters()), f"{kind} without any"
    check(has_some, "PINN: network", "one with parameters to learn", got, remedy)
    good, got, remedy = isinstance(equation, Equation), type(equation).__name__, "subclass it"
    if isinstance(equation, type):
        got, remedy = f"the class {equation.__name__}", f"write {equation.__name__}()"
    expected = "a pde.Equation or None"
    check(equation is None or good, "PINN: equation", expected, got, remedy)


def check_points(points: Tensor, argument: str, domain: Domain, like: Tensor) -> None:
    """ValueError unless points are in the domain, of dtype and device of a network's parameter."""
    for what in ("dtype", "device"):
        wanted, got = getattr(like, what), getattr(points, what)
        remedy = f"give {what}={wanted} where the points are made"
        check(wanted == got, f"PINN: {argument}", f"{what} {wanted} like the network", got, remedy)
    domain.check(points, argument, "PINN")


def check_inputs_agree(
    network: Any, conditions: Mapping[str, Condition], equation: Equation | None, domain: Domain
) -> None:
    """ValueError unless the columns mean the same in all parts, as far as these name them."""
    names, owner = domain.names, "the domain"
    if equation is not None:
        check_names("PINN: equation", names, equation.inputs, owner)
        _check_parameters(equation, domain)
    for name, condition in conditions.items():
        if condition.inputs is not None:
            check_names(f"PINN: conditions[{name!r}]", names, condition.inputs, owner)
    check_inputs("PINN", network, names, owner)
    _check_outputs(conditions, equation)
    _check_periods(network, domain)
    ours = list(zip(domain.low.tolist(), domain.high.tolist(), strict=True))
    _check_ranges(network, ours, list(names))


def _check_outputs(conditions: Mapping[str, Condition], equation: Equation | None) -> None:
    """ValueError where two parts give a name to different columns of the network's output."""
    found = {} if equation is None else {"the equation": tuple(equation.outputs)}
    for name, condition in conditions.items():
        mine = condition.form.outputs if isinstance(condition, Operator) else None
        where = f"conditions[{name!r}]"
        for owner, theirs in found.items():
            both = set(mine or ()) & set(theirs)
            check(
                mine is None or all(mine.index(u) == theirs.index(u) for u in both),
                f"PINN: {where}", f"the outputs {', '.join(theirs)}, as {owner} has",
                ", ".join(mine or ()), "give all parts the same names in the same order",
            )  # fmt: skip
        if mine is not None:
            found[where] = tuple(mine)


def _check_ranges(network: Any, ours: Sequence[_Bounds], names: Sequence[str]) -> None:
    """ValueError where an input_range is that of the inputs in another order.

    Compositions hand the coordinates on to their first part, and ``PeriodicEmbedding`` hands on
    those that are not periodic, and cosines and sines of the others.

    Args:
        network: what gets the inputs.
        ours: their lower and upper bounds.
        names: of the inputs.
    """
    if isinstance(network, Joined):
        for part, columns in zip(network.networks, network.columns, strict=True):
            own = range(len(ours)) if columns is None else columns
            if max(own) < len(ours):
                _check_ranges(part, [ours[c] for c in own], [names[c] for c in own])
        return
    if isinstance(network, torch.nn.Sequential) and len(network):
        first, *others = network
        _check_ranges(first, ours, names)
        if isinstance(first, PeriodicEmbedding) and first.in_features == len(ours) and others:
            kept = first.others.tolist()
            waves = first.out_features - len(kept)
            bounds = [ours[c] for c in kept] + [(-1.0, 1.0)] * waves
            _check_ranges(others[0], bounds, [names[c] for c in kept] + ["waves"] * waves)
        return
    scaled = getattr(network, "input_range", None)
    if scaled is None:
        if isinstance(network, (Hard, Scaled)):
            _check_ranges(network.network, ours, names)
        elif hasattr(network, "embedding"):
            _check_ranges(network.embedding, ours, names)
        return
    low, high = (torch.as_tensor(bound, dtype=torch.float64) for bound in scaled)
    mine = list(zip(*(b.reshape(-1).tolist() for b in (low, high)), strict=True))
    check(
        _near(mine, ours) or not _near(sorted(mine), sorted(ours)), "PINN: network",
        f"input_range {ours}, as the domain has for {', '.join(names)}",
        f"{mine}, the same in another order", "write input_range=domain.range",
    )  # fmt: skip


def _near(some: Sequence[_Bounds], others: Sequence[_Bounds]) -> bool:
    """Whether bounds are the same up to the rounding of float32."""
    if len(some) != len(others):
        return False
    one, other = (torch.tensor(bounds, dtype=torch.float64) for bounds in (some, others))
    return bool(((one - other).abs() <= 1e-6 * other.abs().amax(1, keepdim=True)).all())


def _check_periods(network: Any, domain: Domain) -> None:
    """Warns of a fixed period that a coordinate in space does not have whole numbers of.

    Twice its length is the period of what is odd or even about both ends, where the values there
    are built in.
    """
    modules = network.modules() if isinstance(network, torch.nn.Module) else ()
    for part in modules:
        if not isinstance(part, PeriodicEmbedding) or part.learned:
            continue
        names = getattr(part, "inputs", domain.names if part.in_features == domain.dim else ())
        for column, period in part.periodic():
            name = names[column] if names else ""
            if name not in domain.spatial:
                continue
            d = domain.names.index(name)
            length = float(domain.high[d] - domain.low[d])
            doubled = isinstance(network, Hard) and abs(2 * length / period - 1) <= 1e-4
            if not doubled and abs(length / period - round(length / period)) > 1e-4:
                warnings.warn(
                    f"PINN: network: PeriodicEmbedding: expected periods that fit into the length "
                    f"{length:g} of {name}, got {period:g}: the ends of the domain are no "
                    f"period apart; write {{{name!r}: {length:g}}} where u is to be periodic there",
                    stacklevel=4,
                )


def settle_unknowns(pinn: Any) -> None:
    """Fixes what other networks prescribe; refuses parts that do not fit each other."""
    own = {id(parameter) for parameter in pinn.parameters()}
    with torch.enable_grad():
        for _, condition in pinn.named_conditions():
            used = leaves(condition.target)
            if used and not any(id(tensor) in own for tensor in used):
                condition.fix()
        check_unknowns(pinn.losses(), own)


def check_unknowns(terms: Mapping[str, Tensor], own: set[int]) -> None:
    """ValueError where a term depends on a tensor to learn that is no parameter of the PINN.

    Args:
        terms: the loss terms, with their graphs.
        own: ids of the parameters of the PINN.
    """
    for name, term in terms.items():
        for tensor in leaves(term):
            check(
                id(tensor) in own, f"PINN: {name}", "unknowns that are parameters of the network, "
                "the equation or the conditions", f"a tensor {list(tensor.shape)} that requires a "
                "gradient and would not be learned", "make it an attribute of the equation that is "
                "a torch.nn.Parameter, or call its requires_grad_(False)",
            )  # fmt: skip


def _check_parameters(equation: Equation, domain: Domain) -> None:
    """ValueError unless both know which inputs are parameters of the problem; warns of others."""
    declared, known = set(equation.parameter_inputs), set(domain.parameters)
    check(
        declared == known, "PINN: equation: parameter_inputs", f"{sorted(known)}, as the domain "
        f"{domain} has", f"{sorted(declared)}", "declare the same parameters in the equation "
        "(parameter_inputs) and in the domain (Box(...).with_parameters(...))",
    )  # fmt: skip
    partials = [indices for d in equation.derivatives for indices, _ in partials_of(d)]
    used = {domain.names[index] for indices in partials for index in indices}
    for name in domain.spatial:
        if used and name not in used:
            warnings.warn(
                f"PINN: domain: {name}: the equation has no derivative in it; if it is a parameter "
                f"of the problem, which has no boundary, write Box(...).with_parameters({name}=...)"
                f" and parameter_inputs in the equation",
                stacklevel=4,
            )


def check_pairing(equation: Equation, network: Any, points: Tensor) -> None:
    """ValueError where a residual holds a tensor with a value for each of the drawn points."""
    few = points[: 2 if len(points) != 2 else 1]
    try:
        equation.residuals(network, few)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"PINN: equation: expected a residual for any points, as these are drawn, got one that "
            f"takes {len(points):,} and not {len(few)} of them ({error}); give the points that a "
            "tensor in it belongs to as points=, or make it a function of the inputs"
        ) from error
