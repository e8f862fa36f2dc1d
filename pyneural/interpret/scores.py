"""The explained number of each sample and its gradient, from a model that is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_argument
from pyneural.interpret.arguments import Inputs, Target, check_model, explained

_ELEMENTS = 1 << 20  # of an input tensor in one pass of the model


@contextmanager
def left_as_found(model: torch.nn.Module, *tensors: Tensor) -> Iterator[None]:
    """A model in evaluation mode, with gradients; modes, buffers and generators are put back.

    >>> layer = torch.nn.Dropout()
    >>> with torch.no_grad(), left_as_found(layer):
    ...     print(layer.training, torch.is_grad_enabled())
    False True
    >>> layer.training
    True
    """
    modes = [(part, part.training) for part in model.modules()]
    buffers = [
        (part, name, one, one.detach().clone(), one.is_inference() or one._version)
        for part, _ in modes
        for name, one in part.named_buffers(recurse=False)
    ]
    # cuDNN has no gradients of recurrent layers in evaluation mode; torch's own kernels do.
    is_recurrent = any(isinstance(part, torch.nn.RNNBase) for part, _ in modes)
    cudnn = torch.backends.cudnn.flags(enabled=False) if is_recurrent else nullcontext()
    random = torch.random.fork_rng(devices=cuda_devices(model, *tensors))
    with random, cudnn, torch.inference_mode(False), torch.enable_grad():
        model.eval()
        try:
            yield
        finally:
            model.train(modes[0][1])  # the first is the model; parts made meanwhile follow it
            for part, training in modes:
                part.training = training
            for part, name, one, before, version in buffers:
                if getattr(part, name) is not one:
                    setattr(part, name, one)
                # What is as it was stays, as a pending graph may still need it.
                if one.layout is not torch.strided:  # it cannot be compared, nor shares its data
                    if one.is_inference() or one._version != version:
                        one.copy_(before)
                elif not torch.equal(one, before):
                    one.data.copy_(before)


def cuda_devices(model: torch.nn.Module, *tensors: Tensor) -> list[torch.device]:
    """The GPUs that a model and tensors are on."""
    return list({t.device for t in (*tensors, *model.parameters()) if t.is_cuda})


class Score:
    """The explained number of each sample, as a function of the inputs.

    Args:
        where: name of the method, for errors.
        model: called with the inputs.
        target: which number of its output.
        count: N, the samples. Inputs may have c N rows, c copies of the batch in turn.
    """

    def __init__(self, where: str, model: torch.nn.Module, target: Target, count: int) -> None:
        check_model(where, model)
        self.where, self.model, self.target, self.count = where, model, target, count

    def __call__(self, xs: tuple[Tensor, ...]) -> Tensor:
        """Its values, one a row."""
        times = len(xs[0]) // self.count
        # Copies, because the model may change its input in place.
        output = self.model(*(x.clone() for x in xs))
        return explained(self.where, output, self.target, self.count, times)

    def gradients(self, xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Derivatives of each row's value with respect to that row of each input."""
        return self.with_gradients(xs)[1]

    def with_gradients(self, xs: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Values and gradients."""
        leaves = tuple(x.detach().clone().requires_grad_() for x in xs)
        values = self(leaves)
        found: tuple[Tensor | None, ...] = (None,) * len(xs)
        if values.requires_grad:
            found = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
        pairs = enumerate(found)
        gradients = tuple(self._checked(gradient, number, len(xs)) for number, gradient in pairs)
        return values.detach(), gradients

    def _checked(self, gradient: Tensor | None, number: int, count: int) -> Tensor:
        if gradient is None:
            name = "x" if count == 1 else f"x[{number}]"
            raise ArgumentError(
                f"{self.where}: {name}: expected an input on which the output depends by a "
                "gradient, got one from which it is detached; take torch.no_grad, detach, argmax "
                "or numpy out of the model, or use occlusion"
            )
        remedy = "move away from where the model has no derivative, as sqrt at 0"
        good, got = bool(gradient.isfinite().all()), "NaN or infinity"
        check_argument(good, f"{self.where}: gradient of the model", "finite numbers", got, remedy)
        return gradient


def copies(xs: tuple[Tensor, ...], wanted: int) -> int:
    """How many copies of the batch go through the model at a time, of those wanted.

    >>> copies((torch.zeros(64, 784),), 50)
    20
    """
    return max(1, min(wanted, _ELEMENTS // max(x.numel() for x in xs)))


def repeated(x: Tensor, count: int) -> Tensor:
    """The batch several times in turn, as new memory.

    >>> repeated(torch.tensor([[1.0], [2.0]]), 2).flatten().tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    return x.detach().repeat(count, *[1] * (x.ndim - 1))


def as_given(found: tuple[Tensor, ...], x: Inputs) -> Inputs:
    """One tensor where x is one, else the tuple."""
    return found if isinstance(x, tuple) else found[0]
