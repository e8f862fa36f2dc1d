"""The layers of any module from its output down, and their randomisation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import Node


def layers_top_down(model: torch.nn.Module, output: Tensor) -> list[tuple[str, torch.nn.Module]]:
    """Modules that hold parameters themselves, with their names, from the output down.

    The order is that of the autograd graph: a layer is below another if the longest path from the
    output to its nearest parameter is longer. Layers at the same depth, which one kernel computes,
    and those that the output does not depend on follow in the reverse of their registration.

    Args:
        model: the module.
        output: what it gave, with a graph in which its parameters take part.

    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    >>> [name for name, _ in layers_top_down(model, model(torch.ones(1, 2)))]
    ['2', '0']
    """
    depths = _depths(output)
    rows = []
    for number, (name, part) in enumerate(model.named_modules()):
        own = list(part.parameters(recurse=False))
        if own:
            depth = min(depths.get(id(parameter), float("inf")) for parameter in own)
            rows.append((depth, -number, name, part))
    return [(name, part) for _, _, name, part in sorted(rows, key=lambda row: row[:2])]


def _depths(output: Tensor) -> dict[int, int]:
    """Length of the longest path from the output to each leaf of its graph, by the leaf's id."""
    if output.grad_fn is None:
        return {}
    longest: dict[Node, int] = {output.grad_fn: 0}
    leaves = {}
    for node in _topological(output.grad_fn):
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaves[id(leaf)] = longest[node]
        for below, _ in node.next_functions:
            if below is not None:
                longest[below] = max(longest.get(below, 0), longest[node] + 1)
    return leaves


def _topological(root: Node) -> list[Node]:
    """The nodes of a graph, each before those that it leads to."""
    finished: list[Node] = []
    seen = {root}
    stack = [(root, iter(root.next_functions))]
    while stack:  # no recursion: graphs may be deep
        node, below = stack[-1]
        for child, _ in below:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append((child, iter(child.next_functions)))
                break
        else:
            finished.append(node)
            stack.pop()
    return finished[::-1]


@torch.no_grad()
def randomise_(layer: torch.nn.Module) -> None:
    """Draws the parameters that a layer holds itself anew, from torch's generator.

    By its ``reset_parameters``; what that does not exist for or leaves as it is, unless it is
    constant, is drawn from a normal distribution with the same root mean square.

    >>> layer = torch.nn.LayerNorm(2)
    >>> layer.weight.data = torch.tensor([3.0, 4.0])
    >>> randomise_(layer)
    >>> layer.weight.tolist()
    [1.0, 1.0]
    """
    own = list(layer.parameters(recurse=False))
    before = [parameter.detach().clone() for parameter in own]
    reset = getattr(layer, "reset_parameters", None)
    if callable(reset):
        reset()
    for parameter, trained in zip(own, before, strict=True):
        varies = parameter.numel() > 0 and bool((trained != trained.flatten()[0]).any())
        unchanged = bool((parameter == trained).all())
        if unchanged and (varies or not callable(reset)):
            size = trained.abs().square().mean().sqrt()
            parameter.copy_(size * torch.randn_like(parameter))
