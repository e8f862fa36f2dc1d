"""The randomisation test: whether an explanation depends on what the network has learned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_argument, wholes
from pyneural.interpret.arguments import Inputs, Target, as_inputs, check_model, short
from pyneural.interpret.layers import layers_top_down, randomise_
from pyneural.interpret.ranks import rank_correlation
from pyneural.interpret.scores import Score, cuda_devices, left_as_found
from pyneural.progress import progress

# Of a model, inputs and targets: the attributions [N, ...], or several such tensors.
Method = Callable[[torch.nn.Module, Any, Target], Any]


class RandomizationTest(NamedTuple):
    """Rank correlations of attributions with those of the same network, partly randomised."""

    layers: tuple[str, ...]  # from the output down
    signed: Tensor  # with this layer and all before it randomised, [repeats, layers, N]
    magnitude: Tensor  # of the magnitudes, the same shape

    @property
    def remaining(self) -> float:
        """The correlation that is left with all layers randomised.

            remaining = max(|mean signed|, |mean magnitude|),  means over repeats and samples

        About 0 for attributions that depend on the weights, 1 for those that do not; below 0.2 for
        the methods that ``interpret`` recommends.
        """
        means = (part[:, -1].mean().abs() for part in (self.signed, self.magnitude))
        return float(max(means))


def randomization_test(
    model: torch.nn.Module,
    method: Method,
    x: Inputs,
    target: Target = None,
    *,
    repeats: int = 5,
    seed: int = 0,
) -> RandomizationTest:
    """Compares attributions with those of the network with random weights.

        rho_l = rank correlation of a(x; theta) and a(x; theta with layers L, L-1 .. l random)

    From the layer at the output down, one after the other is given new weights, as its
    ``reset_parameters`` draws them (parameters without one from a normal distribution with the same
    root mean square; buffers stay). An explanation that still looks the same does not explain the
    network: it shows the input. Most pictures that look plausible, and some methods, fail.

    Args:
        model: any module; copies of it are randomised.
        method: called as ``method(model, x, target)``, with x as it is given here; bind other
            arguments with ``functools.partial``.
        x: as of ``saliency``.
        target: as of ``saliency``.
        repeats: how often the network is randomised. A sample with few elements has few ranks and
            needs many: for D elements, the spread of rho is about 1 / sqrt(D - 1).
        seed: of the random weights.

    Returns:
        layers, ``signed`` and ``magnitude``; ``remaining`` is their summary. Where all attributions
        of the randomised network are the same, the correlation is 0; magnitudes that are the same
        from the beginning have none either.

    Raises:
        ArgumentError: as of ``saliency``; a model without parameters or that cannot be copied,
            attributions that are no floats, not finite, or equal for all elements of a sample.

    Source: Adebayo et al., arXiv:1810.03292 (2018).

    >>> from pyneural.interpret import saliency
    >>> layers = torch.nn.Linear(100, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
    >>> test = randomization_test(torch.nn.Sequential(*layers), saliency, torch.randn(50, 100))
    >>> test.layers, test.signed.shape
    (('2', '0'), torch.Size([5, 2, 50]))
    >>> test.remaining < 0.2
    True
    """
    where = "randomization_test"
    check_model(where, model)
    xs = as_inputs(where, x)
    repeats, seed = wholes(where, repeats=repeats, seed=seed)
    check_argument(repeats >= 1, f"{where}: repeats", "a whole number >= 1", repeats, "write 5")
    devices = cuda_devices(model)
    with torch.inference_mode(False), torch.random.fork_rng(devices=devices):
        names = _names(model, xs, target)
        check_argument(len(names) > 0, f"{where}: model", "one with parameters", "none")
        trained = _attributions(method, _copy(model), x, target, len(xs[0]))
        good = not bool((trained == trained[:, :1]).all(1).any())
        expected, got = "attributions that differ between the elements of a sample", "equal ones"
        check_argument(good, f"{where}: method", expected, got, "there is nothing to compare")
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        rows = []
        for _ in progress(where, range(repeats)):
            network = _copy(model)
            for name in names:
                randomise_(network.get_submodule(name))
                found = _attributions(method, network, x, target, len(xs[0]))
                pairs = (trained, found), (trained.abs(), found.abs())
                rows.append(torch.stack([rank_correlation(*pair).nan_to_num(0) for pair in pairs]))
    found = torch.stack(rows).unflatten(0, (repeats, len(names)))  # [repeats, layers, 2, N]
    shown = tuple(name or type(model).__name__ for name in names)
    return RandomizationTest(shown, found[:, :, 0], found[:, :, 1])


def _names(model: torch.nn.Module, xs: tuple[Tensor, ...], target: Target) -> list[str]:
    """Layers from the output down, by a copy all of whose parameters take part in the graph."""
    network = _copy(model)
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    with left_as_found(network, *xs):
        values = Score("randomization_test", network, target, len(xs[0]))(xs)
        return [name for name, _ in layers_top_down(network, values)]


def _copy(model: torch.nn.Module) -> torch.nn.Module:
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(
            f"randomization_test: model: expected one that copy.deepcopy takes, got {error}; use "
            "torch.nn.utils.parametrizations in the place of old weight_norm or spectral_norm"
        ) from error


def _attributions(
    method: Method, model: torch.nn.Module, x: Inputs, target: Target, count: int
) -> Tensor:
    """The attributions of each sample as a row, [N, D]."""
    where, found = "randomization_test: attributions of the method", method(model, x, target)
    parts = found if isinstance(found, tuple) else (found,)
    for part in parts:
        good = isinstance(part, Tensor) and part.is_floating_point() and part.ndim > 1
        good = good and len(part) == count and bool(part.isfinite().all())
        remedy = "return one attribution for each element of a sample"
        check_argument(good, where, f"finite floats [{count}, ...]", _described(part), remedy)
    return torch.cat([part.detach().flatten(1) for part in parts], 1)


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    finite = "" if bool(value.isfinite().all()) else ", not finite"
    return f"{short(value.dtype)} {list(value.shape)}{finite}"
