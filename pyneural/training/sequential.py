"""Layers one after the other, as Keras writes them."""

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pyneural.nn import MLP, MaskedLinear
from pyneural.nn.sequential import run_layers
from pyneural.training.checks import check
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.model import Model
from pyneural.training.state import file as files
from pyneural.training.state.file import CheckpointError
from pyneural.training.structure import apply_trainable, has_weights, made_parameters, unchained
from pyneural.training.summary import ParameterCount, count_parameters

Shape = tuple[int, ...]


class Sequential(Model):
    """A chain of layers: y = f_L(... f_2(f_1(x))).

    Layers are torch modules, or lazily shaped ones that have ``build(input_shape)``, which makes
    the weights and gives back the output's shape, both without the batch. They are built as soon as
    the shape of the input is known: from the ``input_shape`` of the first layer, else from the data
    that ``fit`` or ``predict`` is given. The ``state_dict`` has the keys of torch's Sequential.

    Args:
        layers: in their order; more may be added.

    >>> model = Sequential()
    >>> model.add(nn.Linear(3, 4))
    >>> model.add(nn.ReLU())
    >>> model.add(nn.Linear(4, 1))
    >>> model(torch.zeros(2, 3)).shape
    torch.Size([2, 1])
    """

    def __init__(self, layers: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.input_shape: Shape | None = None
        # Of the layers that are built; None where the output is no tensor, as an LSTM's of torch.
        self.output_shapes: list[Shape | None] = []
        for layer in layers:
            self.add(layer)

    def add(self, layer: nn.Module) -> None:
        """Adds a layer at the end; ValueError where it does not take what the one before gives."""
        good, got = isinstance(layer, nn.Module), repr(layer)
        remedy = "write layers.Dense(64) or torch.nn.Linear(32, 64)"
        check(good, "Sequential.add: layer", "a torch module", got, remedy, TypeError)
        self.add_module(str(len(self)), layer)
        if len(self) == 1:
            given = getattr(layer, "input_shape", None)
            if given is not None:
                self.input_shape = tuple(given)
            elif isinstance(layer, (nn.Linear, MaskedLinear, MLP)) and has_weights(layer):
                self.input_shape = (layer.in_features,)
        self._build()

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> nn.Module:
        return self.layers[index]

    def __setitem__(self, index: int, layer: nn.Module) -> None:
        setattr(self, str(range(len(self))[index]), layer)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name.isdecimal():  # another layer there: its output, and so all behind, may differ
            del self.output_shapes[int(name) :]
            self._build()

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """The layers in their order; one that is used twice stands there twice.

        To replace one, write ``model[index] = layer``.
        """
        return tuple(layer for layer in self._modules.values() if layer is not None)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last layer; runs of linear layers go to ``ops.mlp``."""
        if len(self.output_shapes) < len(self):
            self.build(x)
        return run_layers(list(self.layers), x)

    def build(self, x: Tensor) -> None:
        """Builds the layers for samples like these, [N, ...]; ValueError if there is no layer."""
        check(len(self) > 0, "Sequential", "at least one layer", "none", "add(layer)")
        if self.input_shape is None:
            self.input_shape = tuple(x.shape[1:])
        self._build(x)

    def count(self) -> ParameterCount:
        """The parameters and output shape of each layer."""
        built, got = len(self.output_shapes) == len(self), "some that wait for their input's shape"
        remedy = "give the first layer an input_shape, or call fit"
        check(built, "summary", "built layers", got, remedy)
        apply_trainable(self)
        return count_parameters(self, self.output_shapes)

    def chain(self) -> list[nn.Module]:
        """The layers."""
        return unchained(self.layers)

    def architecture(self) -> dict[str, Any]:
        """The layers in JSON's types, for ``load_model``."""
        shape = None if self.input_shape is None else list(self.input_shape)
        return {"input_shape": shape, "layers": [files.describe(layer) for layer in self.layers]}

    def _has_weights(self) -> bool:
        return len(self.output_shapes) == len(self) > 0 and super()._has_weights()

    def _build(self, like: Tensor | None = None) -> None:
        """Builds the layers that are not, if the shape of the input is known."""
        if self.input_shape is None:
            return
        for index in range(len(self.output_shapes), len(self)):
            shape = self.output_shapes[-1] if self.output_shapes else self.input_shape
            self.output_shapes.append(self._build_layer(index, shape, like))

    def _build_layer(self, index: int, shape: Shape | None, like: Tensor | None) -> Shape | None:
        layer = self[index]
        if shape is None:
            with evaluation_mode(self):
                return _shape(layer(self._sample(index)))
        if callable(getattr(layer, "build", None)) and not isinstance(layer, Model):
            return tuple(layer.build(shape))  # type: ignore[operator]
        try:
            with evaluation_mode(layer):
                return _shape(layer(self._zeros(layer, shape)))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"Sequential: layer {index} ({type(layer).__name__}): expected an input that it "
                f"takes, got shape {shape} ({str(error).splitlines()[0]}); correct its sizes"
            ) from error

    def _zeros(self, layer: nn.Module, shape: Shape) -> Tensor:
        where = next(made_parameters(self), torch.zeros(()))
        whole = isinstance(layer, (nn.Embedding, nn.EmbeddingBag))
        dtype = torch.int64 if whole else where.dtype
        return torch.zeros(1, *shape, dtype=dtype, device=where.device)

    def _sample(self, index: int) -> Any:
        """What a layer is given for a sample of zeros."""
        value: Any = self._zeros(self[0], self.input_shape or ())
        for layer in self.layers[:index]:
            value = layer(value)
        return value


