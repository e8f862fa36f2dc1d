"""Networks for images, series and tables, with the methods that explain them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import data, interpret, nn, optim
from pyneural.interpret.randomization import Method
from pyneural.models import Model, PatchTransformer, Sequential, VariationalAutoencoder

SHOWN = (0, 3, 7)  # of the held-out digits
SAMPLES = {"images": 24, "series": 20, "table": 100}  # that are explained
REPEATS = {"images": 3, "series": 3, "table": 30}  # of the randomisation
TRAVERSED, PLACES = 4, 9  # latent variables, and values of each
COLUMNS = ("length", "gravity", "amplitude", "mass", "temperature")
_LOW = (0.2, 1.6, 0.0, 0.1, 250.0)  # m, m/s^2, rad, kg, K
_HIGH = (2.0, 25.0, 1.5, 5.0, 310.0)
_STEPS = 32  # of a series
LEVELS = 127  # of a colour in the file of finished cells


@dataclass(frozen=True)
class Explained:
    """A trained network, held-out samples, and the methods that explain its answers for them."""

    model: torch.nn.Module
    quality: float  # share of right answers, or the share of the variance that is explained
    x: Tensor
    target: Tensor | None
    methods: Mapping[str, Method]
    cause: Tensor | None  # whether the right answer depends on an element, in the shape of x
    repeats: int  # of the randomisation


def digits(seed: int, epochs: int) -> Explained:
    """A convolutional network that knows digits."""
    (x, y), (x_test, y_test) = data.digits()
    model = digit_network(seed)
    model.compile(partial(optim.Adam, lr=2e-3), torch.nn.functional.cross_entropy)
    model.fit(x[:, None], y, epochs=epochs, batch_size=32, verbose=0)
    right = float((model.predict(x_test[:, None]).argmax(1) == y_test).float().mean())
    count, methods = SAMPLES["images"], _methods(0.0, 32)
    methods |= {"occlusion": partial(interpret.occlusion, window=4, stride=2, baseline=0.5)}
    return Explained(
        model, right, x_test[:count, None], y_test[:count], methods, None, REPEATS["images"]
    )


def digit_network(seed: int) -> Sequential:
    """The network of ``digits`` before its training."""
    torch.manual_seed(seed)
    return Sequential([
        torch.nn.Conv2d(1, 16, 5, stride=2, padding=2), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Flatten(), nn.Linear(32 * 49, 32, activation="relu"), nn.Linear(32, 10),
    ])  # fmt: skip


def series(seed: int, epochs: int) -> Explained:
    """A transformer that adds the two marked values of a series."""
    x, y = data.adding_problem(3000, _STEPS, seed)
    x_test, y_test = data.adding_problem(500, _STEPS, seed + 1)
    torch.manual_seed(seed)
    model = Model(PatchTransformer(2, 2, 1, d_model=32, layers=2))
    model.compile(partial(optim.Adam, lr=2e-3), "mse", clip_norm=1.0)
    model.fit(x, y, epochs=epochs, batch_size=32, verbose=0)
    baseline = torch.tensor([0.5, 0.0]).expand(_STEPS, 2)  # a mean value, no mark
    methods = _methods(baseline, 16) | {
        "occlusion": partial(interpret.occlusion, window=(1, 2), baseline=baseline),
        "attention rollout": _rollout,
    }
    shown = x_test[: SAMPLES["series"]]
    cause = (shown[:, :, 1:] > 0).expand(-1, -1, 2)
    quality = _explained_variance(model, x_test, y_test)
    return Explained(model, quality, shown, None, methods, cause, REPEATS["series"])


def table(seed: int, epochs: int) -> Explained:
    """A perceptron that knows the period of a pendulum from five columns, two of them idle."""
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.tensor(_LOW), torch.tensor(_HIGH)
    columns = low + (high - low) * torch.rand(2500, len(COLUMNS), generator=generator)
    length, gravity, amplitude = columns[:, :3].T
    period = 2 * math.pi * (length / gravity).sqrt() * (1 + amplitude.square() / 16)
    x, y = (columns - (low + high) / 2) / ((high - low) / math.sqrt(12)), period[:, None]
    torch.manual_seed(seed)
    model = Model(nn.MLP(len(COLUMNS), [32, 32], 1))
    model.compile(partial(optim.Adam, lr=5e-3), "mse")
    model.fit(x[:2000], y[:2000], epochs=epochs, batch_size=50, verbose=0)
    methods = _methods(0.0, 32) | {"occlusion": interpret.occlusion}
    cause = (torch.arange(len(COLUMNS)) < 3).expand(SAMPLES["table"], -1)
    quality = _explained_variance(model, x[2000:], y[2000:])
    return Explained(
        model, quality, x[2000 : 2000 + SAMPLES["table"]], None, methods, cause, REPEATS["table"]
    )


def traversal(seed: int, epochs: int) -> list[Any]:
    """Images of a digit with one latent variable changed, those of a variable in turn."""
    (x, _), (x_test, _) = data.digits()
    torch.manual_seed(seed)
    model = VariationalAutoencoder([784, 128, TRAVERSED], "bernoulli")
    model.compile(partial(optim.Adam, lr=2e-3))
    model.fit(x.flatten(1), epochs=epochs, batch_size=50, verbose=0)
    with torch.no_grad():
        z = model.encode(x_test[SHOWN[1]].view(1, -1)).mean
    values = torch.linspace(-2.5, 2.5, PLACES)
    rows = [interpret.latent_traversal(model, z, j, values)[0] for j in range(TRAVERSED)]
    return as_levels(torch.stack(rows).flatten(0, 1))


def measure(case: Explained) -> dict[str, Any]:
    """What the methods say, and what is left of it with random weights, one value a method."""
    model, x, target = case.model, case.x, case.target
    found: dict[str, Any] = {"quality": case.quality, "method": list(case.methods)}
    for method in case.methods.values():
        test = interpret.randomization_test(model, method, x, target, repeats=case.repeats)
        values = {
            "signed": float(test.signed[:, -1].mean()),
            "magnitude": float(test.magnitude[:, -1].mean()),
            "remaining": test.remaining,
            "cascade": test.magnitude.mean((0, 2)).tolist(),
        }
        if case.cause is not None:
            size = method(model, x, target).abs()
            on_it = (size * case.cause).flatten(1).sum(1) / size.flatten(1).sum(1)
            values["on the cause"] = float(on_it.mean())
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return found


def deletions(case: Explained) -> dict[str, Any]:
    """Deletion curves of a classifier of images, of each method and of a random order."""
    probabilities = torch.nn.Sequential(case.model, torch.nn.Softmax(1))
    maps = {name: method(case.model, case.x, case.target) for name, method in case.methods.items()}
    maps["random order"] = torch.rand_like(case.x)
    curves = [
        interpret.deletion_curve(probabilities, case.x, one, case.target) for one in maps.values()
    ]
    return {
        "deleted": curves[0].fractions.tolist(),
        "deletion": [curve.values.mean(1).tolist() for curve in curves],
        "deletion area": [float(curve.area.mean()) for curve in curves],
    }


def pictures(case: Explained, seed: int) -> dict[str, Any]:
    """Maps of some digits, of the last one also without training, and the digits that excite."""
    x, target = case.x[list(SHOWN)], case.target
    if target is None:
        raise ValueError("pictures: target: expected labels, got None; give a classifier")
    target = target[list(SHOWN)]
    untrained = digit_network(seed + 1000)
    maps = [torch.cat([x, x[-1:]])]
    for method in case.methods.values():
        maps.append(
            torch.cat([method(case.model, x, target), method(untrained, x[-1:], target[-1:])])
        )
    excited = interpret.activation_maximisation(
        case.model, (10, 1, 28, 28), torch.arange(10), bounds=(0.0, 1.0), decay=0.4, roughness=0.2
    )
    return {"maps": [as_levels(one) for one in maps], "excited": as_levels(excited)}


def strips(case: Explained) -> dict[str, Any]:
    """Magnitudes in the steps of the first series, or in the columns of a table, by method."""
    parts = []
    for method in case.methods.values():
        size = method(case.model, case.x, case.target).abs()
        if size.ndim == 3:
            parts.append(size[0].sum(1) / size[0].sum())
        else:
            parts.append((size / size.sum(1, keepdim=True)).mean(0))
    marked = [] if case.x.ndim < 3 else case.x[0, :, 1].nonzero()[:, 0].tolist()
    return {"strips": torch.stack(parts).tolist(), "marked": marked}


def as_levels(images: Tensor) -> list[Any]:
    """Images [N, ...] as whole numbers [N][784], each scaled to its largest magnitude."""
    rows = images.detach().flatten(1)
    size = rows.abs().amax(1, keepdim=True).clamp(min=1e-12)
    return (LEVELS * rows / size).round().int().tolist()


def _methods(baseline: float | Tensor, steps: int) -> dict[str, Method]:
    integrated = partial(
        interpret.integrated_gradients, baseline=baseline, steps=steps, tolerance=math.inf
    )
    return {
        "saliency": interpret.saliency,
        "SmoothGrad": interpret.smooth_grad,
        "gradient x input": interpret.gradient_times_input,
        "integrated gradients": integrated,
    }


def _rollout(model: torch.nn.Module, x: Tensor, target: Any) -> Tensor:
    """The share of each step in the mean that is read, [N, T, 2], the same for its two values."""
    patches = interpret.attention_rollout(model, x).mean(1)  # [N, T / 2]
    return patches.repeat_interleave(2, 1)[..., None].expand(x.shape)


def _explained_variance(model: Model, x: Tensor, y: Tensor) -> float:
    return 1 - float((model.predict(x) - y).square().mean() / y.var(unbiased=False))
