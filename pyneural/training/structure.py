"""The layers of a model: whether their weights are made and are trained, and those in a chain."""

from collections.abc import Iterable, Iterator

from torch import nn


def has_weights(model: nn.Module) -> bool:
    """Whether all weights are made, those of torch's lazy layers and of ``pyneural.layers``."""
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        return False
    return all(getattr(layer, "built", True) for layer in model.modules())


def made_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters without what stands for those that ``pyneural.layers`` will make."""
    return (p for p in model.parameters() if nn.parameter.is_lazy(p) or p.numel())


def freeze(model: nn.Module, requires_grad: bool = True) -> None:
    """Whether the parameters are trained, those that are still to be made included.

    >>> from pyneural import layers
    >>> model = nn.Sequential(layers.Dense(3))
    >>> freeze(model, False)
    >>> _ = model[0].build((2,))
    >>> [parameter.requires_grad for parameter in model.parameters()]
    [False, False]
    """
    for layer in model.modules():
        if hasattr(layer, "later_requires_grad"):
            layer.later_requires_grad = requires_grad  # type: ignore[assignment]
    for parameter in model.parameters():
        parameter.requires_grad = requires_grad  # the method refuses those of torch's lazy layers


def apply_trainable(model: nn.Module) -> None:
    """Honours Keras's ``layer.trainable = False`` for layers of torch, where it is an attribute.

    That of ``Trainable`` and of ``pyneural.layers`` acts at once.
    """
    for layer in model.modules():
        flag, frozen = vars(layer).get("trainable"), vars(layer).get("_frozen", False)
        if isinstance(flag, bool) and flag == frozen:  # changed since it was last looked at
            freeze(layer, flag)
            layer._frozen = not flag  # type: ignore[assignment]


def unchained(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Layers, with those of a ``Model`` or torch's Sequential among them in its place."""
    flat: list[nn.Module] = []
    for layer in layers:
        for inner in layer.chain() if hasattr(layer, "chain") else [layer]:  # type: ignore
            flat += unchained(inner) if isinstance(inner, nn.Sequential) else [inner]
    return flat
