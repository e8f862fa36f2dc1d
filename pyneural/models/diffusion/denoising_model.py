"""What diffusion models and flow matching share: a denoiser, the units of the data, conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pyneural.errors import is_whole
from pyneural.training import Batch, Model
from pyneural.training.checks import check
from pyneural.training.data.adapter import DataAdapter
from pyneural.training.data.stream import Stream
from pyneural.training.data.tensors import check_finite, condition_columns, to_tensor
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.state import file as files
from pyneural.training.state.self_describing import SelfDescribing


class DenoisingModel(SelfDescribing, Model):
    """Base of the models whose network is told a noisy sample and its time.

    The network sees the data in scaled units, samples come back in those of the data. ``fit``
    measures mean and standard deviation of each column [N, D] once; images [N, C, H, W] are scaled
    with their ``bounds``, and are taken as they are without.

    Args:
        denoiser: f(x, t) with x [N, ...] and t [N] in [0, 1], or f(x, t, c) with conditions c.
        drop_condition: share of the samples of a training that are not told their condition, but
            zeros, so that ``guidance`` can tell both apart (Ho and Salimans 2022,
            arXiv:2207.12598).
        bounds: lowest and highest value that the data may have, which the network sees as -1 and
            1: (0, 16) for ``data.digits_8x8``.
    """

    shift: Tensor
    scale: Tensor
    scaled: Tensor

    def __init__(
        self,
        denoiser: torch.nn.Module,
        drop_condition: float = 0.0,
        bounds: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        good = isinstance(denoiser, torch.nn.Module)
        check(good, f"{name}: denoiser", "a module", type(denoiser).__name__, "see MLPDenoiser")
        good = 0 <= drop_condition < 1
        check(good, f"{name}: drop_condition", "a share in [0, 1)", drop_condition, "write 0.1")
        self.denoiser: torch.nn.Module = denoiser
        self.drop_condition = float(drop_condition)
        features = getattr(denoiser, "features", None)
        self.register_buffer("shift", torch.zeros(features or ()))
        self.register_buffer("scale", torch.ones(features or ()))
        # Whether the units of the data are known: 1 once they are.
        self.register_buffer("scaled", torch.zeros((), dtype=torch.bool, device="cpu"))
        self.bounds = None if bounds is None else tuple(map(float, bounds))
        if self.bounds is not None:
            good = len(self.bounds) == 2 and -math.inf < self.bounds[0] < self.bounds[1] < math.inf
            check(good, f"{name}: bounds", "(low, high) with low < high", bounds, "write (0, 1)")
            self.shift.fill_(sum(self.bounds) / 2)
            self.scale.fill_((self.bounds[1] - self.bounds[0]) / 2)
            self.scaled.fill_(True)

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        """What the denoiser says at x [N, ...], t [N], in units of the scaled data."""
        return self.denoiser(x, t) if c is None else self.denoiser(x, t, c)

    def guided(self, x: Tensor, t: Tensor, c: Tensor | None, guidance: float) -> Tensor:
        """f(x, t, c) + w (f(x, t, c) - f(x, t, 0)) of the guidance w."""
        f = self(x, t, c)
        if c is None or guidance == 0:
            return f
        return f + guidance * (f - self(x, t, torch.zeros_like(c)))

    def quantities(self) -> list[str]:
        """The loss alone."""
        return ["loss"]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean square error of what the denoiser is to say, at random times."""
        x = batch.x
        name = f"{type(self).__name__}.losses: batch"
        check(len(x) > 0, name, "at least one row", "none", "leave it out")
        generator = None if self.training else _generator_of(x)
        c = None if batch.y is None else self._condition("losses: y", batch.y, x)
        if c is not None and self.training and self.drop_condition:
            kept = torch.rand(len(c), device=c.device) >= self.drop_condition
            c = torch.where(kept.reshape(-1, *[1] * (c.dim() - 1)), c, 0)
        error = self.errors((x - self.shift) / self.scale, c, generator)
        if batch.weight is not None:
            error = batch.weight * error
        return {"loss": error.mean()}

    def errors(self, x: Tensor, c: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """The mean square error of each sample, [N], of scaled x."""
        raise NotImplementedError

    def set_scale(self, x: Any) -> None:
        """Measures mean and standard deviation of the columns of data [N, D]; ``fit`` does it.

        Raises:
            ValueError: a column that is constant or not finite.
        """
        where = f"{type(self).__name__}.set_scale: x"
        good, remedy = self.bounds is None, "make the model without bounds"
        check(good, where, "a model that is to be scaled", f"bounds {self.bounds}", remedy)
        rows = to_tensor(where, x)
        check_finite(where, rows)
        if rows.dim() == 2:
            rows = rows.to(torch.float64)
            scale = rows.std(0, correction=0)
            constant = (scale <= 1e-12 * rows.abs().amax(0)).nonzero().flatten().tolist()
            check(not constant, where, "columns that vary", f"constant columns {constant}",
                  "leave them out")  # fmt: skip
            self.shift = rows.mean(0).to(self.shift)
            self.scale = scale.to(self.shift)
        self.scaled.fill_(True)

    def _build_for(self, where: str, x: Any) -> None:
        """Looks at the data of ``fit``, its validation part left out."""
        super()._build_for(where, x)
        if where != "fit" or self.scaled:
            return
        good, remedy = not isinstance(x, (DataLoader, Stream)), "call set_scale(rows) before"
        check(good, "fit: x", "arrays or tensors to find the units by", "batches", remedy)
        self.set_scale(x)

    def check_inputs(self, where: str, x: Tensor) -> None:
        """ValueError where x has another shape than the denoiser's, or values out of bounds."""
        features = getattr(self.denoiser, "features", None)
        if features is not None:
            good, got = x.dim() == 2 and x.shape[1] == features, list(x.shape)
            check(good, where, f"[N, {features}]", got, "one column a feature")
        elif hasattr(self.denoiser, "check_images"):
            self.denoiser.check_images(where, x)  # type: ignore[operator]
        if self.bounds is not None and x.numel():
            (low, high), (least, most) = self.bounds, x.aminmax()
            good, found = bool(low <= least and most <= high), f"{least:g} to {most:g}"
            check(good, where, f"values from {low:g} to {high:g}", found, "give these as bounds=")

    def _condition(self, where: str, c: Any, like: Tensor) -> Tensor:
        """Conditions as the denoiser takes them: columns, or images.

        Whole numbers [N] are classes, of which each has a column.
        """
        where = f"{type(self).__name__}.{where}"
        channels = getattr(self.denoiser, "condition_channels", 0)
        if channels:
            c = to_tensor(where, c).to(like.device)
            good = c.dim() == 4 and c.shape[1] == channels and c.is_floating_point()
            got, remedy = f"{list(c.shape)} of {c.dtype}", "convert and scale them as x"
            check(good, where, f"images [N, {channels}, H, W] of floats", got, remedy)
            return c.to(like.dtype)
        width = getattr(self.denoiser, "condition", None)
        return condition_columns(where, c, width, like)

    def noise_and_condition(
        self, count: int, condition: Any, guidance: float = 0.0
    ) -> tuple[Tensor, Tensor | None]:
        """What ``count`` samples begin with: standard normal noise, and their conditions."""
        where = f"{type(self).__name__}.sample"
        good = is_whole(count) and count >= 1
        check(good, f"{where}: count", "a whole number >= 1", repr(count), "write 10")
        good, expected = guidance == 0 or condition is not None, "0 where there is no condition"
        check(good, f"{where}: guidance", expected, guidance, "give each sample a condition")
        good, remedy = guidance == 0 or self.drop_condition > 0, "train with drop_condition=0.1"
        expected = "0, as the model was never trained without a condition"
        check(good, f"{where}: guidance", expected, guidance, remedy)
        shape = tuple(self.shift.shape) or tuple(getattr(self.denoiser, "shape", ()))
        check(bool(shape), where, "a denoiser with features or shape", "neither",
              "give it the attribute shape, that of a sample")  # fmt: skip
        like, c = next(self.parameters()), None
        if condition is not None:
            c = self._condition("sample: condition", condition, like)
            good, remedy = len(c) == count, "one for each sample"
            check(good, f"{where}: condition", f"{count} of them", len(c), remedy)
            shape = (shape[0], *c.shape[2:]) if c.dim() == 4 else shape
        return torch.randn(count, *shape, dtype=like.dtype, device=like.device), c

    def evaluating(self) -> Any:
        """The context in which samples are drawn: without dropout and gradients."""
        return evaluation_mode(self)

    def given(self, method: str, x: Any) -> Tensor:
        """What a user gave, as a checked tensor of the model's dtype."""
        where = f"{type(self).__name__}.{method}"
        if not isinstance(x, Tensor):
            return DataAdapter(where, self, None, 1).inputs(x)
        x = x.to(next(self.parameters()).dtype)
        check_finite(f"{where}: x", x)
        self.check_inputs(f"{where}: x", x)
        return x

    def denoiser_config(self) -> dict[str, Any]:
        """The denoiser as an argument that ``from_config`` takes."""
        return {"denoiser": files.describe(self.denoiser)}


def _generator_of(x: Tensor) -> torch.Generator:
    """Random numbers that are a function of a batch, for measurements that can be compared."""
    seed = int(x.detach().double().sum().mul(1e6).nan_to_num(0, 0, 0).fmod(2**31).abs())
    return torch.Generator(x.device).manual_seed(seed)