def _shape(output: Any) -> Shape | None:
    return tuple(output.shape[1:]) if isinstance(output, Tensor) else None


def load_model(path: str | os.PathLike[str]) -> Any:
    """The ``Sequential``, flow or variational autoencoder of a file of ``save``, not compiled.

    Only layers of torch.nn and of pyneural are made from a file, and nothing before its weights are
    found to fit. A file of another model, or of one with other parts, is a CheckpointError.

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> model = Sequential([nn.Linear(3, 4), nn.Tanh()])
    >>> model.save(path)
    >>> torch.equal(load_model(path)[0].weight, model[0].weight)
    True
    """
    tensors, config = files.read_model(path)
    got, remedy = f"another model in {os.fspath(path)!r}", "make the model and use its load()"
    if config is None:
        expected = "a saved Sequential, flow or variational autoencoder of layers"
        raise CheckpointError(f"load_model: expected {expected}, got {got}; {remedy}")
    where, what = f"load_model: {os.fspath(path)!r}", "the description of its layers"
    remedy = "make the model yourself and use its load()"
    with (
        files.refused_as_checkpoint(where, what, remedy),
        torch.random.fork_rng(devices=[]),  # the weights come from the file
    ):
        model: Any
        if "class" in config:  # of a model that describes itself
            files.check_weights(_on_meta(config), tensors, path)  # before memory is taken
            model = files.rebuild(config)
        else:
            plan = _planned(config)
            files.check_weights(plan, tensors, path)
            model = _made(config, plan)
    for name, value in tensors.items():
        own = model.state_dict().get(name)
        if own is not None and own.is_floating_point() and own.dtype != value.dtype:
            model.to(value.dtype)
            break
    files.tie(model, tensors)
    model.load_state_dict(tensors)
    return model


def _planned(config: dict[str, Any]) -> Sequential:
    """The model on meta: shapes without memory."""
    model = Sequential()
    if config["input_shape"] is not None:
        model.input_shape = tuple(config["input_shape"])
    for description in config["layers"]:
        layer = _on_meta(description)
        with torch.device("meta"):
            model.add(layer)
    return model


def _on_meta(description: dict[str, Any]) -> nn.Module:
    try:
        with torch.device("meta"):
            return files.rebuild(description)
    except RuntimeError:  # its constructor reads values
        return files.rebuild(description).to("meta")


def _made(config: dict[str, Any], plan: Sequential) -> Sequential:
    """The model with memory of its own; no layer is run, as the plan has the shapes."""
    model = Sequential()
    model.input_shape, model.output_shapes = plan.input_shape, list(plan.output_shapes)
    shapes = [plan.input_shape, *plan.output_shapes]
    for index, description in enumerate(config["layers"]):
        layer = files.rebuild(description)
        if index < len(plan.output_shapes) and callable(getattr(layer, "build", None)):
            layer.build(shapes[index])  # type: ignore[operator]
        model.add(layer)
    return model
