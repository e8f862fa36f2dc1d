"""What diffusion models and flow matching share: a denoiser, the units of the data, conditions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import Self

from pyneural.errors import is_whole
from pyneural.training import Batch, Model
from pyneural.training.checks import check
from pyneural.training.data.adapter import DataAdapter
from pyneural.training.data.stream import Stream
from pyneural.training.data.tensors import check_finite, condition_columns, to_tensor
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.state import file as files


class DenoisingModel(Model):
    """Base of the models whose network is told a noisy sample and its time.

    ``fit`` measures mean and standard deviation of each column of the data once, by which they are
    scaled for the network; images, of more than one dimension, are taken as they are.

    Args:
        denoiser: f(x, t) with x [N, ...] and t [N] in [0, 1], or f(x, t, c) with conditions c.
        drop_condition: share of the samples of a training that are not told their condition, but
            zeros, so that ``guidance`` can tell both apart (Ho and Salimans 2022,
            arXiv:2207.12598).
    """

    shift: Tensor
    scale: Tensor
    scaled: Tensor

    def __init__(self, denoiser: torch.nn.Module, drop_condition: float = 0.0) -> None:
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
            c = torch.where(kept[:, None], c, 0)
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
        """ValueError where x has another width than the denoiser."""
        features = getattr(self.denoiser, "features", None)
        if features is not None:
            good, got = x.dim() == 2 and x.shape[1] == features, list(x.shape)
            check(good, where, f"[N, {features}]", got, "one column a feature")

    def _condition(self, where: str, c: Any, like: Tensor) -> Tensor:
        """Conditions as columns: whole numbers [N] are classes, of which each has a column."""
        width = getattr(self.denoiser, "condition", None)
        return condition_columns(f"{type(self).__name__}.{where}", c, width, like)

    def noise(self, count: int) -> Tensor:
        """Standard normal noise of the shape of ``count`` samples."""
        where = f"{type(self).__name__}.sample: count"
        good = is_whole(count) and count >= 1
        check(good, where, "a whole number >= 1", repr(count), "write 10")
        shape = tuple(self.shift.shape) or tuple(getattr(self.denoiser, "shape", ()))
        check(bool(shape), f"{type(self).__name__}.sample", "a denoiser with features or shape",
              "neither", "give it the attribute shape, that of a sample")  # fmt: skip
        like = next(self.parameters())
        return torch.randn(count, *shape, dtype=like.dtype, device=like.device)

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

    def architecture(self) -> dict[str, Any] | None:
        """What ``load_model`` makes it from; None where the denoiser cannot be described."""
        try:
            return files.describe(self)
        except ValueError:
            return None

    def denoiser_config(self) -> dict[str, Any]:
        """The denoiser as an argument that ``from_config`` takes."""
        return {"denoiser": files.describe(self.denoiser)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The model of ``get_config``, with new weights."""
        made: dict[str, Any] = {
            name: files.rebuild(value) if isinstance(value, dict) else value
            for name, value in config.items()
        }
        return cls(**made)


def _generator_of(x: Tensor) -> torch.Generator:
    """Random numbers that are a function of a batch, for measurements that can be compared."""
    seed = int(x.detach().double().sum().mul(1e6).nan_to_num(0, 0, 0).fmod(2**31).abs())
    return torch.Generator(x.device).manual_seed(seed)
