"""Training the autoencoder 784-128-64-128-784: one step, and a whole fit.

    relu, sigmoid at the end, mean squared error, batches of 100

A step is forward, loss, backward and the optimiser's change of the weights; loss, gradients and
weights after it are first compared with float64 torch. The fit is that of 60,000 random images:
pyneural's ``fit``, a loop written by hand in torch, and Keras 3 on torch where it is installed,
which must all have come to nearly the same loss.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.comparison import Comparison, timed_rows, validated
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation, host_seconds
from bench.report import table
from pyneural import nn, optim
from pyneural.models import Autoencoder

WIDTHS, BATCH = (784, 128, 64, 128, 784), 100
OPTIMIZERS: dict[str, tuple[Callable, Callable]] = {  # pyneural's, torch's
    "adadelta": (
        partial(optim.Adadelta, lr=1.0, rho=0.95),
        partial(torch.optim.Adadelta, lr=1.0, rho=0.95),
    ),
    "adam": (optim.Adam, torch.optim.Adam),
}
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9}
LOSSES_AGREE = 0.02  # relative, of two fits, whose batches differ


@dataclass(frozen=True)
class Step:
    """A training step: the optimiser's name, the batch x [N, 784], and where weights start."""

    optimizer: str
    x: Tensor
    weights: list[Tensor]

    @staticmethod
    def random(optimizer: str, dtype: torch.dtype, device: str, seed: int) -> Step:
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weights = [w.detach().to(device, dtype) for w in pyneural_network().parameters()]
        x = torch.rand(BATCH, WIDTHS[0], generator=generator, dtype=torch.float64)
        return Step(optimizer, x.to(device, dtype), weights)

    def double(self) -> Step:
        """The same numbers in float64 on the CPU, for the oracle."""
        return Step(self.optimizer, self.x.double().cpu(), [w.double().cpu() for w in self.weights])

    def operations(self) -> int:
        """Two a multiply-add; no gradient of the first layer's input."""
        products = [2 * BATCH * before * after for before, after in pairwise(WIDTHS)]
        return 3 * sum(products) - products[0]

    def begin(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network with this start."""
        network.to(self.x)
        for parameter, weight in zip(network.parameters(), self.weights, strict=True):
            parameter.data.copy_(weight)
        return network


def pyneural_network() -> Autoencoder:
    return Autoencoder(WIDTHS[:3], last_activation="sigmoid")


def torch_network() -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(WIDTHS):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1], torch.nn.Sigmoid())


def step_call(
    step: Step,
    network: torch.nn.Module,
    loss: torch.nn.Module,
    make: Callable,
    compiled: bool = False,
) -> Callable[[], list[Tensor]]:
    """Makes a step; gives loss, gradients and weights."""
    parameters = list(network.parameters())
    optimizer = make(parameters)
    loss_of: Callable[[Tensor], Tensor] = lambda x: loss(network(x), x)  # noqa: E731
    update: Callable[[], Any] = optimizer.step
    if compiled:
        loss_of = torch.compile(loss_of, fullgraph=True, dynamic=False)
        update = torch.compile(optimizer.step, dynamic=False)

    def call() -> list[Tensor]:
        optimizer.zero_grad()
        value = loss_of(step.x)
        value.backward()
        update()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return [value, *gradients, *parameters]

    return call


def build_pyneural(step: Step) -> Callable[[], Any]:
    network = step.begin(pyneural_network())
    return step_call(step, network, nn.MSELoss(), OPTIMIZERS[step.optimizer][0])


def build_eager(step: Step, **options: Any) -> Callable[[], Any]:
    make = partial(OPTIMIZERS[step.optimizer][1], **options)
    return step_call(step, step.begin(torch_network()), torch.nn.MSELoss(), make)


def build_compiled(step: Step) -> Callable[[], Any]:
    network, make = step.begin(torch_network()), OPTIMIZERS[step.optimizer][1]
    return step_call(step, network, torch.nn.MSELoss(), make, compiled=True)


OURS = Implementation("pyneural", "pyneural", build_pyneural)
EAGER = Implementation("torch eager", "eager", build_eager)
FUSED = Implementation("torch eager, fused optimiser", "eager", partial(build_eager, fused=True))
COMPILED = Implementation("torch.compile, optimiser too", "compile", build_compiled, compiles=True)
STEP_PEERS = {"adadelta": [EAGER, COMPILED], "adam": [EAGER, FUSED, COMPILED]}


def fit_pyneural(x: Tensor, epochs: int) -> Callable[[], float]:
    model = pyneural_network()
    model.compile(OPTIMIZERS["adadelta"][0], "mean_squared_error")
    return lambda: model.fit(x, x, BATCH, epochs, verbose=0)["loss"][-1]


def fit_by_hand(x: Tensor, epochs: int) -> Callable[[], float]:
    network = torch_network()
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    optimizer = OPTIMIZERS["adadelta"][1](network.parameters())

    def fit() -> float:
        for _ in range(epochs):
            total = torch.zeros(())
            for rows in torch.randperm(len(x)).split(BATCH):
                batch = x[rows]
                optimizer.zero_grad()
                loss = F.mse_loss(network(batch), batch)
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(rows)
        return float(total) / len(x)

    return fit


def fit_keras(x: Tensor, epochs: int) -> Callable[[], float]:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    if keras.backend.backend() != "torch":
        raise ImportError(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=torch")
    model = keras.Sequential([keras.Input((WIDTHS[0],))])
    for width in WIDTHS[1:-1]:
        model.add(keras.layers.Dense(width, activation="relu"))
    model.add(keras.layers.Dense(WIDTHS[-1], activation="sigmoid"))
    optimizer = keras.optimizers.Adadelta(learning_rate=1.0, rho=0.95)
    model.compile(optimizer=optimizer, loss="mean_squared_error")
    images = x.numpy()

    def fit() -> float:
        history = model.fit(images, images, batch_size=BATCH, epochs=epochs, verbose=0)
        return history.history["loss"][-1]

    return fit


FITS: dict[str, tuple[str, Callable[[Tensor, int], Callable[[], float]]]] = {
    "pyneural": ("pyneural", fit_pyneural),
    "torch, loop by hand": ("eager", fit_by_hand),
    "Keras 3 on torch": ("keras", fit_keras),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cases = [*OPTIMIZERS, "fit"]
    parser.add_argument("--case", nargs="+", choices=cases, default=cases)
    parser.add_argument("--samples", type=int, default=60_000, help="of the fit (%(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="of the fit (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="fits of each (%(default)s)")
    add_common_arguments(parser, ["eager", "compile", "keras"])


def run(options: argparse.Namespace) -> int:
    if "fit" in options.case and (options.device, options.dtype) != ("cpu", "float32"):
        print("bench models: the fit is one in float32 on the CPU; give --case adadelta adam")
        return 2
    try:
        comparison = Comparison("models", "training the autoencoder", options)
    except ValueError as error:
        print(f"bench models: {error}")
        return 2
    passed = True
    for case in options.case:
        entry, right = (bench_fit if case == "fit" else partial(bench_step, case))(comparison)
        comparison.entry["cases"].append({"case": case, **entry})
        comparison.keep()
        passed &= right
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if passed else 1


def bench_step(optimizer: str, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """Validate, time and print a step; the figures, and whether ours agree with the oracle."""
    print(f"\na step with {optimizer}, batch {BATCH}", flush=True)
    options = comparison.options
    step = Step.random(optimizer, comparison.dtype, options.device, options.seed)
    chosen = comparison.chosen([OURS, *STEP_PEERS[optimizer]])
    oracle = [tensor.clone() for tensor in build_eager(step.double())()]
    found = validated(step, chosen, oracle, TOLERANCE[comparison.dtype])
    return timed_rows(comparison, step, chosen, *found)


def bench_fit(comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """Time whole fits in turns; the figures, and whether they came to about the same loss."""
    options = comparison.options
    print(f"\nfit: {options.epochs} epochs of {options.samples:,} images, adadelta", flush=True)
    torch.manual_seed(options.seed % 2**31)
    x = torch.rand(options.samples, WIDTHS[0])
    fits, absent = {}, {}
    for name, (group, make) in FITS.items():
        if group not in ("pyneural", *options.peers):
            continue
        try:
            make(x[: 2 * BATCH], 1)()  # what a first call sets up
            fits[name] = make
        except ImportError as error:
            absent[name] = str(error)
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    losses: dict[str, float] = {}
    for number in range(options.rounds):
        names = list(fits)[number % len(fits) :] + list(fits)[: number % len(fits)]
        for name in names:
            fit = fits[name](x, options.epochs)
            seconds[name].append(
                host_seconds(lambda fit=fit, name=name: losses.__setitem__(name, fit()))
            )
    ours = statistics.median(seconds["pyneural"])
    rows = {
        name: {
            "median": statistics.median(times),
            "low": min(times),
            "high": max(times),
            "loss": losses[name],
        }
        for name, times in seconds.items()
    }
    lines = [
        [name, f"{row['median']:.2f}", f"{row['low']:.2f}-{row['high']:.2f}",
         f"{row['median'] / ours:.2f}x", f"{row['loss']:.5f}"]
        for name, row in rows.items()
    ]  # fmt: skip
    print(table(["", "median s", "range", "ratio", "loss"], lines))
    for name, reason in absent.items():
        print(f"absent: {name}: {reason}")
    agree = max(losses.values()) / min(losses.values()) < 1 + LOSSES_AGREE
    if not agree:
        print(f"the losses differ by more than {LOSSES_AGREE:.0%}")
    return {
        "epochs": options.epochs,
        "samples": options.samples,
        "rows": rows,
        "absent": absent,
    }, agree
