"""Rules of functions that are made of others: softmax, norms, normalisations and activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.errors import ArgumentError
from pyneural.nn.jets.jet import Jet, rule
from pyneural.nn.jets.shapes import features
from pyneural.nn.jets.space import NoRule


@rule("softmax")
def _softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    if dim is None or dtype is not None:
        raise NoRule("softmax")
    features("softmax", input, dim)
    weights = torch.exp(input - input.parts()[0].detach().amax(dim, keepdim=True))
    return weights / weights.sum(dim, keepdim=True)


@rule("logsumexp")
def _logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    dims = features("logsumexp", input, dim)
    largest = input.parts()[0].detach().amax(dims, keepdim=True)
    total = torch.log(torch.exp(input - largest).sum(dims, keepdim=True)) + largest
    return total if keepdim else _squeezed(total, dims)


def _squeezed(jet: Any, dims: Sequence[int]) -> Any:
    for dim in sorted(dims, reverse=True):
        jet = jet.squeeze(dim)
    return jet


@rule("log_softmax")
def _log_softmax(input: Any, dim: int, _stacklevel: int = 3, dtype: Any = None) -> Any:
    if dtype is not None:
        raise NoRule("log_softmax")
    return input - torch.logsumexp(input, dim, keepdim=True)


@rule("logaddexp")
def _logaddexp(a: Any, b: Any) -> Any:
    return torch.maximum(a, b) + F.softplus(-torch.abs(a - b))


@rule("layer_norm")
def _layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None,
    eps: float = 1e-5,
) -> Any:  # fmt: skip
    features("layer_norm", input, tuple(range(-len(normalized_shape), 0)))
    return layer_norm(input, normalized_shape, weight, bias, eps)


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None,
    eps: float = 1e-5,
) -> Any:  # fmt: skip
    """``torch.nn.functional.layer_norm`` by its definition, of tensors too."""
    dims = tuple(range(-len(normalized_shape), 0))
    centred = input - input.mean(dims, keepdim=True)
    return _affine(centred * torch.rsqrt((centred**2).mean(dims, keepdim=True) + eps), weight, bias)


@rule("rms_norm")
def _rms_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None
) -> Any:
    dims = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(input * torch.rsqrt((input**2).mean(dims, keepdim=True) + eps), weight, None)


def _affine(jet: Any, weight: Any, bias: Any) -> Any:
    jet = jet if weight is None else jet * weight
    return jet if bias is None else jet + bias


@rule("group_norm")
def _group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    if input.at != 0:
        raise input.space.mixes("group_norm")
    grouped = input.reshape(input.shape[0], num_groups, -1)
    normal = layer_norm(grouped, grouped.shape[-1:], eps=eps).reshape(input.shape)
    shape = (1, -1, *[1] * (input.dim() - 2))
    return _affine(normal, *(None if p is None else p.reshape(shape) for p in (weight, bias)))


@rule("batch_norm")
def _batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if training or running_mean is None:
        raise ArgumentError(
            f"{input.space.where}: batch_norm: expected a function of each point alone, got the "
            "statistics of a batch, which mix the points; call eval(), or normalise the features "
            "with torch.nn.LayerNorm"
        )
    shape = (1, -1, *[1] * (input.dim() - 2))
    mean, scale = running_mean.reshape(shape), torch.rsqrt(running_var + eps).reshape(shape)
    parts = (None if p is None else p.reshape(shape) for p in (weight, bias))
    return _affine((input - mean) * scale, *parts)


@rule("normalize")
def _normalized(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    return input / torch.clamp(torch.linalg.vector_norm(input, p, dim, keepdim=True), min=eps)


@rule("vector_norm", "linalg_vector_norm", "linalg_norm", "norm")
def _norm(input: Any, *args: Any, **kwargs: Any) -> Any:
    names = ("ord", "dim", "keepdim") if "ord" in kwargs or "p" not in kwargs else ("p", "dim")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    order, dim = given.pop("ord", given.pop("p", 2)), given.pop("dim", None)
    keepdim = given.pop("keepdim", False)
    if any(value is not None for value in given.values()):
        raise NoRule("norm")
    dims = features("norm", input, dim)
    if order in (2, 2.0, None, "fro"):
        return torch.sqrt((input**2).sum(dims, keepdim=keepdim))
    if order == 1:
        return torch.abs(input).sum(dims, keepdim=keepdim)
    raise NoRule("norm")


@rule("prod")
def _product(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    (dim,) = features("prod", input, dim)
    first, *others = input.unbind(dim)
    for other in others:
        first = first * other
    return first.unsqueeze(dim) if keepdim else first


@rule("maximum", "fmax")
def _maximum(a: Any, b: Any) -> Any:
    return torch.where(_value(a) >= _value(b), a, b)


@rule("minimum", "fmin")
def _minimum(a: Any, b: Any) -> Any:
    return torch.where(_value(a) <= _value(b), a, b)


def _value(argument: Any) -> Any:
    return argument.parts()[0].detach() if isinstance(argument, Jet) else argument


@rule("clamp")
def _clamped(input: Any, min: Any = None, max: Any = None) -> Any:
    # Within the bounds it is the input, and outside the bound, whose derivatives are its own.
    for bound, outside in ((min, torch.lt), (max, torch.gt)):
        if bound is not None:
            constant = bound if isinstance(bound, Tensor) else torch.full_like(_value(input), bound)
            input = torch.where(outside(_value(input), _value(bound)), constant, input)
    return input


@rule("clamp_min")
def _clamped_below(input: Any, min: Any) -> Any:
    return _clamped(input, min)


@rule("clamp_max")
def _clamped_above(input: Any, max: Any) -> Any:
    return _clamped(input, None, max)


@rule("addcmul")
def _add_multiplied(input: Any, a: Any, b: Any, *, value: float = 1) -> Any:
    return input + value * (a * b)


@rule("addcdiv")
def _add_divided(input: Any, a: Any, b: Any, *, value: float = 1) -> Any:
    return input + value * (a / b)


@rule("lerp")
def _interpolated(input: Any, end: Any, weight: Any) -> Any:
    return input + weight * (end - input)


@rule("hypot")
def _hypotenuse(a: Any, b: Any) -> Any:
    return torch.sqrt(a**2 + b**2)


@rule("atan2", "arctan2")
def _angle(y: Any, x: Any) -> Any:
    """The angle: through the quotient that is finite, which differs by a constant."""
    x_value, y_value = _value(x), _value(y)
    steep = torch.abs(y_value) > torch.abs(x_value)
    one = torch.ones_like(torch.as_tensor(x_value + y_value))
    flat = torch.atan(y / torch.where(steep, one, x))
    upright = -torch.atan(x / torch.where(steep, y, one))
    angle = torch.where(steep, upright, flat)
    return angle + (torch.atan2(y_value, x_value) - _value(angle))


@rule("mish")
def _mish(input: Any) -> Any:
    return input * torch.tanh(F.softplus(input))


@rule("tanhshrink")
def _tanhshrink(input: Any) -> Any:
    return input - torch.tanh(input)


@rule("logsigmoid", "log_sigmoid")
def _logsigmoid(input: Any) -> Any:
    return -F.softplus(-input)


@rule("softmin")
def _softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    return F.softmax(-input, dim)


@rule("glu")
def _glu(input: Any, dim: int = -1) -> Any:
    a, gate = input.chunk(2, dim)
    return a * torch.sigmoid(gate)


@rule("logit")
def _logit(input: Any, eps: float | None = None) -> Any:
    if eps is not None:
        input = torch.clamp(input, eps, 1 - eps)
    return torch.log(input / (1 - input))


@rule("deg2rad")
def _radians(input: Any) -> Any:
    return input * (math.pi / 180)


@rule("rad2deg")
def _degrees(input: Any) -> Any:
    return input * (180 / math.pi)


@rule("scaled_dot_product_attention")
def _attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    boolean = isinstance(attn_mask, Tensor) and attn_mask.dtype == torch.bool
    if dropout_p or is_causal or enable_gqa or boolean:
        raise NoRule("scaled_dot_product_attention with a mask")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * factor
    scores = scores if attn_mask is None else scores + attn_mask
    return torch.matmul(F.softmax(scores, -1), value)
